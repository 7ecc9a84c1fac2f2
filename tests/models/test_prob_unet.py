"""The probabilistic U-Net: exact decoding, parameter counts, contracts."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lidc
from prosona_jax.experiments import build
from prosona_jax.models import prob_unet
from prosona_jax.models.prob_unet import Fcomb, LatentEncoder, ProbUNet


def _tiny(**changes: object) -> ProbUNet:
    options = {"channels": (4, 8), "convs_per_scale": 1, "norm": "none", "latent_dim": 3}
    return ProbUNet(**(options | {"fcomb_layers": 3} | changes))


def _inputs(seed: int = 0, raters: int = 1) -> tuple[jax.Array, jax.Array, jax.Array]:
    generator = np.random.default_rng(seed)
    image = jnp.asarray(generator.normal(size=(2, 8, 8, 1)), jnp.float32)
    masks = jnp.asarray(generator.random((2, raters, 8, 8)) > 0.5, jnp.uint8)
    return image, masks, jnp.ones((2, raters), bool)


def test_fcomb_equals_convolutions_on_features_and_latent_together() -> None:
    """The first layer equals a 1x1 convolution on [U, z] whose kernel is split in two."""
    generator = np.random.default_rng(0)
    features = jnp.asarray(generator.normal(size=(2, 5, 6, 4)), jnp.float32)
    z = jnp.asarray(generator.normal(size=(2, 3, 2)), jnp.float32)
    module = Fcomb(layers=3, dtype=jnp.float32)
    variables = module.init(jax.random.key(0), features, z)
    params = jax.tree.map(np.asarray, variables["params"])
    kernel = np.concatenate([params["features"]["kernel"], params["latent"]["kernel"]])
    for s in range(3):
        plane = np.broadcast_to(np.asarray(z)[:, s, None, None], (2, 5, 6, 2))
        x = np.concatenate([features, plane], axis=-1) @ kernel + params["features"]["bias"]
        x = np.maximum(x, 0) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
        x = np.maximum(x, 0) @ params["logit"]["kernel"] + params["logit"]["bias"]
        found = module.apply(variables, features, z)[:, s]
        np.testing.assert_allclose(found, x[..., 0], atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 2 * 64, 3 * 2 * 64, 2**14])
def test_decoding_in_blocks_equals_decoding_one_by_one(
    pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits and gradients are the same with blocks of 1, 1, 3 and 6 of six samples."""
    model, (image, masks, valid) = _tiny(), _inputs()
    params = model.init(jax.random.key(0), image, masks, valid)
    features = model.apply(params, image, method="features")
    z = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 3)), jnp.float32)

    def decode(params: dict, features: jax.Array, z: jax.Array) -> jax.Array:
        return model.apply(params, features, z, method="decode")

    def one_by_one(params: dict, features: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.concatenate([decode(params, features, z[:, s : s + 1]) for s in range(6)], 1)

    def value_and_gradients(way: Callable[..., jax.Array]) -> list[jax.Array]:
        of_squares = lambda *args: jnp.sum(jnp.square(way(*args)))  # noqa: E731
        return [
            way(params, features, z),
            *jax.grad(of_squares, argnums=(0, 1, 2))(params, features, z),
        ]

    monkeypatch.setattr(prob_unet, "_DECODED_PIXELS", pixels)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        value_and_gradients(decode),
        value_and_gradients(one_by_one),
    )


