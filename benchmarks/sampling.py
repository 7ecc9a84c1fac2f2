"""Segmentations sampled per second for one image, against decoding each sample from scratch.

    python -m benchmarks.sampling [--variant=full]

Sampling computes features and prior once, then S latents and S decoded masks. From scratch, U(x) is
computed again for every sample, and the first convolution of f gets features and latent
concatenated, as in the usual form of the equation. Both sides draw the same latents, and every row
checks that their masks agree. Peak memory is the memory that sampling adds.
"""

import argparse

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from benchmarks.common import discs, each_in_own_process, hardware, peak_mib, seconds
from configs import lidc
from prosona_jax.experiments import build
from prosona_jax.models import distributions
from prosona_jax.models.prob_unet import ProbUNet

SAMPLES = (1, 16, 100)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="demo", help="variant of configs/lidc.py")
    config = lidc.get_config(parser.parse_args().variant)
    [machine] = each_in_own_process(hardware, [()])
    print(f"one image, {config.data.size}x{config.data.size}; {machine}")
    print(f"{'S':>4} {'ms':>7} {'samples/s':>10} {'from scratch':>13} {'ratio':>7} {'peak MiB':>9}")
    results = each_in_own_process(measure, [(config, samples) for samples in SAMPLES])
    for samples, (ours, scratch, peak) in zip(SAMPLES, results, strict=True):
        print(
            f"{samples:>4} {1000 * ours:>7.1f} {samples / ours:>10.0f} {samples / scratch:>13.0f} "
            f"{scratch / ours:>6.1f}x {peak:>9.0f}",
            flush=True,
        )


def measure(config: ml_collections.ConfigDict, samples: int) -> tuple[float, float, float]:
    """Returns seconds per image of sampling and from scratch, and the peak MiB of sampling."""
    network = build.model(config)
    probs, labels = discs(1, 1, config.data.size)
    image = jnp.asarray(2 * probs[:, 0, :, :, None] - 1)
    key = jax.random.key(0)
    params = network.init(key, image, labels[:, :1], np.ones((1, 1), bool))
    held = peak_mib()
    # All inputs are arguments: from constants the compiler could compute features in advance.
    compiled = jax.jit(sample, static_argnums=(0, 4))
    drawn = np.asarray(compiled(network, params, image, key, samples))
    ours = seconds(lambda: compiled(network, params, image, key, samples))
    peak = peak_mib() - held
    compiled_scratch = jax.jit(sample_from_scratch, static_argnums=(0, 4))
    again = np.asarray(compiled_scratch(network, params, image, key, samples))
    np.testing.assert_allclose(again, drawn, atol=1e-4)
    return ours, seconds(lambda: compiled_scratch(network, params, image, key, samples)), peak


def sample(
    network: ProbUNet, params: dict, image: jax.Array, key: jax.Array, samples: int
) -> jax.Array:
    """Returns logits f32 [b, s, h, w]."""
    prior = network.apply(params, image, method="prior")
    z = distributions.sample(prior, key[None], samples)
    features = network.apply(params, image, method="features")
    return network.apply(params, features, z, method="decode")


def sample_from_scratch(
    network: ProbUNet, params: dict, image: jax.Array, key: jax.Array, samples: int
) -> jax.Array:
    """Returns the same logits; each sample computes f([U(x), z]) with its own U(x)."""
    prior = network.apply(params, image, method="prior")
    weights = params["params"]["fcomb"]
    first = jnp.concatenate([weights["features"]["kernel"], weights["latent"]["kernel"]])
    hidden = [weights[f"Dense_{i}"] for i in range(network.fcomb_layers - 2)]

    def decode(z: jax.Array) -> jax.Array:  # [b, d] -> [b, h, w]
        # The barrier keeps the compiler from moving U(x), which is constant, out of the loop.
        x, z = jax.lax.optimization_barrier((image, z))
        features = network.apply(params, x, method="features")
        over_pixels = jnp.broadcast_to(z[:, None, None], (*features.shape[:3], z.shape[-1]))
        x = jnp.concatenate([features, over_pixels], axis=-1) @ first + weights["features"]["bias"]
        for layer in hidden:
            x = jax.nn.relu(x) @ layer["kernel"] + layer["bias"]
        logit = weights["logit"]
        return (jax.nn.relu(x) @ logit["kernel"] + logit["bias"])[..., 0]

    z = distributions.sample(prior, key[None], samples)
    return jnp.moveaxis(jax.lax.map(decode, jnp.moveaxis(z, 1, 0)), 0, 1)


if __name__ == "__main__":
    main()
