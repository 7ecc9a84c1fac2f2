"""Random changes of geometry and intensity, computed on the device with one key per record."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key, UInt8


class Augmentation(NamedTuple):
    """Ranges of the random changes; see configs/base.py for each field's meaning and unit."""

    flip: bool
    rotate_degrees: float
    scale: float
    shift_px: float
    gain: float
    offset: float


def _coordinates(key: jax.Array, height: int, width: int, how: Augmentation) -> jax.Array:
    """Returns the source coordinates [2, h, w] of the output pixels under a random similarity."""
    rotate_key, scale_key, shift_key, flip_key = jax.random.split(key, 4)
    angle = jnp.deg2rad(how.rotate_degrees) * jax.random.uniform(rotate_key, minval=-1.0)
    zoom = jnp.exp(how.scale * jax.random.uniform(scale_key, minval=-1.0))
    shift = how.shift_px * jax.random.uniform(shift_key, (2,), minval=-1.0)
    mirror = jnp.where(how.flip & jax.random.bernoulli(flip_key, shape=(2,)), -1.0, 1.0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.array([[cos, -sin], [sin, cos]]) * mirror[None, :] / zoom  # [2, 2]
    centre = jnp.array([height - 1, width - 1]) / 2.0
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    offset = grid.reshape(2, -1) - centre[:, None]
    return (matrix @ offset + (centre + shift)[:, None]).reshape(2, height, width)


def augment(
    keys: Key[Array, " b"],
    image: Float[Array, "b h w c"],
    masks: UInt8[Array, "b r h w"],
    how: Augmentation,
) -> tuple[Float[Array, "b h w c"], UInt8[Array, "b r h w"]]:
    """Transforms images and masks by the same random similarity; also changes image contrast.

    Both are interpolated linearly; a mask pixel is set if at least half of it is covered. Beyond
    their border, images and masks are continued by mirroring.
    """

    def one(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        geometry_key, gain_key, offset_key = jax.random.split(key, 3)
        where = _coordinates(geometry_key, x.shape[0], x.shape[1], how)

        def read(plane: jax.Array) -> jax.Array:
            return map_coordinates(plane, list(where), order=1, mode="mirror")

        x = jax.vmap(read, in_axes=-1, out_axes=-1)(x)
        y = jax.vmap(read)(y.astype(jnp.float32))
        gain = jnp.exp(how.gain * jax.random.uniform(gain_key, minval=-1.0))
        offset = how.offset * jax.random.uniform(offset_key, minval=-1.0)
        return x * gain + offset, (y >= 0.5).astype(jnp.uint8)

    return jax.vmap(one)(keys, image, masks)
