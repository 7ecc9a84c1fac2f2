"""Modules that compute a style's query q_k from a sentence, a learned vector, or the image.

All have the same interface, so that methods differ only in how a style is chosen:
``(text [b, k, e], features [b, h, w, f], dropout: bool) -> Query``. ``text`` is None for the
modules that read no text.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from prosona_jax.models.encoding import Encoded

LEVELS = ("latent", "visual")  # of the contrastive objective
DEGREES = (-2, -1, 1, 2)  # at which `DegreeQuery` has a vector


class Query(NamedTuple):
    """A query for each style, and the text side of the contrastive objective."""

    query: Float[Array, "b k d"]
    trunk: Float[Array, "b k t"] | None  # input of the query's last layer; None without text


class TextQuery(nn.Module):
    """q_k = W_q gelu(W_t e_k); it depends on a prompt's embedding e_k and not on the image."""

    latent_dim: int
    width: int

    @nn.compact
    def __call__(
        self, text: Float[Array, "b k e"], features: Float[Array, "b h w f"], dropout: bool
    ) -> Query:
        del features, dropout
        # The entries of a unit vector are about 1/sqrt(e). The usual initial values expect about 1.
        x = nn.gelu(nn.Dense(self.width)(text * text.shape[-1] ** 0.5))
        # Starts at zero, so that a text direction absent from the training has no effect.
        return Query(nn.Dense(self.latent_dim, kernel_init=nn.initializers.zeros)(x), x)


class DegreeQuery(nn.Module):
    """q_k of a sentence that is read as a degree t: on the line between two learned vectors.

        q(t) = (1 - s) v_n + s v_(n+1),  s = (t - t_n) / (t_(n+1) - t_n),  t_n <= t <= t_(n+1)

    There is a vector at each t_n in -2, -1, 1, 2; the outer lines go on beyond these. There is none
    at 0: this is the usual outline, which is no rater's style, so no sentence would train it.
    Between the degrees of two styles the contour changes steadily, although no training sentence
    may have such a degree. A network with a hidden layer does so only with much noise, which
    pulls the styles together (docs/experiments.md, trial 38).
    """

    latent_dim: int

    @nn.compact
    def __call__(
        self, text: Float[Array, "b k 1"], features: Float[Array, "b h w f"], dropout: bool
    ) -> Query:
        del features, dropout
        degree, places = text[..., 0], jnp.array(DEGREES, jnp.float32)
        n = jnp.clip(jnp.searchsorted(places, degree) - 1, 0, len(DEGREES) - 2)
        share = ((degree - places[n]) / (places[n + 1] - places[n]))[..., None]
        below, above = (nn.one_hot(place, len(DEGREES)) for place in (n, n + 1))
        x = (1 - share) * below + share * above
        zeros = nn.initializers.zeros  # the prior's mean
        return Query(nn.Dense(self.latent_dim, use_bias=False, kernel_init=zeros)(x), x)


class HabitQuery(nn.Module):
    """q_k = W h_k + b of a sentence that is read as habits h, the last entries of its numbers.

    A linear map keeps the order: a habit between those of two raters gives a query between theirs,
    and a habit beyond all raters' one further in the same direction.
    """

    latent_dim: int
    habits: int  # the number of habits; the embedding before them is not used

    @nn.compact
    def __call__(
        self, text: Float[Array, "b k e"], features: Float[Array, "b h w f"], dropout: bool
    ) -> Query:
        del features, dropout
        h = text[..., -self.habits :]
        return Query(nn.Dense(self.latent_dim, kernel_init=nn.initializers.zeros)(h), h)


class IdQuery(nn.Module):
    """q_k is a learned vector per style; it reads no text."""

    styles: int
    latent_dim: int

    @nn.compact
    def __call__(self, text: None, features: Float[Array, "b h w f"], dropout: bool) -> Query:
        del text, dropout
        query = self.param("query", nn.initializers.zeros, (self.styles, self.latent_dim))
        return Query(jnp.broadcast_to(query, (len(features), *query.shape)), None)


class HeadsQuery(nn.Module):
    """q_k >= 0 from a convolutional head per style on U(x), after D-Persona (CVPR 2024).

    Each head has three blocks of 32, 16 and d channels, with average pooling between them, and then
    takes the mean over the image. A block has two 3x3 convolutions with ReLU, then dropout 0.1.
    """

    styles: int
    latent_dim: int

    @nn.compact
    def __call__(self, text: None, features: Float[Array, "b h w f"], dropout: bool) -> Query:
        del text
        queries = []
        for _ in range(self.styles):
            x = features
            for block, channels in enumerate((32, 16, self.latent_dim)):
                if block:
                    x = nn.avg_pool(x, (2, 2), strides=(2, 2))
                for _ in range(2):
                    x = nn.relu(nn.Conv(channels, (3, 3))(x))
                x = nn.Dropout(0.1, deterministic=not dropout)(x)
            queries.append(jnp.mean(x, axis=(1, 2)))
        return Query(jnp.stack(queries, axis=1), None)


def unit_length(x: Float[Array, "*shape q"]) -> Float[Array, "*shape q"]:
    """Returns x / |x|; 0 stays 0, with finite gradients."""
    return x / jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-12)


class Alignment(nn.Module):
    """Projects text, raters' latents and pooled features to unit vectors in one space.

    ``log_temperature`` is learned and starts at log 0.07, as in CLIP.
    """

    width: int

    @nn.compact
    def __call__(
        self,
        trunk: Float[Array, "b k t"],
        latent: Float[Array, "b k d"],
        visual: Float[Array, "b k v"],
    ) -> dict[str, Any]:
        log_temperature = self.param(
            "log_temperature", nn.initializers.constant(jnp.log(0.07)), (2,)
        )
        hidden = nn.gelu(nn.Dense(self.width, name="visual_hidden")(visual))
        return {
            "text_latent": unit_length(nn.Dense(self.width, name="text_latent")(trunk)),
            "text_visual": unit_length(nn.Dense(self.width, name="text_visual")(trunk)),
            "latent": unit_length(nn.Dense(self.width, name="latent")(latent)),
            "visual": unit_length(nn.Dense(self.width, name="visual")(hidden)),
            "log_temperature": jnp.broadcast_to(log_temperature, (len(trunk), 2)),
        }


class Prompter(nn.Module):
    """The modules of stage two: the query and, if it reads text, the alignment.

    Attributes:
        query: a module of models/query.py.
        width: dimension of the space in which texts and raters are compared.
    """

    query: nn.Module
    width: int

    def setup(self) -> None:
        self.alignment = Alignment(self.width)

    def __call__(
        self, text: Float[Array, "b k e"] | None, encoded: Encoded, dropout: bool = False
    ) -> tuple[Query, dict[str, Any]]:
        """Returns the queries, and the unit vectors of `Alignment`; {} if no text is read."""
        query = self.query(text, encoded.features, dropout)
        if query.trunk is None:
            return query, {}
        return query, self.alignment(query.trunk, encoded.latent, encoded.visual)
