"""Sentence encoders: BERT and the text tower of CLIP.

In BERT (Devlin et al. 2019, arXiv:1810.04805), every token attends to every other token, and a
layer norm follows each residual sum. In CLIP (Radford et al. 2021, arXiv:2103.00020), a token
attends only to itself and to earlier tokens, and a layer norm precedes each block. All floats are
float32. `huggingface.py` reads the weights.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

ACTIVATIONS = {
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
}


class TextConfig(NamedTuple):
    """Sizes and kinds of a network, from the checkpoint's config."""

    family: str  # "bert" or "clip"
    vocabulary: int
    positions: int  # maximum number of tokens
    token_types: int  # 0 in CLIP
    width: int  # E of a token's state
    layers: int
    heads: int
    mlp_width: int
    activation: str  # "gelu" (exact) or "quick_gelu"
    epsilon: float  # of the layer norms
    projection: int  # E of the sentence in CLIP; 0 in BERT, which has no projection
    pooling: str  # which tokens represent the sentence: "mean", "first" or "last"


class Attention(nn.Module):
    """Multi-head self-attention, softmax(Q K^T / sqrt(E / heads)) V, within the mask."""

    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n e"], mask: Bool[Array, "b 1 #n n"]
    ) -> Float[Array, "b n e"]:
        width = x.shape[-1]
        query, key, value = (
            nn.Dense(width, name=name)(x).reshape(*x.shape[:2], self.heads, width // self.heads)
            for name in ("query", "key", "value")
        )
        mixed = nn.dot_product_attention(query, key, value, mask=mask)
        return nn.Dense(width, name="out")(mixed.reshape(x.shape))


class Mlp(nn.Module):
    """Two linear maps with an activation between them."""

    config: TextConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b n e"]) -> Float[Array, "b n e"]:
        wide = nn.Dense(self.config.mlp_width, name="wide")(x)
        return nn.Dense(self.config.width, name="out")(ACTIVATIONS[self.config.activation](wide))


class Tower(nn.Module):
    """Turns token ids into the tokens' states before the first layer and after the last one.

    No token attends to padding. The states of padding have no meaning.
    """

    config: TextConfig

    @nn.compact
    def __call__(
        self, ids: Int[Array, "b n"], valid: Bool[Array, "b n"]
    ) -> tuple[Float[Array, "b n e"], Float[Array, "b n e"]]:
        config, length = self.config, ids.shape[1]
        clip = config.family == "clip"
        layer_norm = functools.partial(nn.LayerNorm, epsilon=config.epsilon)
        norm = layer_norm(name="norm")
        positions = nn.Embed(config.positions, config.width, name="positions")(jnp.arange(length))
        x = nn.Embed(config.vocabulary, config.width, name="tokens")(ids) + positions[None]
        mask = valid[:, None, None, :]
        if clip:
            mask = mask & jnp.tril(jnp.ones((1, 1, length, length), bool))
        else:  # All tokens of a single sentence have type 0.
            types = nn.Embed(config.token_types, config.width, name="token_types")
            x = norm(x + types(jnp.zeros_like(ids)))
        words = x
        for number in range(config.layers):
            attention = Attention(config.heads, name=f"attention_{number}")
            attention_norm = layer_norm(name=f"attention_norm_{number}")
            mlp = Mlp(config, name=f"mlp_{number}")
            mlp_norm = layer_norm(name=f"mlp_norm_{number}")
            if clip:
                x = x + attention(attention_norm(x), mask)
                x = x + mlp(mlp_norm(x))
            else:
                x = attention_norm(x + attention(x, mask))
                x = mlp_norm(x + mlp(x))
        return words, norm(x) if clip else x


class SentenceEncoder(nn.Module):
    """Turns token ids into sentence embeddings of length 1: [words, meaning] / sqrt 2.

    words: the mean of the tokens' states before the first layer, scaled to length 1. It tells
        degrees apart, such as "barely" and "well", while the last layer tells topics apart
        (docs/experiments.md).
    meaning: the checkpoint's own embedding, from tower, pooling and CLIP's projection, scaled to
        length 1.

    In each row the tokens come first and the padding last; each row has at least one token. CLIP's
    own embedding is that of the last token, the end-of-text token, because only this token attends
    to all others.
    """

    config: TextConfig

    def setup(self) -> None:
        self.tower = Tower(self.config)
        if self.config.projection:
            self.projection = nn.Dense(self.config.projection, use_bias=False)

    def states(self, ids: Int[Array, "b n"], valid: Bool[Array, "b n"]) -> Float[Array, "b n e"]:
        """Returns the tokens' states after the last layer."""
        return self.tower(ids, valid)[1]

    def __call__(self, ids: Int[Array, "b n"], valid: Bool[Array, "b n"]) -> Float[Array, "b e"]:
        position = jnp.arange(ids.shape[1])[None]
        count = jnp.sum(valid, axis=1, keepdims=True)
        mean = valid / count
        weight = {"mean": mean, "first": valid & (position == 0), "last": position == count - 1}
        first, last = self.tower(ids, valid)
        words = jnp.einsum("bn,bne->be", mean, first)
        pooled = weight[self.config.pooling].astype(jnp.float32)
        meaning = jnp.einsum("bn,bne->be", pooled, last)
        if self.config.projection:
            meaning = self.projection(meaning)
        parts = [x / jnp.linalg.norm(x, axis=1, keepdims=True) for x in (words, meaning)]
        return jnp.concatenate(parts, axis=1) / 2**0.5
