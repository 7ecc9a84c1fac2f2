"""What is known of a folder after all of its cases were read: faults, doubts and numbers."""

import collections
from collections.abc import Sequence

import numpy as np

from data_pipelines.fingerprint import mean_pairwise_dice
from data_pipelines.layouts.finding import Case, Found
from data_pipelines.layouts.loading import Read
from data_pipelines.validation import Intensities, unit_doubt
from data_pipelines.volumes import Volume

NO_UNIT = "states no unit of its values; set data.unit, one of HU, unit (0..1) and arbitrary"
_MOST_NAMED = 3  # files in a line


class Faults:
    """Collects the faults of the cases of a folder; reads no pixel."""

    def __init__(self, found: Found, labels: Sequence[int]) -> None:
        """Takes what a folder holds, and the values of the mask files that are the object."""
        self._found, self._labels = found, labels
        self._faults = [fault.text for fault in found.faults]
        self._first_of_unit: dict[str, str] = {}  # {unit: an image}
        self._first_of_channels: dict[int, str] = {}  # {number of channels: an image}
        self._unstated: list[str] = []  # images
        self._turned: dict[str, list[str]] = collections.defaultdict(list)  # {orientation: images}
        self._coloured: list[str] = []  # images
        self._resampled: list[str] = []  # masks
        self._several: dict[str, tuple[float, ...]] = {}  # {mask: its labels}
        self._values: set[float] = set()  # of all masks

    @property
    def units(self) -> list[str]:
        """The units of the images that the files or the settings state."""
        return list(self._first_of_unit)

    @property
    def channels(self) -> list[int]:
        """The numbers of channels of the images; a sound folder has one."""
        return list(self._first_of_channels)

    def add(self, case: Case, content: Read) -> None:
        """Adds a case."""
        self._faults += content.faults
        self._coloured += content.coloured
        self._resampled += content.resampled
        for entry, values in content.labels.items():
            self._values.update(values)
            if len(values) > 1:
                self._several[entry] = values
        volume, image = content.volume, next(iter(case.images.values()))
        if volume is None or content.faults:
            return
        self._first_of_channels.setdefault(volume.image.shape[-1], image)
        if volume.intensity_unit:
            self._first_of_unit.setdefault(volume.intensity_unit, image)
        else:
            self._unstated.append(image)
        if content.orientation:
            self._turned[content.orientation].append(image)

    def faults(self) -> list[str]:
        """Returns all faults, one line each with file, fault and remedy."""
        root, found = self._found.root, list(self._faults)
        if self._unstated:
            first, *others = self._unstated
            nor = f" ({len(others)} others state none)" if others else ""
            found.append(f"{root / first}: {NO_UNIT}{nor}")
        if len(self._first_of_unit) > 1:
            one, other = list(self._first_of_unit.items())[:2]
            found.append(
                f"{root / other[1]}: its values are {other[0]!r}, those of {one[1]} are "
                f"{one[0]!r}; keep images of one unit"
            )
        if len(self._first_of_channels) > 1:
            (usual, image), (rare, unlike) = list(self._first_of_channels.items())[:2]
            found.append(
                f"{root / unlike}: has {rare} channels, and {image} has {usual}; all cases need as "
                "many"
            )
        if self._labels and self._values and not self._values & set(self._labels):
            found.append(
                f"{root}: no mask holds one of data.label={tuple(self._labels)}; the masks hold "
                f"{_numbers(self._values)}: choose among these"
            )
        return found


