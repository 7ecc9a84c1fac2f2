"""Reads from a sentence how generous an outline it asks for, and whether it asks for one at all.

The text encoder's own network with low-rank changes of its matrices, W' = W + A B (LoRA, Hu et al.
2021, arXiv:2106.09685), and a head over the states h_n of the sentence's tokens:

    a = softmax_n(v . tanh(V h_n)),  s = sum_n a_n h_n,  (u, l) = head(s)
    degree = BOUND tanh(u) in (-2.2, 2.2),  answerable = sigmoid(l)

A reader has several members, trained with different seeds, and gives the mean of their degrees and
of their probabilities. A degree is explained in degrees.py. `training/degrees.py` trains A, B and
the head.
"""

import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.network import TextConfig, Tower
from prosona_jax.types import InputError, Params, first_line

BOUND = 2.2  # beyond -2 and 2, so that these are reached with finite logits
ANSWERABLE = 0.5  # below this probability a sentence counts as not understood
WIDTH = 128  # of the hidden layers of the head


class Readings(NamedTuple):
    """What n sentences ask for."""

    degree: Float[np.ndarray, " n"]  # -2.2..2.2
    answerable: Float[np.ndarray, " n"]  # probability that the sentence asks for a degree


class Head(nn.Module):
    """From the states of a sentence's tokens to the logits of degree and answerability."""

    dropout: float = 0.1

    @nn.compact
    def __call__(
        self, states: Float[Array, "b n e"], valid: Bool[Array, "b n"], train: bool = False
    ) -> Float[Array, "b 2"]:
        score = nn.Dense(1)(jnp.tanh(nn.Dense(WIDTH)(states)))[..., 0]
        share = nn.softmax(jnp.where(valid, score, -jnp.inf))
        x = jnp.einsum("bn,bne->be", share, states)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.gelu(nn.Dense(WIDTH)(x)))
        return nn.Dense(2)(x)


class Weights(NamedTuple):
    """What is trained."""

    factors: dict[str, tuple[Array, Array]]  # A [in, rank] and B [rank, out] by a matrix's name
    head: Params


def initial(encoder: Params, rank: int, key: jax.Array) -> Weights:
    """Returns weights that leave the encoder, a tower's parameters, as it is: B is 0."""
    keys = jax.random.split(key, 2)
    factors = {}
    for number, (name, matrix) in enumerate(_matrices(encoder)):
        inputs, outputs = matrix.shape
        scale = inputs**-0.5
        a = scale * jax.random.normal(jax.random.fold_in(keys[0], number), (inputs, rank))
        factors[name] = (a, jnp.zeros((rank, outputs)))
    states = jnp.zeros((1, 2, encoder["tokens"]["embedding"].shape[1]))
    return Weights(factors, Head().init(keys[1], states, jnp.ones((1, 2), bool)))


