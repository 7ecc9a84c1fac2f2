"""Networks that draw the raters' masks directly: what their heads share, and Pionono's latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from prosona_jax.models.direct import Heads, Pionono

BODY = {"channels": (4, 8), "convs_per_scale": 1, "norm": "none", "layers": 3}
R, D = 3, 2


def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)


def initialised(network):
    return network.init(jax.random.key(0), image(), jnp.zeros((2, network.masks, D)))


def changed(params, name):
    """Returns parameters of which those below a name are 0."""
    return {
        "params": {
            own: jax.tree.map(jnp.zeros_like, x) if own == name else x
            for own, x in params["params"].items()
        }
    }


@pytest.mark.parametrize("shared", [True, False])
def test_heads_share_a_unet_or_have_one_each(shared):
    network = Heads(R, shared, **BODY)
    params = initialised(network)
    drawn = network.apply(params, image(), None)
    assert drawn.shape == (2, R, 8, 8)
    assert len([name for name in params["params"] if name.startswith("UNet")]) == (
        1 if shared else R
    )
    without_head = network.apply(changed(params, "Fcomb_1"), image(), None)
    same = [bool(np.allclose(drawn[:, m], without_head[:, m])) for m in range(R)]
    assert same == [True, False, True]
    without_unet = network.apply(changed(params, "UNet_0"), image(), None)
    same = [bool(np.allclose(drawn[:, m], without_unet[:, m])) for m in range(R)]
    assert same == [False, shared is False, shared is False]
    np.testing.assert_array_equal(network.apply(params, method="divergence"), np.zeros(R))


@pytest.mark.parametrize("network", [Heads(R, True, **BODY), Pionono(R, D, **BODY)])
def test_mirrored_networks_are_equivariant(network):
    params, mirrored = initialised(network), network.clone(mirrored=True)
    turned = mirrored.apply(params, jnp.rot90(image(), 1, (1, 2)), None)
    expected = jnp.rot90(mirrored.apply(params, image(), None), 1, (2, 3))
    np.testing.assert_allclose(turned, expected, atol=1e-4)


def _pionono(seed=0):
    """Returns a Pionono whose Gaussians have full covariances, with its means and triangles."""
    network, rng = Pionono(R, D, **BODY), np.random.default_rng(seed)
    params = initialised(network)
    changes = {
        "mean": rng.normal(size=(R, D)),
        "log_diagonal": rng.normal(size=(R, D)),
        "below": rng.normal(size=(R, D, D)),
    }
    params = {"params": params["params"] | {k: jnp.float32(v) for k, v in changes.items()}}
    triangle = np.tril(changes["below"], -1) + np.stack(
        [np.diag(np.exp(own)) for own in changes["log_diagonal"]]
    )
    return network, params, changes["mean"], triangle


def test_the_divergence_is_that_of_full_gaussians():
    """KL(q || p) = E_q [log q - log p], here by the average over many draws of scipy."""
    network, params, means, triangles = _pionono()
    found = network.apply(params, method="divergence")
    prior = stats.multivariate_normal(np.zeros(D), 4 * np.eye(D))
    for mean, triangle, own in zip(means, triangles, found, strict=True):
        q = stats.multivariate_normal(mean, triangle @ triangle.T)
        z = q.rvs(200_000, random_state=0)
        assert float(own) == pytest.approx(np.mean(q.logpdf(z) - prior.logpdf(z)), abs=0.02)


def test_before_training_the_divergence_comes_from_the_means_alone():
    network = Pionono(R, D, **BODY)
    params = initialised(network)
    mean = np.asarray(params["params"]["mean"])
    found = network.apply(params, method="divergence")
    np.testing.assert_allclose(found, (mean**2).sum(axis=1) / 8, rtol=1e-5)


def test_noise_moves_the_latents_of_pionono_by_its_triangles():
    network, params, means, triangles = _pionono()
    noise = np.random.default_rng(1).normal(size=(2, R, D)).astype(np.float32)
    moved = means + np.einsum("rij,brj->bri", triangles, noise)
    for b in range(2):
        at = {"params": params["params"] | {"mean": jnp.float32(moved[b])}}
        expected = network.apply(at, image(), None)[b]
        found = network.apply(params, image(), jnp.asarray(noise))[b]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_samples_of_pionono_take_turns_among_the_raters():
    network, params, _, _ = _pionono()
    drawn = network.apply(params, image(), jnp.zeros((2, 5, D)), method="sample")
    means = network.apply(params, image(), None)
    np.testing.assert_allclose(drawn, means[:, np.arange(5) % R], atol=1e-5)
