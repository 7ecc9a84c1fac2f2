"""Training images per second: jit on a mesh against pmap, float32 against bfloat16.

    python -m benchmarks.training [--variant=full] [--batch_size=64]

A step includes augmentation, posterior, prior samples, loss, gradient and update. The batch is on
the devices already, so the times do not include reading data. Peak memory is that of the process,
or of the first accelerator.
"""

import argparse
import time

import jax
import ml_collections
import numpy as np

from benchmarks.common import RATERS, discs, each_in_own_process, hardware, peak_mib, seconds
from configs import lidc
from prosona_jax.experiments import build
from prosona_jax.runtime import parallel
from prosona_jax.training import step
from prosona_jax.types import Batch

CASES = (("mesh", "float32"), ("pmap", "float32"), ("mesh", "bfloat16"))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="demo", help="variant of configs/lidc.py")
    parser.add_argument("--batch_size", type=int, help="default: that of the variant")
    arguments = parser.parse_args()
    config = lidc.get_config(arguments.variant)
    config.batch_size = arguments.batch_size or config.batch_size
    size = config.data.size
    [machine] = each_in_own_process(hardware, [()])
    print(f"batches of {config.batch_size} images, {size}x{size}; {machine}")
    print(f"{'wrapper':>8} {'compute':>9} {'images/s':>9} {'ms/step':>8} {'compile s':>10} "
          f"{'peak MiB':>9}")  # fmt: skip
    results = each_in_own_process(measure, [(config, *case) for case in CASES])
    for (wrapper, dtype), (compiling, each, peak) in zip(CASES, results, strict=True):
        print(
            f"{wrapper:>8} {dtype:>9} {config.batch_size / each:>9.1f} {1000 * each:>8.0f} "
            f"{compiling:>10.1f} {peak:>9.0f}",
            flush=True,
        )


def measure(
    config: ml_collections.ConfigDict, wrapper: str, dtype: str
) -> tuple[float, float, float]:
    """Returns seconds of the first step, seconds per later step, and peak MiB."""
    with config.unlocked():
        config.model.dtype = dtype
    network, tx = build.model(config), build.optimizer(config)
    devices = parallel.create(wrapper)
    shape = (config.data.size, config.data.size, 1)
    root = jax.random.key(0)
    state = step.create_state(build.initialise(config, network, root, shape, RATERS), tx)
    state, batch = devices.replicate(state), devices.shard(_batch(config.batch_size, shape[0]))
    train_step = devices.train_step(build.train_step(config, network, tx))

    def advance() -> dict[str, jax.Array]:
        nonlocal state
        state, metrics = train_step(state, batch, root)
        return metrics

    start = time.perf_counter()
    metrics = jax.block_until_ready(advance())
    compiling = time.perf_counter() - start
    each = seconds(advance)
    assert np.isfinite(metrics["loss"])
    return compiling, each, peak_mib()


def _batch(count: int, size: int) -> Batch:
    probs, labels = discs(count, 1, size)
    return Batch(
        image=2 * probs[:, 0, :, :, None] - 1,
        masks=labels,
        rater_valid=np.ones((count, RATERS), bool),
        index=np.arange(count, dtype=np.int32),
        valid=np.ones(count, np.float32),
    )


if __name__ == "__main__":
    main()
