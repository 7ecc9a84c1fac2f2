"""Keys depend only on root, stream, step and record."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax import rng


def _data(stream: str, step: int, index: list[int], seed: int = 0) -> np.ndarray:
    keys = rng.example_keys(jax.random.key(seed), stream, step, jnp.array(index))
    return np.asarray(jax.random.key_data(keys))


def test_every_part_changes_the_key() -> None:
    base = _data("prior", 3, [5])
    for other in (
        _data("posterior", 3, [5]),
        _data("prior", 4, [5]),
        _data("prior", 3, [6]),
        _data("prior", 3, [5], seed=1),
    ):
        assert (base != other).any()


def test_a_record_has_its_key_in_any_batch() -> None:
    np.testing.assert_array_equal(_data("prior", 3, [5, 9])[1], _data("prior", 3, [9])[0])


def test_an_unknown_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="tuple"):
        rng.stream_key(jax.random.key(0), "typo")


def test_streams_keep_their_position() -> None:
    known = ("init", "augment", "rater", "posterior", "prior", "evaluate")
    known += ("prompt", "dropout", "codes")
    assert rng.STREAMS[: len(known)] == known
