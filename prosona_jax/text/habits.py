"""The habits of a rater that sentences can say, and the scale on which they are read.

`data_pipelines/habits.py` says how they are measured. A habit in *spreads* is divided by the
standard deviation of the raters' habits, so 1 is a usual difference between raters, and 0 is what
raters do on average.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from prosona_jax.types import InputError

# What a sentence asks for. Of two measures of size, the margin is read; the area becomes a margin.
AXES = ("margin", "roughness", "tips", "first", "last")
_UNITS = ("px", "mm")


class Scale(NamedTuple):
    """What the numbers in sentences mean."""

    unit: str  # of the margin: "px" or "mm"
    spread: dict[str, float]  # by axis, in the habit's own unit; only stable habits are listed
    area_per_margin: float  # log(relative area) of a margin of one unit
    slice_mm: float  # distance of two slices; 0: the records are no slices of volumes

    def describe(self) -> dict[str, Any]:
        """Returns the description that run.json and a file of cards hold."""
        return self._asdict()


class Stated(NamedTuple):
    """A habit of a rater that a sentence may state: its value and 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0, what raters do on average."""
        return self.low > 0 or self.high < 0


def parse_scale(entry: Any, source: str) -> Scale:
    """Returns the scale in the field `scale` of a prompt file; InputError if it is faulty."""
    try:
        unit, spread = entry["unit"], entry["spread"]
        scale = Scale(
            str(unit), {str(k): float(v) for k, v in spread.items()},
            float(entry["area_per_margin"]), float(entry.get("slice_mm", 0)),
        )  # fmt: skip
    except (TypeError, KeyError, ValueError, AttributeError):
        scale = Scale("", {}, 0.0, 0.0)
    sizes = (scale.area_per_margin, *scale.spread.values())
    if scale.unit not in _UNITS or not scale.spread.keys() <= {*AXES} or not min(sizes) > 0:
        raise InputError(
            f"{source}: `scale` must have `unit` (px or mm), `spread` (numbers above 0 for some "
            f"of {', '.join(AXES)}) and `area_per_margin`; copy it from the measured cards"
        )
    return scale


def parse_stated(entry: Any, where: str) -> dict[str, Stated]:
    """Returns the habits of a style, ``{name: [value, low, high]}``; InputError if faulty."""
    found = {}
    entries: dict[str, Any] = dict(entry) if isinstance(entry, Mapping) else {"habits": None}
    for name, numbers in entries.items():
        try:
            value, low, high = map(float, numbers)
        except (TypeError, ValueError):
            value, low, high = 0.0, 1.0, -1.0
        if not low <= value <= high:
            raise InputError(
                f"{where}: `{name}` is {numbers!r}; give [value, low, high] in this order of size"
            )
        found[str(name)] = Stated(value, low, high)
    return found
