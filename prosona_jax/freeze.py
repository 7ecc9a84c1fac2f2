"""What stage one computes of the training records, kept, so that stage two need not compute it."""

from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np

from prosona_jax.parallel import Parallel, gather_arrays
from prosona_jax.stage_two import Frozen
from prosona_jax.step import Params
from prosona_jax.types import Batch


def keep(
    batches: Callable[[], Iterable[Batch]],
    *,
    views: int,
    params: Params,
    freeze_step: Callable[..., Frozen],
    parallel: Parallel,
    root: jax.Array,
) -> Frozen:
    """Returns the records of all processes in host memory, `views` augmented copies of each.

    Features are kept as f16: 2 h w f bytes for each record and view.

    Args:
        batches: yields this process's share of the records, afresh at each call.
        views: number of copies.
        params: of stage one.
        freeze_step: ``((params, view), batch, root) -> Frozen``, compiled.
        parallel: how it runs on devices.
        root: the run's key.
    """
    kept = []
    for view in range(views):
        parts = (params, np.int32(view))
        share = [
            _small(parallel.gather(freeze_step(parts, parallel.shard(batch), root)))
            for batch in batches()
        ]
        everyone = gather_arrays(_join(share))
        # In the records' order and without padding, so whatever the number of processes.
        real = np.flatnonzero(everyone.valid)
        order = real[np.argsort(everyone.index[real], kind="stable")]
        kept.append(_take(everyone, order))
    return _join(kept)


def reader(kept: Frozen) -> Callable[[np.ndarray, np.ndarray], Frozen]:
    """Returns what takes the records at some positions of what was kept."""

    def read(positions: np.ndarray, valid: np.ndarray) -> Frozen:
        return _take(kept, positions)._replace(valid=valid.astype(np.float32))

    return read


def _small(frozen: Frozen) -> Frozen:
    return frozen._replace(features=frozen.features.astype(np.float16))


def _join(parts: Sequence[Frozen]) -> Frozen:
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _take(kept: Frozen, positions: np.ndarray) -> Frozen:
    return jax.tree.map(lambda x: x[positions], kept)
