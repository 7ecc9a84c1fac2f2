"""The degree reader: parity with the encoder's network, files, and refusals."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.text import degree_reader
from prosona_jax.text import encoder as text_encoder
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.network import Tower
from prosona_jax.types import InputError

TEXT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "text"
SENTENCES = ["hug the core", "a wide margin, please", "no"]


@pytest.fixture(scope="module")
def bert():
    return text_encoder.load(str(TEXT / "bert"))


def _tokens(encoder):
    ((_, ids, valid),) = encoder.batches(SENTENCES)
    return jnp.asarray(ids), jnp.asarray(valid)


def _weights(encoder, seed=1):
    """Weights as if trained: the first ones leave the encoder as it is."""
    rank, scale = 2, 0.3
    first = degree_reader.initial(encoder.params["tower"], rank, jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + scale * rng.normal(size=x.shape).astype("f4"), first)


def _reader(encoder, *seeds):
    members = [degree_reader.flatten(_weights(encoder, seed)) for seed in seeds]
    return DegreeReader(encoder, 2, np.stack(members))


@pytest.fixture(scope="module")
def reader(bert):
    return _reader(bert, 1, 2)


def test_before_training_the_network_is_the_encoders_own(bert):
    tower = bert.params["tower"]
    weights = degree_reader.initial(tower, 3, jax.random.key(0))
    ids, valid = _tokens(bert)
    merged = degree_reader.merge(tower, weights.factors)
    found = degree_reader.logits(bert.config, merged, weights.head, ids, valid)
    states = Tower(bert.config).apply({"params": tower}, ids, valid)[1]
    expected = degree_reader.Head().apply(weights.head, states, valid)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_matrix_gets_the_product_of_its_factors(bert):
    """By the network with W + A B in place of W, for every matrix but the embeddings'."""
    tower, weights = bert.params["tower"], _weights(bert)
    changed = jax.tree.map(jnp.asarray, tower)
    for path, matrix in jax.tree_util.tree_leaves_with_path(tower):
        name = jax.tree_util.keystr(path)
        if matrix.ndim == 2 and path[-1].key == "kernel":
            a, b = weights.factors[name]
            assert (a.shape, b.shape) == ((matrix.shape[0], 2), (2, matrix.shape[1]))
            changed[path[0].key][path[1].key]["kernel"] = matrix + a @ b
    ids, valid = _tokens(bert)
    states = Tower(bert.config).apply({"params": changed}, ids, valid)[1]
    expected = degree_reader.Head().apply(weights.head, states, valid)
    merged = degree_reader.merge(tower, weights.factors)
    found = degree_reader.logits(bert.config, merged, weights.head, ids, valid)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found[:3, 0]) > 1e-3


def test_a_sentence_is_read_alone_as_among_others(reader):
    together = reader.read(SENTENCES)
    for n, sentence in enumerate(SENTENCES):
        alone = reader.read([sentence])
        np.testing.assert_allclose(alone.degree[0], together.degree[n], atol=1e-5)
        np.testing.assert_allclose(alone.answerable[0], together.answerable[n], atol=1e-5)
    np.testing.assert_array_equal(reader.embed(SENTENCES), together.degree[:, None])
    assert np.abs(together.degree).max() <= degree_reader.BOUND


def test_a_reader_gives_the_mean_of_its_members(reader, bert):
    found, members = reader.read(SENTENCES), [_reader(bert, n).read(SENTENCES) for n in (1, 2)]
    np.testing.assert_allclose(found, np.mean(members, axis=0), atol=1e-5)
    assert np.abs(members[0].degree - members[1].degree).max() > 0.1


def test_a_file_keeps_half_precision_and_the_encoder(reader, bert, tmp_path):
    path = tmp_path / "reader.safetensors"
    degree_reader.save(path, reader)
    again = degree_reader.load(path, bert)
    np.testing.assert_array_equal(again.flat, reader.flat.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(
        again.read(SENTENCES).degree, reader.read(SENTENCES).degree, atol=2e-2
    )
    members, size = reader.flat.shape
    described = {"digest": again.reader_digest, "rank": 2, "members": 2, "size": size}
    assert (again.describe(), members) == (described, 2)
    assert path.stat().st_size < 2 * members * size + 1000


def test_what_cannot_be_loaded_is_one_line(reader, bert, tmp_path):
    path = tmp_path / "reader.safetensors"
    with pytest.raises(InputError, match=f"^{path}: no such file; train one with python -m"):
        degree_reader.load(path, bert)
    degree_reader.save(path, reader)
    other = text_encoder.load(str(TEXT / "clip"))
    with pytest.raises(InputError, match=f"^{path}: was trained with the text encoder .*bert"):
        degree_reader.load(path, other)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=f"^{path}: is damaged"):
        degree_reader.load(path, bert)
    with pytest.raises(InputError, match="holds 7 numbers a member, and the text"):
        DegreeReader(bert, 2, np.zeros((1, 7), np.float32))


def test_a_clip_tower_can_read_degrees_too():
    clip = text_encoder.load(str(TEXT / "clip"))
    found = _reader(clip, 1).read(SENTENCES)
    assert np.ptp(found.degree) > 1e-4
