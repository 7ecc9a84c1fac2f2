"""Blocks of convolutions: GroupNorm equals that of flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.models.blocks import GroupNorm


@pytest.mark.parametrize(("filters", "groups"), [(16, 8), (4, 4), (6, 1)])
def test_group_norm_equals_that_of_flax_with_its_gradients(filters: int, groups: int) -> None:
    generator = np.random.default_rng(0)
    x, weight = (jnp.asarray(generator.normal(2, 3, (2, 5, 7, filters))) for _ in range(2))
    ours, flax = GroupNorm(groups, jnp.float32), nn.GroupNorm(num_groups=groups)
    params = {
        "scale": jnp.asarray(generator.normal(size=filters)),
        "bias": jnp.asarray(generator.normal(size=filters)),
    }
    shapes = jax.eval_shape(ours.init, jax.random.key(0), x)
    assert shapes == jax.eval_shape(flax.init, jax.random.key(0), x)

    def weighted(module: nn.Module) -> list[jax.Array]:
        sums = lambda p, x: jnp.sum(weight * module.apply({"params": p}, x))  # noqa: E731
        return [module.apply({"params": params}, x), *jax.grad(sums, argnums=(0, 1))(params, x)]

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        weighted(ours),
        weighted(flax),
    )


def test_group_norm_of_a_constant_image_is_the_bias() -> None:
    module = GroupNorm(2, jnp.float32)
    params = {"scale": jnp.ones(4), "bias": jnp.arange(4.0)}
    found = module.apply({"params": params}, jnp.full((1, 3, 3, 4), 7.0))
    np.testing.assert_allclose(found, np.broadcast_to(np.arange(4.0), (1, 3, 3, 4)), atol=1e-3)
