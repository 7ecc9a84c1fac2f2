"""Trains a member of a degree reader on sentences with known degrees; no image is needed.

L = 2 huber(degree, d; 1/2) over answerable sentences + 1/2 BCE(answerable) over all
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from prosona_jax.text import degree_reader
from prosona_jax.text.degree_reader import Weights
from prosona_jax.text.degrees import Sentence
from prosona_jax.text.encoder import TextEncoder

_HUBER = 0.5
_TOKEN_DROPOUT = 0.1  # share of tokens that the network does not see in a step
_WARMUP_STEPS = 50
_LENGTHS = 8  # batches are padded to a multiple of this many tokens, so that few are compiled


class Settings(NamedTuple):
    """How a member is trained."""

    rank: int = 16
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    ema_decay: float = 0.99
    seed: int = 0


class Batch(NamedTuple):
    """Sentences of similar length."""

    ids: np.ndarray  # i32 [b, n]
    valid: np.ndarray  # bool [b, n]
    degree: np.ndarray  # f32 [b], NaN: cannot be answered


def fit(
    encoder: TextEncoder,
    groups: Sequence[tuple[float, Sequence[Sentence]]],
    settings: Settings,
    *,
    log: Callable[[int, float], None],
) -> Float[np.ndarray, " size"]:
    """Returns the trained numbers in the order of `degree_reader.flatten`, rounded to float16.

    A file holds them as float16, so a reader does not change when it is saved.

    Args:
        encoder: the text encoder, which stays as it is.
        groups: sentences with the weight of each group; a weight is the group's relative share of
            the batches.
        settings: see there.
        log: called with the step and the mean loss every 100 steps.
    """
    tower, root = encoder.params["tower"], jax.random.key(settings.seed)
    weights = degree_reader.initial(tower, settings.rank, root)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, min(_WARMUP_STEPS, settings.steps // 2), settings.steps
    )
    tx = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=settings.weight_decay)
    )
    state, average = tx.init(weights), weights

    loss = _make_loss(encoder)

    @jax.jit
    def step(
        weights: Weights, state: optax.OptState, average: Weights, batch: Batch, key: jax.Array
    ) -> tuple[Weights, optax.OptState, Weights, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(weights, batch, key)
        updates, state = tx.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        average = optax.incremental_update(weights, average, 1 - settings.ema_decay)
        return weights, state, average, value

    draw, losses = _batches(encoder, groups, settings), []
    for number in range(settings.steps):
        batch, key = draw(), jax.random.fold_in(root, number)
        weights, state, average, value = step(weights, state, average, batch, key)
        losses.append(float(value))
        if (number + 1) % 100 == 0:
            log(number + 1, float(np.mean(losses[-100:])))
    flat = degree_reader.flatten(jax.device_get(average))
    return flat.astype(np.float16).astype(np.float32)


def _make_loss(encoder: TextEncoder) -> Callable[[Weights, Batch, jax.Array], jax.Array]:
    tower = encoder.params["tower"]

    def loss(weights: Weights, batch: Batch, key: jax.Array) -> jax.Array:
        token_key, dropout_key = jax.random.split(key)
        seen = jax.random.bernoulli(token_key, 1 - _TOKEN_DROPOUT, batch.ids.shape)
        valid = batch.valid & seen.at[:, 0].set(True)
        merged = degree_reader.merge(tower, weights.factors)
        found = degree_reader.logits(
            encoder.config, merged, weights.head, batch.ids, valid, dropout=dropout_key
        )
        answerable = ~jnp.isnan(batch.degree)
        error = optax.huber_loss(
            degree_reader.degree(found[:, 0]),
            jnp.where(answerable, batch.degree, 0.0),
            delta=_HUBER,
        )
        of_degree = jnp.sum(answerable * error) / jnp.maximum(jnp.sum(answerable), 1)
        return 2 * of_degree + 0.5 * jnp.mean(
            optax.sigmoid_binary_cross_entropy(found[:, 1], answerable.astype(jnp.float32))
        )

    return loss


def _batches(
    encoder: TextEncoder, groups: Sequence[tuple[float, Sequence[Sentence]]], settings: Settings
) -> Callable[[], Batch]:
    """Returns what draws a batch: sentences by weight, then those of one of four lengths."""
    sentences = [sentence for _, group in groups for sentence in group]
    share = np.concatenate([np.full(len(group), w / len(group)) for w, group in groups])
    degree = np.array([np.nan if s.degree is None else s.degree for s in sentences], np.float32)
    rows = [encoder.tokens(sentence.text) for sentence in sentences]
    count = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), -(-count.max() // _LENGTHS) * _LENGTHS), np.int32)
    for padded, row in zip(ids, rows, strict=True):
        padded[: len(row)] = row
    rng = np.random.default_rng(settings.seed)

    def draw() -> Batch:
        drawn = rng.choice(len(sentences), 4 * settings.batch_size, p=share / share.sum())
        by_length = drawn[np.argsort(count[drawn], kind="stable")]
        chosen = by_length.reshape(4, -1)[rng.integers(4)]
        length = -(-count[chosen].max() // _LENGTHS) * _LENGTHS
        valid = np.arange(length) < count[chosen][:, None]
        return Batch(ids[chosen, :length], valid, degree[chosen])

    return draw
