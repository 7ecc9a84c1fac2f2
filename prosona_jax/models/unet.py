"""The deterministic part U(x): a U-Net without an output layer."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prosona_jax.models.blocks import ConvBlock, Encoder


class UNet(nn.Module):
    """U(x): image to pixel features, F = channels[0] (Ronneberger et al. 2015; Kohl et al. 2018).

    Height and width must be divisible by 2^(scales - 1); otherwise ValueError.
    """

    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        factor = 2 ** (len(self.channels) - 1)
        if image.shape[1] % factor or image.shape[2] % factor:
            raise ValueError(
                f"a U-Net of {len(self.channels)} scales needs height and width divisible by "
                f"{factor}, got {image.shape[1]}x{image.shape[2]}"
            )
        *skips, x = Encoder(self.channels, self.convs_per_scale, self.norm, self.dtype)(image)
        for filters, skip in zip(reversed(self.channels[:-1]), reversed(skips), strict=True):
            x = jax.image.resize(x, (*skip.shape[:3], x.shape[3]), "bilinear")
            x = jnp.concatenate([skip, x], axis=-1)
            x = ConvBlock(filters, self.convs_per_scale, self.norm, self.dtype)(x)
        return x
