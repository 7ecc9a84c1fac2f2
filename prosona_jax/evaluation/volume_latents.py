"""What the slices of a volume share when they are drawn: nothing, a draw, or one latent."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.volume_steps import Located, Placed
from prosona_jax.types import Batch

# "volume": one latent for all slices, from the pooled prior and the mean query. "draw": one
# standard normal draw for all slices, each with its own prior and query, as a scan is predicted.
# "slice": every slice by itself.
Latent = Literal["volume", "draw", "slice"]
LATENTS: tuple[Latent, ...] = ("volume", "draw", "slice")


class Slice(NamedTuple):
    """The place of a record in its volume."""

    volume: str
    number: int  # counted from the first slice of the volume that is a record
    spacing_mm: Float[np.ndarray, " 3"]  # (slice, row, column) size of a voxel; NaN: unknown


def order(indices: Iterable[int], place_of: Mapping[int, Slice]) -> list[int]:
    """Returns records so that the slices of a volume follow one another, from first to last."""
    return sorted(indices, key=lambda i: (place_of[i].volume, place_of[i].number))


def share(
    located: Located, indices: Sequence[int], place_of: Mapping[int, Slice], latent: Latent
) -> Callable[[Batch], Placed]:
    """Returns a function that tells the slices of a batch what they are drawn with.

    A volume draws with the seed of its record of the lowest index. Its prior is the normalised
    geometric mean of the priors N(mu_i, diag sigma_i^2) of its n slices, and its query the mean:

        1 / sigma^2 = 1/n sum_i 1 / sigma_i^2,    mu = sigma^2 / n sum_i mu_i / sigma_i^2

    This is the Gaussian with the least mean KL divergence from them. It does not widen where the
    slices show different parts of the object.

    Args:
        located: priors and queries of the records, in the order of `indices`.
        indices: all records of each volume.
        place_of: the place of each record.
        latent: what the slices of a volume share.
    """
    row_of = {index: row for row, index in enumerate(indices)}
    seed_of = {index: index for index in indices}
    located = jax.tree.map(np.array, located)
    for own in by_volume(indices, place_of) if latent != "slice" else ():
        seed_of |= dict.fromkeys(own, min(own))
        if latent == "volume":
            _pool(located, [row_of[index] for index in own])

    def place(batch: Batch) -> Placed:
        own = batch.index.tolist()
        rows = np.array([row_of[index] for index in own])
        return Placed(
            index=np.array([seed_of[index] for index in own], np.int32),
            valid=batch.valid,
            batch=batch,
            located=jax.tree.map(lambda x: x[rows], located),
        )

    return place


def by_volume(indices: Iterable[int], place_of: Mapping[int, Slice]) -> Iterator[list[int]]:
    """Yields the records of each volume, from the first slice to the last."""
    for _, own in itertools.groupby(order(indices, place_of), lambda i: place_of[i].volume):
        yield list(own)


def _pool(located: Located, rows: Sequence[int]) -> None:
    """Gives the n slices in these rows their pooled prior and their mean queries, in place."""
    mu, log_sigma = (np.asarray(x[rows], np.float64) for x in located.prior)
    precision = np.exp(-2 * log_sigma)
    located.prior.mu[rows] = (precision * mu).sum(axis=0) / precision.sum(axis=0)
    located.prior.log_sigma[rows] = -np.log(precision.mean(axis=0)) / 2
    for query in located.queries.values():
        query[rows] = query[rows].mean(axis=0, dtype=np.float64)
