"""Measures of pairs of masks in mm or ml: their means over pairs, and the columns of each style."""

from collections.abc import Mapping, Sequence

import numpy as np


def means(pairs: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Returns the mean of each measure over the pairs that have it; NaN if none has.

    "undefined" is the number of pairs that lack any measure, such as pairs with an empty mask.
    """
    table = np.array([[pair[name] for name in names] for pair in pairs]).reshape(-1, len(names))
    known = ~np.isnan(table)
    count = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    found = np.divide(sums, count, out=np.full(len(names), np.nan), where=count > 0)
    undefined = int((~known).any(axis=1).sum())
    return dict(zip(names, found.tolist(), strict=True)) | {"undefined": undefined}


def of_styles(
    own: Mapping[int, Mapping[str, float]], styles: int, names: Sequence[str]
) -> dict[str, float]:
    """Returns the means over the styles, as `means`, and "<name>_<k>" for style k, from 1.

    Args:
        own: the measures of style k's mask against rater k's; a missing rater has none, and then
            the columns of the style are NaN.
        styles: K.
        names: of the measures.
    """
    missing = dict.fromkeys(names, np.nan)
    each = {
        f"{name}_{k}": own.get(k, missing)[name] for k in range(1, styles + 1) for name in names
    }
    return means(list(own.values()), names) | each
