"""The probabilistic U-Net (Kohl et al. 2018): prior, posterior, and a decoder of latents."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from prosona_jax.models.blocks import Encoder
from prosona_jax.models.distributions import Gaussian, gaussian
from prosona_jax.models.unet import UNet
from prosona_jax.types import Params

_MOMENTS = "Dense_0"  # the last layer of `LatentEncoder`, in checkpoints too
_VIEWS = 8  # the symmetries of a square
_DECODED_PIXELS = 2**14  # decoded at once; with 16 features in float32 this is 1 MiB per layer


def _turn(x: Float[Array, "b h h c"], view: int) -> Float[Array, "b h h c"]:
    """Mirrors the images if view >= 4, then rotates them by view % 4 right angles."""
    return jnp.rot90(jnp.flip(x, 2) if view >= 4 else x, view % 4, axes=(1, 2))


def _turn_back(x: Float[Array, "b h h c"], view: int) -> Float[Array, "b h h c"]:
    """Undoes `_turn`."""
    back = jnp.rot90(x, -(view % 4), axes=(1, 2))
    return jnp.flip(back, 2) if view >= 4 else back


def average_over_views(unet: UNet, image: Float[Array, "b h h c"]) -> Float[Array, "b h h f"]:
    """Returns the mean of U over the eight mirrored and rotated images, each transformed back."""
    # Records stay on the leading axis, so that a sharded batch stays on its devices.
    views = jnp.stack([_turn(image, view) for view in range(_VIEWS)], axis=1)
    seen = unet(views.reshape(-1, *image.shape[1:])).astype(jnp.float32)
    seen = seen.reshape(*views.shape[:-1], -1)
    back = [_turn_back(seen[:, view], view) for view in range(_VIEWS)]
    return jnp.mean(jnp.stack(back), axis=0)


class LatentEncoder(nn.Module):
    """Encoder, global average, and a linear map to the mean and log sigma of the latent."""

    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    latent_dim: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Gaussian:
        deepest = Encoder(self.channels, self.convs_per_scale, self.norm, self.dtype)(x)[-1]
        pooled = jnp.mean(deepest.astype(jnp.float32), axis=(1, 2))  # [b, f]
        moments = nn.Dense(2 * self.latent_dim, name=_MOMENTS)(pooled)
        return gaussian(*jnp.split(moments, 2, axis=-1))


def with_temperature(params: Params, temperature: jax.Array | float) -> Params:
    """Returns parameters of a `ProbUNet` whose prior has sigma times the temperature."""
    prior = params["params"]["prior_net"]
    mu, log_sigma = jnp.split(prior[_MOMENTS]["bias"], 2)
    bias = jnp.concatenate([mu, log_sigma + jnp.log(temperature)])
    prior = {**prior, _MOMENTS: {**prior[_MOMENTS], "bias": bias}}
    return {**params, "params": {**params["params"], "prior_net": prior}}


class Fcomb(nn.Module):
    """f(U(x), z): 1x1 convolutions on the features with z broadcast over all pixels.

    The first convolution on [U, z] is W_u U + W_z z + b. The two products are computed separately:
    W_u U once per image and W_z z once per sample. Only their sum has a pixel and a sample axis.
    """

    layers: int
    dtype: Any

    @nn.compact
    def __call__(
        self, features: Float[Array, "b h w f"], z: Float[Array, "b s d"]
    ) -> Float[Array, "b s h w"]:
        images, height, width, filters = features.shape
        samples, pixels = z.shape[1], height * width
        from_features = nn.Dense(filters, dtype=self.dtype, name="features")(features)
        from_latent = nn.Dense(filters, use_bias=False, dtype=self.dtype, name="latent")(z)

        def decode(module: Fcomb, carry: None, latent: jax.Array) -> tuple[None, jax.Array]:
            x = from_features.reshape(images, 1, pixels, filters) + latent[:, :, None]
            x = x.reshape(-1, filters)  # one matrix product per layer
            for _ in range(self.layers - 2):
                x = nn.Dense(filters, dtype=self.dtype)(nn.relu(x))
            # In float32 for any `dtype`, so that logits close to 0 keep their sign.
            logits = nn.Dense(1, dtype=jnp.float32, name="logit")(nn.relu(x))
            return carry, logits.reshape(images, latent.shape[1], height, width)

        # A few samples at a time, so that their maps stay in the cache. The gradient computes the
        # maps again, which takes less time than to store and read them.
        block = _block(samples, images * pixels)
        blocks = from_latent.reshape(images, samples // block, block, filters)
        over_blocks = nn.scan(
            nn.remat(decode, prevent_cse=False),
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )
        _, logits = over_blocks(self, None, blocks)
        return logits.reshape(images, samples, height, width)


def _block(samples: int, pixels: int) -> int:
    """Returns how many samples are decoded at once: a divisor of their number."""
    most = max(1, _DECODED_PIXELS // pixels)
    return max(n for n in range(1, samples + 1) if samples % n == 0 and n <= most)


class ProbUNet(nn.Module):
    """U(x), p(z|x), q(z|x,y) and f(U, z); call its methods through ``apply(..., method=...)``.

    Attributes:
        channels: filters per scale of the U-Net and of both latent encoders.
        convs_per_scale: number of 3x3 convolutions per scale.
        norm: "none" or "group" (GroupNorm); neither keeps running statistics.
        latent_dim: d.
        fcomb_layers: number of 1x1 convolutions of f, at least 2.
        dtype: compute type; parameters, distributions and logits are float32.
        mirrored: U(x) is the mean of U over the eight mirrored and rotated images, each transformed
            back. Images must be square. Used for evaluation, with the same parameters.
    """

    channels: Sequence[int]
    convs_per_scale: int
    norm: str
    latent_dim: int
    fcomb_layers: int
    dtype: Any = jnp.float32
    mirrored: bool = False

    def setup(self) -> None:
        body = (tuple(self.channels), self.convs_per_scale, self.norm)
        self.unet = UNet(*body, self.dtype)
        self.prior_net = LatentEncoder(*body, self.latent_dim, self.dtype)
        self.posterior_net = LatentEncoder(*body, self.latent_dim, self.dtype)
        self.fcomb = Fcomb(self.fcomb_layers, self.dtype)

    def features(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w f"]:
        """Returns U(x)."""
        return average_over_views(self.unet, image) if self.mirrored else self.unet(image)

    def prior(self, image: Float[Array, "b h w c"]) -> Gaussian:
        """Returns p(z|x)."""
        return self.prior_net(image)

    def posterior(
        self,
        image: Float[Array, "b h w c"],
        masks: UInt8[Array, "b m h w"],
        mask_valid: Bool[Array, "b m"],
    ) -> Gaussian:
        """Returns q(z|x,y) for m = 1 mask ("single") or all raters' ("all").

        Mask values enter as -1/2 and 1/2. A missing mask enters as 0, which favours neither value.
        """
        planes = (masks.astype(jnp.float32) - 0.5) * mask_valid[:, :, None, None]
        return self.posterior_net(jnp.concatenate([image, jnp.moveaxis(planes, 1, -1)], axis=-1))

    def decode(
        self, features: Float[Array, "b h w f"], z: Float[Array, "b s d"]
    ) -> Float[Array, "b s h w"]:
        """Returns the logits of s latents per image without recomputing U(x)."""
        return self.fcomb(features, z)

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        masks: UInt8[Array, "b m h w"],
        mask_valid: Bool[Array, "b m"],
    ) -> Float[Array, "b 1 h w"]:
        """Returns the logits at the posterior mean; used only to initialise all parameters."""
        self.prior(image)
        z = self.posterior(image, masks, mask_valid).mu[:, None, :]
        return self.decode(self.features(image), z)