class Survey(Faults):
    """Collects also doubts and numbers, one case at a time; keeps no array of them."""

    def __init__(self, found: Found, labels: Sequence[int]) -> None:
        """Takes the same."""
        super().__init__(found, labels)
        self.empty: list[str] = []  # cases
        self.areas: list[np.ndarray] = []  # f64 [R] per case: pixels, or mm^2; NaN: no mask
        self.dice: list[float] = []
        self.sizes: set[tuple[int, ...]] = set()  # (slices, rows, columns)
        self.spacings: set[tuple[float, ...]] = set()  # mm, of the same
        self.reach = 0  # pixels from the middle of a crop to the farthest that is drawn
        self.intensities: dict[str, Intensities] = {}  # of each case

    def add(self, case: Case, content: Read) -> None:
        """Adds a case with its pixels."""
        super().add(case, content)
        if content.volume is not None and not content.faults:
            self._measure(content.volume)

    def _measure(self, volume: Volume) -> None:
        if not volume.masks.any():
            self.empty.append(volume.volume)
        areas = volume.masks.sum(axis=(1, 2, 3), dtype=np.int64).astype(float)
        size = np.prod(volume.spacing_mm[1:])
        areas *= 1.0 if np.isnan(size) else size
        self.areas.append(np.where(volume.rater_valid, areas, np.nan))
        self.reach = max(self.reach, _reach(volume.masks.max(axis=(0, 1)) > 0, len(volume.image)))
        self.dice.append(mean_pairwise_dice(volume))
        self.sizes.add(volume.masks.shape[1:])
        self.spacings.add(tuple(np.round(volume.spacing_mm.astype(float), 4).tolist()))
        self.intensities[volume.volume] = Intensities.of(volume.image)

    def doubts(self) -> list[str]:
        """Returns what is no fault and may be wrong, one line each with a file and a remedy."""
        root, found = self._found.root, []
        if self._several and not self._labels:
            entry, values = max(self._several.items(), key=lambda each: len(each[1]))
            found.append(
                f"{root / entry}: holds the labels {_numbers(values)}, as {len(self._several)} "
                "masks hold several, and all count as one object; choose with data.label"
            )
        if len(self._turned) > 1:
            usual, *rare = sorted(self._turned, key=lambda each: -len(self._turned[each]))
            for name in rare:
                found.append(
                    f"{root / self._turned[name][0]}: columns, rows and slices run to {name}, in "
                    f"{len(self._turned[name])} cases; in {len(self._turned[usual])} cases they "
                    f"run to {usual}: slices are mirrored or lie in another plane; store all alike"
                )
        found += self._doubtful_unit()
        if self._coloured:
            found.append(
                f"{root / self._coloured[0]}: has colours, as have {len(self._coloured)} images; "
                "only their luminance is read; --channels=red,green,blue keeps them"
            )
        if self._resampled:
            found.append(
                f"{root / self._resampled[0]}: lies on another grid than its image, as do "
                f"{len(self._resampled)} masks; each voxel of the image got the nearest value"
            )
        if self.empty:
            named = ", ".join(self.empty[:_MOST_NAMED])
            found.append(
                f"{root}: in {len(self.empty)} cases no rater drew anything ({named}); check that "
                "their masks were stored"
            )
        if len({case.patient_id for case in self._found.cases}) == 1:
            found.append(
                f"{root}: holds one patient, {self._found.cases[0].patient_id!r}, so that nothing "
                "is left to test on; add patients"
            )
        if self._found.unused:
            named = ", ".join(self._found.unused[:_MOST_NAMED])
            found.append(
                f"{root}: {len(self._found.unused)} files fit no pattern and are not read ({named})"
            )
        return found

    def _doubtful_unit(self) -> list[str]:
        """Returns a line if the values of some case hardly have the unit that is stated."""
        for unit in self.units:
            doubted = [case for case, seen in self.intensities.items() if unit_doubt(seen, unit)]
            if doubted:
                where = (
                    f"in {len(doubted)} of {len(self.intensities)} cases, such as {doubted[0]}, "
                )
                doubt = unit_doubt(self.intensities[doubted[0]], unit, where)
                return [f"{self._found.root}: {doubt}; if so, set data.unit, such as arbitrary"]
        return []


def _reach(drawn: np.ndarray, slices: int) -> int:
    """Returns how far from the middle of a crop something is drawn, in pixels of [H, W].

    The middle is that of a single image, or of what is drawn in a volume, see `data.crop`.
    """
    farthest = 0
    for axis, count in enumerate(drawn.shape):
        at = np.flatnonzero(drawn.any(axis=1 - axis))
        if len(at):
            middle = count // 2 if slices == 1 else int(at[0] + at[-1]) // 2
            farthest = max(farthest, middle - int(at[0]), int(at[-1]) - middle + 1)
    return farthest


def _numbers(values: Sequence[float] | set[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))
