"""Makes batches of a data set, divides them among processes, and can resume at a position."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import grain
import numpy as np

from data_pipelines.prepared import Dataset
from prosona_jax.types import Batch, InputError

T = TypeVar("T")
# Threads, because worker processes are slower on two cores.
_READ = grain.ReadOptions(num_threads=4, prefetch_buffer_size=4)


def train_batches(
    read: Callable[[np.ndarray, np.ndarray], T],
    indices: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    process_index: int,
    process_count: int,
) -> grain.DatasetIterator[T]:
    """Returns endless batches; every epoch has each record once, in a new random order.

    The order depends only on `indices` and `seed`: batch n over all processes is the same for any
    `process_count`. A batch may contain records of the next epoch.

    Args:
        read: makes a batch from positions i64 [b] and valid f64 [b], such as `reader(dataset)`.
        indices: i64 [n], the records of the split.
        batch_size: records per batch over all processes.
        seed: seed of the random order.
        process_index: this process, 0-based.
        process_count: number of processes.

    Returns:
        An iterator; `get_state()` returns its position as JSON, and `set_state` moves to one.

    Raises:
        InputError: `batch_size` is no multiple of `process_count`.
    """
    share = _share(batch_size, process_index, process_count)
    batches = (
        grain.MapDataset.source(np.asarray(indices))
        .seed(seed)
        .shuffle()
        .repeat()
        .batch(batch_size)
        .map(lambda positions: read(positions[share], np.ones(share.stop - share.start)))
    )
    return iter(batches.to_iter_dataset(_READ))


def eval_batches(
    read: Callable[[np.ndarray, np.ndarray], T],
    indices: np.ndarray,
    *,
    batch_size: int,
    process_index: int,
    process_count: int,
) -> Iterator[T]:
    """Returns each record of `indices` once, in order; all processes get equally many batches.

    The last batch is filled up with the last record, marked by `valid` = 0. See `train_batches`
    for the arguments and the error.
    """
    share = _share(batch_size, process_index, process_count)
    count = -(-len(indices) // batch_size)
    padded = np.pad(indices, (0, count * batch_size - len(indices)), mode="edge")
    positions = padded.reshape(count, batch_size)
    valid = (np.arange(padded.size) < len(indices)).reshape(count, batch_size)
    batches = grain.MapDataset.range(count).map(
        lambda n: read(positions[n, share], valid[n, share])
    )
    return iter(batches.to_iter_dataset(_READ))


def _share(batch_size: int, process_index: int, process_count: int) -> slice:
    """Returns the part of a global batch that belongs to one process."""
    if batch_size % process_count:
        raise InputError(
            f"batch_size={batch_size} does not divide among {process_count} processes; "
            f"choose a multiple of {process_count}"
        )
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


def reader(dataset: Dataset) -> Callable[[np.ndarray, np.ndarray], Batch]:
    """Returns a function that stacks the records at given positions of a data set."""

    def read(positions: np.ndarray, valid: np.ndarray) -> Batch:
        records = [dataset[position] for position in positions]
        return Batch(
            image=np.stack([record.image for record in records]),
            masks=np.stack([record.masks for record in records]),
            rater_valid=np.stack([record.rater_valid for record in records]),
            index=positions.astype(np.int32),
            valid=valid.astype(np.float32),
        )

    return read
