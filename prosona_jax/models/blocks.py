"""Convolution blocks that the U-Net and the latent encoders share."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float


class ConvBlock(nn.Module):
    """3x3 convolution, optional GroupNorm and ReLU, ``count`` times; keeps height and width."""

    filters: int
    count: int
    norm: str  # "none" | "group"
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        for _ in range(self.count):
            x = nn.Conv(
                self.filters,
                (3, 3),
                dtype=self.dtype,
                kernel_init=nn.initializers.he_normal(),
            )(x)
            if self.norm == "group":
                x = nn.GroupNorm(num_groups=math.gcd(8, self.filters), dtype=self.dtype)(x)
            x = nn.relu(x)
        return x


class Encoder(nn.Module):
    """Convolution blocks with 2x2 average pooling between them; returns each scale's output."""

    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> list[jax.Array]:
        scales = []
        for depth, filters in enumerate(self.channels):
            if depth > 0:
                x = nn.avg_pool(x, (2, 2), strides=(2, 2))
            x = ConvBlock(filters, self.convs_per_scale, self.norm, self.dtype)(x)
            scales.append(x)
        return scales
