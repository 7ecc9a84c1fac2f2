"""Masks with eight pixels in a byte, in which they leave the devices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8


def pack(probs: Float[Array, "*b h w"]) -> UInt8[Array, "*b n"]:
    """Returns the pixels whose probability is above 1/2."""
    return jnp.packbits(probs.reshape(*probs.shape[:-2], -1) > 0.5, axis=-1)


def unpack(
    packed: UInt8[jax.Array | np.ndarray, "*b n"], size: Sequence[int]
) -> Bool[np.ndarray, "*b h w"]:
    """Returns masks of `size` (rows, columns) on the host."""
    packed = np.asarray(packed)
    bits = np.unpackbits(packed, axis=-1, count=size[0] * size[1])
    return bits.reshape(*packed.shape[:-1], *size).astype(bool)