def _symmetries() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Returns the eight symmetries of a square image [b, h, w, c] by name."""
    straight = {
        "as it is": lambda x: x,
        "rows mirrored": lambda x: x[:, ::-1],
        "columns mirrored": lambda x: x[:, :, ::-1],
        "both mirrored": lambda x: x[:, ::-1, ::-1],
    }
    across = {
        f"transposed, {name}": lambda x, lay=lay: lay(x.swapaxes(1, 2))
        for name, lay in straight.items()
    }
    return straight | across


def test_mirrored_features_are_the_mean_over_the_symmetries_of_the_square() -> None:
    model, (image, masks, valid) = _tiny(), _inputs()
    params = model.init(jax.random.key(0), image, masks, valid)

    def features(network: ProbUNet, x: np.ndarray) -> np.ndarray:
        return np.asarray(network.apply(params, jnp.asarray(x), method="features"))

    mirrored, x = model.clone(mirrored=True), np.asarray(image)
    inverse = {"transposed, rows mirrored": "transposed, columns mirrored"}
    inverse |= {other: name for name, other in inverse.items()}
    lays = _symmetries()
    back = [lays[inverse.get(name, name)](features(model, lay(x))) for name, lay in lays.items()]
    assert np.ptp(back, axis=0).max() > 1e-3, "the network already has these symmetries"
    np.testing.assert_allclose(features(mirrored, x), np.mean(back, axis=0), atol=1e-6)
    for lay in lays.values():
        turned = features(mirrored, lay(x))
        np.testing.assert_allclose(turned, lay(features(mirrored, x)), atol=1e-6)


def test_posterior_sees_the_mask_and_the_prior_does_not() -> None:
    model, (image, masks, valid) = _tiny(), _inputs()
    params = model.init(jax.random.key(0), image, masks, valid)
    one = model.apply(params, image, masks, valid, method="posterior")
    other = model.apply(params, image, 1 - masks, valid, method="posterior")
    assert float(jnp.abs(one.mu - other.mu).max()) > 1e-3


def test_posterior_input_is_the_image_then_the_masks_as_minus_and_plus_a_half() -> None:
    model, (image, masks, valid) = _tiny(), _inputs()
    params = model.init(jax.random.key(0), image, masks, valid)
    net = LatentEncoder((4, 8), 1, "none", 3, jnp.float32)
    planes = jnp.concatenate([image, masks[:, 0, :, :, None] - 0.5], axis=-1)
    own = {"params": params["params"]["posterior_net"]}
    found = model.apply(params, image, masks, valid, method="posterior")
    np.testing.assert_allclose(found.mu, net.apply(own, planes).mu, atol=1e-6)
    assert float(jnp.abs(found.mu - net.apply(own, planes[..., ::-1]).mu).max()) > 1e-3


def test_the_posterior_does_not_see_the_mask_of_a_missing_rater() -> None:
    model, (image, masks, valid) = _tiny(), _inputs(raters=3)
    params = model.init(jax.random.key(0), image, masks, valid)
    valid = valid.at[:, 1].set(False)
    changed = masks.at[:, 1].set(1 - masks[:, 1])
    one = model.apply(params, image, masks, valid, method="posterior")
    other = model.apply(params, image, changed, valid, method="posterior")
    np.testing.assert_array_equal(one.mu, other.mu)


def test_bfloat16_keeps_parameters_distributions_and_logits_in_float32() -> None:
    model, (image, masks, valid) = _tiny(dtype=jnp.bfloat16), _inputs()
    params = model.init(jax.random.key(0), image, masks, valid)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    logits = model.apply(params, image, masks, valid)
    reference = _tiny().apply(params, image, masks, valid)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, reference, atol=0.05)
    assert float(jnp.abs(logits - reference).max()) > 0  # the network computes in bfloat16
    assert jnp.any(logits != logits.astype(jnp.bfloat16))  # but the logits are not bfloat16


def test_a_size_that_the_scales_do_not_divide_is_an_error() -> None:
    image = jnp.zeros((1, 9, 8, 1))
    with pytest.raises(ValueError, match="divisible by 2, got 9x8"):
        _tiny().init(
            jax.random.key(0), image, jnp.zeros((1, 1, 9, 8), jnp.uint8), jnp.ones((1, 1), bool)
        )


def _parameters(config: object) -> dict[str, int]:
    size = config.data.size
    network, root = build.model(config), jax.random.key(0)
    params = jax.eval_shape(lambda: build.initialise(config, network, root, (size, size, 1), 4))
    parts = params["params"]
    return {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in parts.items()}


def _convolutions(inputs: int, outputs: int, count: int) -> int:
    return (9 * inputs + 1) * outputs + (count - 1) * (9 * outputs + 1) * outputs


def _encoder(inputs: int, channels: tuple[int, ...], count: int) -> int:
    before = (inputs, *channels[:-1])
    return sum(_convolutions(i, o, count) for i, o in zip(before, channels, strict=True))


@pytest.mark.parametrize(
    ("variant", "total"),
    [("full", 6_891_449), ("demo", 6_891_449), ("crops64", 6_891_449), ("smoke", 1_865)],
)
def test_parameter_counts(variant: str, total: int) -> None:
    config = lidc.get_config(variant)
    channels, count, d = tuple(config.model.channels), config.model.convs_per_scale, 6
    up = itertools.pairwise(channels)
    latent_head = (channels[-1] + 1) * 2 * d
    width, norms = channels[0], 0
    if config.model.norm == "group":  # a scale and an offset for each filter
        norms = 2 * count * sum(channels)
    expected = {
        "unet": _encoder(1, channels, count)
        + sum(_convolutions(skip + below, skip, count) for skip, below in up)
        + norms
        + 2 * count * sum(channels[:-1]) * bool(norms),
        "prior_net": _encoder(1, channels, count) + latent_head + norms,
        "posterior_net": _encoder(2, channels, count) + latent_head + norms,
        "fcomb": (width + 1) * width + d * width + 2 * (width + 1) * width + width + 1,
    }
    assert _parameters(config) == expected
    assert sum(expected.values()) == total