def merge(encoder: Params, factors: Mapping[str, tuple[Any, Any]]) -> Params:
    """Returns the parameters of a tower with W + A B in place of each matrix W."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: _add(x, factors.get(jax.tree_util.keystr(path))), encoder
    )


def logits(
    config: TextConfig,
    tower: Params,
    head: Params,
    ids: Int[Array | np.ndarray, "b n"],
    valid: Bool[Array | np.ndarray, "b n"],
    *,
    dropout: jax.Array | None = None,
) -> Float[Array, "b 2"]:
    """Returns the logits (u, l) of a batch of token ids; with a key for `dropout` in training.

    `tower` is what `merge` returns.
    """
    states = Tower(config).apply({"params": tower}, ids, valid)[1]
    rngs = None if dropout is None else {"dropout": dropout}
    return Head().apply(head, states, valid, dropout is not None, rngs=rngs)


def degree(u: Float[Array | np.ndarray, " b"]) -> Float[Array, " b"]:
    """Returns the degree of a logit."""
    return BOUND * jnp.tanh(u)


class DegreeReader:
    """An encoder of sentences whose embedding is one number, the degree.

    Attributes:
        name, digest, max_tokens: those of the text encoder.
        dim: 1.
        flat: the trained numbers, f32 [members, size].
        reader_digest: first 16 hex digits of the SHA-256 of these numbers.
    """

    dim = 1

    def __init__(
        self, encoder: TextEncoder, rank: int, flat: Float[np.ndarray, "members size"]
    ) -> None:
        """Takes each member's trained numbers in the order of `flatten`."""
        self.name, self.digest = encoder.name, encoder.digest
        self.max_tokens = encoder.max_tokens
        self.rank = rank
        self.flat = np.asarray(flat, np.float32)
        self.reader_digest = hashlib.sha256(self.flat.tobytes()).hexdigest()[:16]
        self._encoder = encoder
        tower = encoder.params["tower"]
        like = jax.eval_shape(lambda: initial(tower, rank, jax.random.key(0)))
        needed = sum(x.size for x in jax.tree.leaves(like))
        if needed != self.flat.shape[1]:
            raise InputError(
                f"degree reader: holds {self.flat.shape[1]} numbers a member, and the text encoder "
                f"{encoder.name!r} needs {needed} at rank {rank}; it was trained with another "
                "encoder"
            )
        unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape), like))[1]
        merged = jax.jit(merge)
        self._members = []
        for own in self.flat:
            weights = unravel(jnp.asarray(own))
            self._members.append((merged(tower, weights.factors), weights.head))
        self._answer = jax.jit(functools.partial(_answer, encoder.config))

    def read(self, sentences: Sequence[str]) -> Readings:
        """Returns what the sentences ask for.

        Raises:
            InputError: a sentence is empty.
        """

        def mean(ids: np.ndarray, valid: np.ndarray) -> np.ndarray:
            answers = [self._answer(*member, ids, valid) for member in self._members]
            return np.mean(jax.device_get(answers), axis=0)

        return Readings(*self._encoder.compute(mean, sentences, 2).T)

    def embed(self, sentences: Sequence[str]) -> Float[np.ndarray, "n 1"]:
        """Returns the degrees, f32 [n, 1], in place of an encoder's embeddings."""
        return self.read(sentences).degree[:, None]

    def describe(self) -> dict[str, Any]:
        """Returns what run.json says of the reader."""
        members, size = self.flat.shape
        return {
            "digest": self.reader_digest, "rank": self.rank, "members": members, "size": size
        }  # fmt: skip

    def count_tokens(self, sentence: str) -> int:
        """Returns the number of tokens before any cut."""
        return self._encoder.count_tokens(sentence)


def flatten(weights: Weights) -> Float[np.ndarray, " size"]:
    """Returns all trained numbers of a member in one array."""
    return np.asarray(ravel_pytree(weights)[0], np.float32)


def save(path: pathlib.Path, reader: DegreeReader) -> None:
    """Writes the trained numbers as float16, with the encoder that they belong to."""
    metadata = {"encoder": reader.name, "encoder_digest": reader.digest, "rank": str(reader.rank)}
    # As bytes: safetensors itself would make a file that only its owner can read.
    weights = {"weights": reader.flat.astype(np.float16)}
    path.write_bytes(safetensors.numpy.save(weights, metadata))


def load(path: pathlib.Path, encoder: TextEncoder) -> DegreeReader:
    """Returns the reader of a file that `save` wrote.

    Raises:
        InputError: the file is missing or damaged, or belongs to another encoder.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata, flat = file.metadata(), file.get_tensor("weights")
        rank, digest = int(metadata["rank"]), metadata["encoder_digest"]
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; train one with python -m prosona_jax.train_reader, or set "
            "prompts.degree_reader to '' to use the encoder's embeddings"
        ) from None
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: is damaged ({first_line(error)}); restore it") from error
    if digest != encoder.digest:
        raise InputError(
            f"{path}: was trained with the text encoder {metadata.get('encoder')!r} of digest "
            f"{digest}, and prompts.encoder {encoder.name!r} has {encoder.digest}; train one for "
            "this encoder with python -m prosona_jax.train_reader, or set prompts.degree_reader to "
            "''"
        )
    return DegreeReader(encoder, rank, flat.astype(np.float32))


def _answer(
    config: TextConfig,
    tower: Params,
    head: Params,
    ids: Int[Array | np.ndarray, "b n"],
    valid: Bool[Array | np.ndarray, "b n"],
) -> Float[Array, "b 2"]:
    """Returns a member's degrees and probabilities."""
    found = logits(config, tower, head, ids, valid)
    return jnp.stack([degree(found[:, 0]), nn.sigmoid(found[:, 1])], axis=1)


def _matrices(encoder: Params) -> list[tuple[str, Any]]:
    """Returns the names and the matrices that get low-rank changes: all but the embeddings."""
    return [
        (jax.tree_util.keystr(path), x)
        for path, x in jax.tree_util.tree_leaves_with_path(encoder)
        if path[-1].key == "kernel"
    ]


def _add(x: Any, factors: tuple[Any, Any] | None) -> Any:
    return x if factors is None else x + factors[0] @ factors[1]
