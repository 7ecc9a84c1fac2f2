"""Queries: the number of parameters of each module, and the inputs that each depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.models.query import DEGREES, Alignment, DegreeQuery, HeadsQuery, IdQuery, TextQuery

B, K, E, F, D, WIDTH = 2, 3, 5, 4, 3, 7
TEXT = TextQuery(D, WIDTH)
ID, HEADS = IdQuery(K, D), HeadsQuery(K, D)


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _inputs(seed=0):
    return _normal(seed, B, K, E), _normal(seed + 1, B, 8, 8, F)


def _init(module):
    """Returns parameters as if trained: initial queries are zero and depend on no input."""
    params = module.init(jax.random.key(0), *_input_of(module, *_inputs()), False)
    return jax.tree.map(lambda x: x + 0.3 * _normal(x.size, *x.shape), params)


@pytest.mark.parametrize("module", [TEXT, ID])
def test_queries_start_at_the_mean_of_the_prior(module):
    inputs = _input_of(module, *_inputs())
    params = module.init(jax.random.key(0), *inputs, False)
    assert not np.any(module.apply(params, *inputs, False).query)


def test_a_degree_lies_on_the_line_between_two_vectors():
    module, features = DegreeQuery(D), _inputs()[1]
    asked = np.array([[-2.0, -1.0, 1.0, 2.0], [-1.75, -0.5, 2.2, -2.2]], np.float32)
    text = jnp.asarray(asked[..., None])
    params = module.init(jax.random.key(0), text, features, False)
    assert not np.any(module.apply(params, text, features, False).query)
    v = _normal(3, len(DEGREES), D)
    whole, between = module.apply({"params": {"Dense_0": {"kernel": v}}}, text, features, False)[0]
    np.testing.assert_allclose(whole, v, atol=1e-6)
    expected = [
        0.75 * v[0] + 0.25 * v[1],
        0.75 * v[1] + 0.25 * v[2],
        v[3] + 0.2 * (v[3] - v[2]),
        v[0] - 0.2 * (v[1] - v[0]),
    ]
    np.testing.assert_allclose(between, np.stack(expected), atol=1e-5)


def _input_of(module, text, features):
    """Returns the module's input: the text is None if the module reads none."""
    return text if module is TEXT else None, features


def _apply(module, text, features):
    return module.apply(_init(module), *_input_of(module, text, features), False)


def _count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def _convolution(inputs, outputs):
    return (9 * inputs + 1) * outputs


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (TEXT, (E + 1) * WIDTH + (WIDTH + 1) * D),
        (ID, K * D),
        (
            HEADS,
            K
            * sum(_convolution(i, o) + _convolution(o, o) for i, o in ((F, 32), (32, 16), (16, D))),
        ),
    ],
)
def test_parameter_counts(module, count):
    assert _count(_init(module)) == count


@pytest.mark.parametrize("module", [TEXT, ID, HEADS])
def test_shapes(module):
    query = _apply(module, *_inputs())
    assert query.query.shape == (B, K, D)
    assert (query.trunk.shape == (B, K, WIDTH)) if module is TEXT else (query.trunk is None)


def test_a_text_query_equals_its_formula():
    """W2 gelu(W1 sqrt(e) t + b1) + b2."""
    text = np.asarray(_inputs()[0])
    params = jax.tree.map(np.asarray, _init(TEXT)["params"])
    dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]  # noqa: E731
    trunk = np.asarray(jax.nn.gelu(dense("Dense_0", np.sqrt(E) * text)))
    found = _apply(TEXT, *_inputs())
    np.testing.assert_allclose(found.trunk, trunk, atol=1e-5)
    np.testing.assert_allclose(found.query, dense("Dense_1", trunk), atol=1e-5)


def test_each_query_depends_on_its_own_inputs_only():
    """Other inputs change no bit of it; its own inputs change it by more than rounding."""
    (text, features), (other_text, other_features) = _inputs(), _inputs(10)
    for module, sees_text, sees_image in (
        (TEXT, True, False),
        (ID, False, False),
        (HEADS, False, True),
    ):
        given = _apply(module, text, features).query
        for seen, query in (
            (sees_text, _apply(module, other_text, features).query),
            (sees_image, _apply(module, text, other_features).query),
        ):
            change = float(jnp.abs(query - given).max())
            assert (change > 1e-4) if seen else (change == 0), module


def test_the_query_of_a_style_depends_on_its_own_sentence_alone():
    text, features = _inputs()
    given = _apply(TEXT, text, features).query
    changed = _apply(TEXT, text.at[:, 1].set(0.5), features).query
    np.testing.assert_array_equal(changed[:, [0, 2]], given[:, [0, 2]])
    assert float(jnp.abs(changed[:, 1] - given[:, 1]).max()) > 1e-3


def test_id_queries_are_the_same_for_every_image():
    found = _apply(ID, *_inputs()).query
    np.testing.assert_array_equal(found[0], found[1])
    assert len(np.unique(found[0])) == K * D


def test_heads_are_not_negative_and_differ():
    query = np.asarray(_apply(HEADS, *_inputs()).query)
    assert query.min() >= 0
    assert query.max() > 0
    assert not np.array_equal(query[:, 0], query[:, 1])


def test_heads_use_dropout_only_if_dropout_is_true():
    module, (_, features) = HEADS, _inputs()
    params = _init(module)

    @jax.jit
    def draw(key):
        return module.apply(params, None, features, True, rngs={"dropout": key}).query

    still = module.apply(params, None, features, False).query
    np.testing.assert_array_equal(module.apply(params, None, features, False).query, still)
    draws = np.stack([draw(key) for key in jax.random.split(jax.random.key(0), 300)])
    assert len(np.unique(draws.reshape(300, -1), axis=0)) == 300
    np.testing.assert_allclose(draws.mean(axis=0), still, atol=0.15 * float(still.max()))


def _align():
    vectors = _normal(3, B, K, WIDTH), _normal(4, B, K, D), _normal(5, B, K, 3 * F)
    module = Alignment(6)
    return module, module.init(jax.random.key(0), *vectors), vectors


def test_alignment_has_unit_vectors_and_separate_parameters_for_each_side():
    module, params, vectors = _align()
    found = module.apply(params, *vectors)
    sides = ("text_latent", "text_visual", "latent", "visual")
    assert set(found) == {*sides, "log_temperature"}
    for name in sides:
        assert found[name].shape == (B, K, 6)
        np.testing.assert_allclose(jnp.linalg.norm(found[name], axis=-1), 1.0, atol=1e-5)
    count = 2 * (WIDTH + 1) * 6 + (D + 1) * 6 + (3 * F + 1) * 6 + (6 + 1) * 6 + 2
    assert _count(params) == count


def test_alignment_of_zero_vectors_is_finite():
    """Offsets or features of zero have no direction; their gradient must not be infinite."""
    module, params, vectors = _align()
    nothing = jax.tree.map(jnp.zeros_like, vectors)

    def total(vectors):
        found = module.apply(params, *vectors)
        return sum(jnp.sum(found[name]) for name in ("text_latent", "latent", "visual"))

    value, gradient = jax.value_and_grad(total)(nothing)
    assert float(value) == 0.0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_temperatures_start_at_seven_hundredths():
    module, params, vectors = _align()
    found = module.apply(params, *vectors)["log_temperature"]
    np.testing.assert_allclose(jnp.exp(found), np.full((B, 2), 0.07), rtol=1e-5)
