"""Says in words which named points another point lies between."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_AT = 0.15  # share of the way to the next point up to which a point lies at the first one
_CLOSE = 0.5  # the same for a point that lies off all ways


def between(
    point: Float[np.ndarray, " m"], others: Float[np.ndarray, "k m"], names: Sequence[str]
) -> str:
    """Returns the nearest named point or, if `point` lies on the way to another one, both.

    >>> line = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    >>> between(np.array([4.0, 1.0]), line, ["core", "tight", "full"])
    "between 'tight' and 'full'"
    >>> between(np.array([1.8, 0.0]), line, ["core", "tight", "full"])
    "like 'tight'"
    >>> between(np.array([-1.5, 0.0]), line, ["core", "tight", "full"])
    "nearest to 'core'"

    Args:
        point: any point.
        others: k points.
        names: their names.
    """
    distance = np.linalg.norm(others - point, axis=1)
    nearest = int(distance.argmin())
    ways = others - others[nearest]
    lengths = np.linalg.norm(ways, axis=1)
    lengths[lengths == 0] = np.inf  # no way leads from a point to itself
    share = ways @ (point - others[nearest]) / lengths**2
    (ahead,) = np.nonzero(share > _AT)
    if len(ahead):
        first, second = sorted((nearest, int(ahead[distance[ahead].argmin()])))
        return f"between {names[first]!r} and {names[second]!r}"
    alike = distance[nearest] <= _CLOSE * lengths.min()
    return f"{'like' if alike else 'nearest to'} {names[nearest]!r}"
