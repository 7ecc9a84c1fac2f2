"""Percentiles of a volume that is read slice by slice and is never whole in memory.

They are those of `np.percentile` over all voxels. Float32 numbers have the order of their bits, so
one pass counts the upper 16 bits of all voxels, which says in which bin each wanted voxel lies. A
second pass counts the lower 16 bits in these bins, and then its value is known. The counts take
2.5 MiB for each channel, whatever the size of the volume.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np

Slices = Callable[[], Iterator[np.ndarray]]  # reads all slices anew, f32 [H, W, C] each
# From two percentiles to the limits f32 [2, C] of the volume, which are computed once.
Window = Callable[[tuple[float, float]], np.ndarray]

_LOWER = 16  # bits of the second pass
_BINS = 2**_LOWER
_SIGN = np.uint32(2**31)


def window(slices: Slices) -> Window:
    """Returns the function that computes and keeps the limits of a volume of finite values."""
    return functools.cache(functools.partial(_limits, slices))


def _limits(slices: Slices, percentiles: tuple[float, float]) -> np.ndarray:
    """Returns the percentiles of each channel over all slices, f32 [2, C]."""
    upper = (np.stack([_histogram(x >> _LOWER) for x in _keys(each)]) for each in slices())
    counts: np.ndarray = functools.reduce(np.add, upper)  # [C, bins]
    share = np.array(percentiles) / 100 * (counts[0].sum() - 1)
    # The percentile lies between these two voxels of the sorted volume, by linear interpolation.
    ranks = np.stack([np.floor(share), np.ceil(share)]).astype(np.int64).ravel()  # [4]
    bins, ranks_within = map(np.stack, zip(*(_find(x, ranks) for x in counts), strict=True))
    within = np.zeros((*bins.shape, _BINS), np.int64)  # [C, 4, bins]
    for each in slices():
        for keys, wanted, found in zip(_keys(each), bins, within, strict=True):
            for number, one in zip(wanted, found, strict=True):
                one += _histogram(keys[keys >> _LOWER == number] % _BINS)
    lower = [
        [_find(one, rank)[0] for one, rank in zip(*each, strict=True)]
        for each in zip(within, ranks_within, strict=True)
    ]
    below, above = _values(bins * _BINS + np.array(lower)).T.reshape(2, len(share), -1)
    limits = (below + (above - below) * (share % 1)[:, None]).astype(np.float32)
    limits.flags.writeable = False  # many pictures share them
    return limits


def _histogram(numbers: np.ndarray) -> np.ndarray:
    return np.bincount(numbers, minlength=_BINS)


def _find(counts: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bins in which the voxels of these ranks lie, and their ranks within the bins."""
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, ranks, side="right")
    return bins, ranks - (ends - counts)[bins]


def _keys(image: np.ndarray) -> np.ndarray:
    """Returns the values of each channel as u32 [C, pixels] of the same order."""
    bits = np.ascontiguousarray(image.reshape(-1, image.shape[-1]).T, np.float32).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _values(keys: np.ndarray) -> np.ndarray:
    """Returns f64 values from the keys of float32 values."""
    keys = keys.astype(np.uint32)
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).view(np.float32).astype(np.float64)
