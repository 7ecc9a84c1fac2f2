"""Functions that the benchmarks share: a process per row, time per call, peak memory, test data."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

RATERS = 4
SECONDS = 2.0  # duration of each measurement, which has at least one call


def each_in_own_process(
    measure: Callable[..., Any], cases: Iterable[tuple[Any, ...]]
) -> Iterator[Any]:
    """Yields ``measure(*case)`` of each case, run in a new process.

    So the compilation and the peak memory of a case do not depend on other cases. Cases run one
    after another, since two at once would slow each other.
    """
    context = multiprocessing.get_context("spawn")
    for case in cases:
        with context.Pool(1) as pool:
            yield pool.apply(measure, case)


def seconds(call: Callable[[], Any], *, least: float = SECONDS) -> float:
    """Returns seconds per call, averaged over at least `least` seconds; waits for each result."""
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < least:
        jax.block_until_ready(call())
        calls += 1
    return (time.perf_counter() - start) / calls


def peak_mib() -> float:
    """Returns the peak memory so far in MiB: of the accelerator, or resident memory on a CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def hardware() -> str:
    """Returns the devices, CPU cores and JAX version of this machine."""
    devices = jax.devices()
    cores = multiprocessing.cpu_count()
    return f"{len(devices)} x {devices[0].device_kind}, {cores} CPU cores, jax {jax.__version__}"


def discs(records: int, samples: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns probs f32 [b, s, h, w] and labels u8 [b, r, h, w]: noisy discs of various radii."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    distance = np.hypot(rows, columns)
    probs = np.empty((records, samples, size, size), np.float32)
    labels = np.empty((records, RATERS, size, size), np.uint8)
    # Mask by mask: drawing all at once would raise the peak memory that is measured later.
    for i in range(records):
        for k, radius in enumerate(rng.uniform(0.1, 0.3, samples + RATERS)):
            noise = rng.standard_normal((size, size), np.float32)
            logits = 20 * (np.float32(radius) - distance) + noise
            if k < samples:
                probs[i, k] = 1 / (1 + np.exp(-logits))
            else:
                labels[i, k - samples] = logits > 0
    return probs, labels
