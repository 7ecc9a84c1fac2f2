"""Networks that draw the raters' masks directly, without a prior p(z|x): baselines.

All have the interface ``(image, noise) -> logits [b, m, h, w]`` of M masks, one per rater, or one
for all raters. ``noise`` [b, m, d] is standard normal; None draws the mean mask of each rater. Only
a network with a latent looks at it. `divergence` [m] is the KL term of each rater, 0 without one.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from prosona_jax.models.prob_unet import Fcomb, average_over_views
from prosona_jax.models.unet import UNet

_PRIOR_SIGMA = 2.0  # of `Pionono`
_START_SIGMA = 8.0  # of its means before training, so that raters differ from the start


class Heads(nn.Module):
    """M masks h_m(U(x)): a head of 1x1 convolutions for each mask, as deep as f of the ProbUNet.

    Attributes:
        masks: M.
        shared: True: the heads share one U-Net. False: each head has a U-Net of its own.
        channels, convs_per_scale, norm, dtype, mirrored: as in `ProbUNet`.
        layers: number of 1x1 convolutions of a head, at least 2.
    """

    masks: int
    shared: bool
    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    layers: int
    dtype: Any = jnp.float32
    mirrored: bool = False

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w c"], noise: Float[Array, "b m d"] | None
    ) -> Float[Array, "b m h w"]:
        body = (tuple(self.channels), self.convs_per_scale, self.norm, self.dtype)
        features = [
            _seen(UNet(*body), image, self.mirrored)
            for _ in range(1 if self.shared else self.masks)
        ]
        constant = jnp.zeros((len(image), 1, 1))  # a head is f(x, z) at one z, so z says nothing
        drawn = [
            Fcomb(self.layers, self.dtype)(features[m % len(features)], constant)
            for m in range(self.masks)
        ]
        return jnp.concatenate(drawn, axis=1)

    def divergence(self) -> Float[Array, " m"]:
        """Returns 0: nothing is random."""
        return jnp.zeros(self.masks)


class Pionono(nn.Module):
    """f(U(x), z_r), z_r ~ N(m_r, L_r L_r^T): a learned Gaussian per rater, the same in all images.

    After Schmidt et al. (CVPR 2023). The KL term compares it with N(0, 2^2 I). L_r is triangular.

    Attributes:
        masks: R, the number of raters.
        latent_dim: d.
        channels, convs_per_scale, norm, layers, dtype, mirrored: as in `Heads`.
    """

    masks: int
    latent_dim: int
    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    layers: int
    dtype: Any = jnp.float32
    mirrored: bool = False

    def setup(self) -> None:
        body = (tuple(self.channels), self.convs_per_scale, self.norm, self.dtype)
        self.unet = UNet(*body)
        self.fcomb = Fcomb(self.layers, self.dtype)
        r, d = self.masks, self.latent_dim
        self.mean = self.param("mean", nn.initializers.normal(_START_SIGMA), (r, d))
        start = nn.initializers.constant(np.log(_PRIOR_SIGMA))
        self.log_diagonal = self.param("log_diagonal", start, (r, d))
        self.below = self.param("below", nn.initializers.zeros, (r, d, d))

    def __call__(
        self, image: Float[Array, "b h w c"], noise: Float[Array, "b m d"] | None
    ) -> Float[Array, "b m h w"]:
        z = jnp.broadcast_to(self.mean, (len(image), *self.mean.shape))
        if noise is not None:
            z = z + jnp.einsum("rij,brj->bri", self._triangle(), noise)
        return self.fcomb(_seen(self.unet, image, self.mirrored), z)

    def sample(
        self, image: Float[Array, "b h w c"], noise: Float[Array, "b s d"]
    ) -> Float[Array, "b s h w"]:
        """Returns the logits of S samples; sample s is one of rater s modulo R."""
        rater = jnp.arange(noise.shape[1]) % self.masks
        z = self.mean[rater][None] + jnp.einsum("sij,bsj->bsi", self._triangle()[rater], noise)
        return self.fcomb(_seen(self.unet, image, self.mirrored), z)

    def divergence(self) -> Float[Array, " m"]:
        """Returns KL(N(m_r, L_r L_r^T) || N(0, s^2 I)), nats, with s = 2.

        (|L|^2 + |m|^2) / (2 s^2) - d / 2 + sum_i log(s / L_ii)
        """
        square = jnp.sum(jnp.square(self._triangle()), axis=(1, 2)) + jnp.sum(self.mean**2, axis=1)
        logs = jnp.sum(np.log(_PRIOR_SIGMA) - self.log_diagonal, axis=1)
        return square / (2 * _PRIOR_SIGMA**2) - self.latent_dim / 2 + logs

    def _triangle(self) -> Float[Array, "m d d"]:
        below = jnp.tril(self.below, -1)
        return below + jax.vmap(jnp.diag)(jnp.exp(self.log_diagonal))


def _seen(unet: UNet, image: Float[Array, "b h w c"], mirrored: bool) -> Float[Array, "b h w f"]:
    return average_over_views(unet, image) if mirrored else unet(image)
