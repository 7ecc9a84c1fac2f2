"""What stage one computes of the training records, kept, so that stage two need not compute it."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from prosona_jax.parallel import Parallel, gather_arrays
from prosona_jax.stage_two import Frozen
from prosona_jax.step import Params
from prosona_jax.types import Batch


def keep(
    batches: Callable[[], Iterable[Batch]],
    indices: np.ndarray,
    *,
    views: int,
    params: Params,
    freeze_step: Callable[..., Frozen],
    parallel: Parallel,
    root: jax.Array,
) -> Frozen:
    """Returns the records of all processes in host memory, `views` augmented copies of each.

    Features are kept as f16 and masks as bytes: h w (2 f + k) for each record and view, and little
    more while they are computed.

    Args:
        batches: yields this process's share of the records, afresh at each call.
        indices: i64 [n], the records' places in the data set, each once, in any order.
        views: number of copies.
        params: of stage one.
        freeze_step: ``((params, view), batch, root) -> Frozen``, compiled.
        parallel: how it runs on devices.
        root: the run's key.
    """
    # In the records' order and without padding, so whatever the number of processes.
    order = np.sort(indices)
    kept: Any = None
    for view in range(views):
        parts = (params, np.int32(view))
        for batch in batches():
            share = parallel.gather(freeze_step(parts, parallel.shard(batch), root))
            part = gather_arrays(_small(share))
            if kept is None:
                kept = jax.tree.map(
                    lambda x: np.empty((views * len(order), *x.shape[1:]), x.dtype), part
                )
            real = np.flatnonzero(part.valid)
            places = view * len(order) + np.searchsorted(order, part.index[real])
            for whole, some in zip(jax.tree.leaves(kept), jax.tree.leaves(part), strict=True):
                whole[places] = some[real]
    return kept


def reader(kept: Frozen) -> Callable[[np.ndarray, np.ndarray], Frozen]:
    """Returns what takes the records at some positions of what was kept."""

    def read(positions: np.ndarray, valid: np.ndarray) -> Frozen:
        return _take(kept, positions)._replace(valid=valid.astype(np.float32))

    return read


def _small(frozen: Frozen) -> Frozen:
    return frozen._replace(features=frozen.features.astype(np.float16))


def _take(kept: Frozen, positions: np.ndarray) -> Frozen:
    return jax.tree.map(lambda x: x[positions], kept)
