"""Keeps the outputs of stage one for the training records, so that stage two can reuse them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from prosona_jax import rng
from prosona_jax.models import encoding
from prosona_jax.models.encoding import Encoded
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.runtime.parallel import Parallel, gather_arrays
from prosona_jax.training import augment
from prosona_jax.types import Batch, Params


class View(NamedTuple):
    """The parameters of stage one, and the number of an augmented copy of the images."""

    params: Params
    number: int | Array


def make_encode(
    model: ProbUNet, posterior_input: str, augmentation: augment.Augmentation | None
) -> Callable[..., Encoded]:
    """Returns ``encode(view, batch, root) -> Encoded``.

    The number of a view selects one random draw of the augmentation, the same at each call. If
    `augmentation` is None, the images are not changed.
    """

    def encode(view: View, batch: Batch, root: Key[Array, ""]) -> Encoded:
        if augmentation is not None:
            keys = rng.example_keys(root, "augment", view.number, batch.index)
            image, masks = augment.augment(keys, batch.image, batch.masks, augmentation)
            batch = batch._replace(image=image, masks=masks)
        return encoding.encode(model, view.params, batch, posterior_input)

    return encode


def keep(
    batches: Callable[[], Iterable[Batch]],
    indices: np.ndarray,
    *,
    views: int,
    params: Params,
    encode_step: Callable[..., Encoded],
    parallel: Parallel,
    root: jax.Array,
) -> Encoded:
    """Encodes `views` augmented copies of each record; returns those of all processes on the host.

    Features are kept as f16 and masks as bytes: h w (2 f + k) bytes for each record and view.
    Computing them needs little more memory.

    Args:
        batches: returns a new iterator over this process's share of the records at each call.
        indices: i64 [n], the indices of the records in the data set, each once, in any order.
        views: number of augmented copies.
        params: the parameters of stage one.
        encode_step: ``(view, batch, root) -> Encoded``, compiled.
        parallel: the wrapper that runs it on the devices.
        root: the run's key.
    """
    # Sorted by index and without padding, so the result is the same for any number of processes.
    order = np.sort(indices)
    kept: Any = None
    for number in range(views):
        view = View(params, number)
        for batch in batches():
            share = parallel.gather(encode_step(view, parallel.shard(batch), root))
            part = gather_arrays(_small(share))
            if kept is None:
                kept = jax.tree.map(
                    lambda x: np.empty((views * len(order), *x.shape[1:]), x.dtype), part
                )
            real = np.flatnonzero(part.valid)
            rows = number * len(order) + np.searchsorted(order, part.index[real])
            for whole, some in zip(jax.tree.leaves(kept), jax.tree.leaves(part), strict=True):
                whole[rows] = some[real]
    return kept


def reader(kept: Encoded) -> Callable[[np.ndarray, np.ndarray], Encoded]:
    """Returns ``read(positions, valid)``, which takes records from the cache."""

    def read(positions: np.ndarray, valid: np.ndarray) -> Encoded:
        return _take(kept, positions)._replace(valid=valid.astype(np.float32))

    return read


def _small(encoded: Encoded) -> Encoded:
    return encoded._replace(features=encoded.features.astype(np.float16))


def _take(kept: Encoded, positions: np.ndarray) -> Encoded:
    return jax.tree.map(lambda x: x[positions], kept)
