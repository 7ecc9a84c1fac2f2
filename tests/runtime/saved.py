"""Small checkpoints, saved and read."""

import jax
import jax.numpy as jnp
import numpy as np

from prosona_jax.runtime.checkpoint import Checkpoints


def tree_of(seed=0):
    """Returns arrays of several types, other ones for each seed."""
    generator = np.random.default_rng(seed)
    return {
        "step": jnp.asarray(seed, jnp.int32),
        "params": {"kernel": jnp.asarray(generator.normal(size=(3, 5)), jnp.float32)},
        "moments": (jnp.asarray(generator.normal(size=7), jnp.bfloat16), jnp.zeros(())),
    }


def array_of(seed=0):
    """One array. With several, Orbax's threads would warn about those after a damaged one."""
    return {"kernel": tree_of(seed)["params"]["kernel"]}


def save(workdir, series, *steps):
    """Saves an array at each step, with a note."""
    checkpoints = Checkpoints(workdir)
    for step in steps:
        checkpoints.save(series, step, array_of(step), {"best": step / 8, "position": {"at": step}})
    checkpoints.close()


def resume(workdir, like=None):
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.resume(array_of() if like is None else like)
    finally:
        checkpoints.close()


def steps_in(workdir, series):
    """Returns the steps that a series holds."""
    return sorted(int(folder.name) for folder in (workdir / "checkpoints" / series).iterdir())


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
