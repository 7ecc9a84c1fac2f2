"""Convolution blocks that the U-Net and the latent encoders share."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class GroupNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-6) * scale + bias, with moments per image and channel group.

    Equals flax's GroupNorm, with the same parameters, up to rounding. Its moments are those of each
    channel first, since a sum over rows and columns alone keeps the vector units of a CPU busy.
    Wu & He, ECCV 2018.
    """

    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        filters = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (filters,))
        bias = self.param("bias", nn.initializers.zeros, (filters,))
        wide = x.astype(jnp.float32)
        of_channel = jnp.stack([jnp.mean(wide, (1, 2)), jnp.mean(jnp.square(wide), (1, 2))])
        of_group = jnp.mean(of_channel.reshape(2, len(x), self.groups, -1), axis=-1)
        mean, square = jnp.repeat(of_group, filters // self.groups, axis=-1)  # each [b, c]
        factor = jax.lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + 1e-6) * scale[None]
        y = wide * factor[:, None, None] + (bias[None] - mean * factor)[:, None, None]
        return y.astype(self.dtype)


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
                x = GroupNorm(math.gcd(8, self.filters), self.dtype)(x)
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
