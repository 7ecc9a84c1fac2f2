r"""Looks into a folder of images and raters' masks before anything is trained on it.

    python -m data_pipelines.inspect /data/mine
    python -m data_pipelines.inspect /data/mine --output=mine \
      --images=scans/{case}.nii.gz --masks=drawn/{case}_{rater}.nii.gz --label=1

Recognises a known layout, or guesses the patterns of images and masks, and reads every file once.
Prints what the folder holds, all faults and all doubts, a line each. With --output it writes to
that folder `config.py`, which prosona_jax.main can read, and `sheet.png`, some cases with the
contours of all raters. Ends with status 2 if there is a fault.
"""

import pathlib
import sys
from typing import NamedTuple

import numpy as np
import tqdm
from absl import flags

from data_pipelines.layouts import describing, finding, guessing, loading
from data_pipelines.layouts.finding import Found
from data_pipelines.layouts.presets import LAYOUTS, Layout
from data_pipelines.layouts.survey import Survey
from data_pipelines.validation import UNITS, Intensities, unit_doubt
from data_pipelines.volumes import Volume
from prosona_jax import bundle, cli
from prosona_jax.report import figures, raters
from prosona_jax.types import InputError

_SHOWN = 6  # cases on the sheet
_PERCENTILES = (1, 99)  # of the values of a case: black and white of the sheet
_FILES = ("config.py", "sheet.png")

_FLAGS = flags.FlagValues()
_LAYOUT = flags.DEFINE_enum(
    "layout", None, list(LAYOUTS), "A known layout; default: recognised.", flag_values=_FLAGS
)
_IMAGES = flags.DEFINE_string(
    "images", None, "Pattern of the images; default: recognised.", flag_values=_FLAGS
)
_MASKS = flags.DEFINE_string(
    "masks", None, "Pattern of the masks; default: recognised.", flag_values=_FLAGS
)
_CHANNELS = flags.DEFINE_list(
    "channels", [],
    "What {channel} in the pattern of images stands for; without it, the channels in each file.",
    flag_values=_FLAGS,
)  # fmt: skip
_LABEL = flags.DEFINE_list(
    "label", [], "Values of the masks that are the object, such as 1,2; default: all above 0.",
    flag_values=_FLAGS,
)  # fmt: skip
_UNIT = flags.DEFINE_enum(
    "unit", None, list(UNITS), "Unit of the values if the files do not state it.",
    flag_values=_FLAGS,
)  # fmt: skip
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for a config and a picture; an earlier one is replaced.",
    flag_values=_FLAGS,
)  # fmt: skip


class Inspected(NamedTuple):
    """What is in a folder."""

    found: Found
    survey: Survey
    layout: str  # name of the known layout, "" if there is none
    unit: str  # unit that the files do not state; "": they do
    guessed: bool  # the unit was guessed
    shown: list[raters.Shown]


def inspect(
    root: pathlib.Path,
    *,
    layout: Layout | None,
    name: str,
    channels: tuple[str, ...],
    labels: tuple[int, ...],
    unit: str,
) -> Inspected:
    """Reads every file of a folder once.

    Args:
        root: the folder.
        layout: its layout; None: it is recognised.
        name: name of a known layout that `layout` is.
        channels: names of the channels; none: those of the layout.
        labels: values of the masks that are the object; none: all above 0.
        unit: unit of the values if the files do not state it; "": it is guessed.

    Raises:
        InputError: the path is no folder, or no file fits.
    """
    if layout is None:
        name, recognised = guessing.recognise(root)
        layout = recognised.layout
    found = finding.find(root, layout._replace(channels=channels or layout.channels))
    count = len(found.cases)
    chosen = set(np.linspace(0, count - 1, min(_SHOWN, count)).round().astype(int).tolist())
    guessed = False
    survey, shown = Survey(found, labels), []
    for k, case in enumerate(tqdm.tqdm(found.cases, desc=f"reading {root}", unit=" cases")):
        content = loading.read(found, case, labels, unit)
        volume = None if content.faults else content.volume
        if volume is not None and not volume.intensity_unit:
            unit, guessed = _guess(volume.image), True
            volume = volume._replace(intensity_unit=unit)
        survey.add(case, content._replace(volume=volume))
        if k in chosen and volume is not None:
            shown.append(_shown(volume))
    return Inspected(found, survey, name, unit, guessed, shown)


def _guess(image: np.ndarray) -> str:
    """Returns the unit of values: HU if they may be HU."""
    return "arbitrary" if unit_doubt(Intensities.of(image), "HU") else "HU"


def _shown(volume: Volume) -> raters.Shown:
    """Returns the slice on which most is drawn."""
    k = int(volume.masks.any(axis=0).sum(axis=(1, 2)).argmax())
    low, high = np.percentile(volume.image[..., 0], _PERCENTILES)
    image = np.clip(2 * (volume.image[k, ..., 0] - low) / max(high - low, 1e-9) - 1, -1, 1)
    slices = len(volume.image)
    return raters.Shown(
        volume.volume + (f", slice {k} of {slices}" if slices > 1 else ""),
        image.astype(np.float32),
        volume.masks[:, k],
        volume.rater_valid,
        volume.spacing_mm[1:],
    )


def lines(inspected: Inspected) -> tuple[list[str], list[str]]:
    """Returns lines that describe the folder, and the lines of its faults."""
    found, survey = inspected.found, inspected.survey
    layout = inspected.layout or "none of the known ones; the patterns are guessed or given"
    unit = []
    if inspected.guessed:
        unit = [
            f"warning: the files do not state the unit of their values; {inspected.unit!r} is a "
            "guess: check it"
        ]
    return [
        f"{'layout':<17} {layout}",
        *describing.lines(found, survey),
        "",
        *describing.rater_lines(found, survey),
        *unit,
        *(f"warning: {doubt}" for doubt in survey.doubts()),
    ], [f"fault: {fault}" for fault in survey.faults()]


def write(inspected: Inspected, folder: pathlib.Path, labels: tuple[int, ...]) -> None:
    """Writes the config and the sheet, if a case can be shown."""
    text = describing.config(
        inspected.found,
        layout=inspected.layout,
        labels=labels,
        unit=inspected.unit,
        guessed=inspected.guessed,
        anonymous=describing.is_anonymous(inspected.survey),
        survey=inspected.survey,
        file=str(folder / _FILES[0]),
    )
    files = {_FILES[0]: text.encode()}
    if inspected.shown:
        figure = raters.draw(inspected.shown, inspected.found.raters)
        files[_FILES[1]] = figures.png(figure)
    bundle.write(folder, files)


def main(*paths: str) -> None:
    """Inspects a folder as the flags say."""
    if len(paths) != 1:
        raise InputError("name one folder: python -m data_pipelines.inspect /data/mine")
    root = pathlib.Path(paths[0]).expanduser().absolute()
    output = pathlib.Path(_OUTPUT.value).expanduser() if _OUTPUT.value else None
    if output:
        bundle.check(output, _FILES, "inspection")
    labels = _labels()
    layout, name = _asked()
    inspected = inspect(
        root,
        layout=layout,
        name=name,
        channels=tuple(_CHANNELS.value),
        labels=labels,
        unit=_UNIT.value or "",
    )
    described, faults = lines(inspected)
    sys.stdout.write("\n".join([*described, *faults]) + "\n")
    if output:
        write(inspected, output, labels)
        sys.stdout.write(f"wrote {output}\n")
    if faults:
        cli.stop(f"{root}: {len(faults)} faults, which are listed above; mend them")


def _labels() -> tuple[int, ...]:
    """Returns the values of --label."""
    try:
        return tuple(map(int, _LABEL.value))
    except ValueError:
        raise InputError(
            f"--label={','.join(_LABEL.value)}: give whole numbers, such as 1,2"
        ) from None


def _asked() -> tuple[Layout | None, str]:
    """Returns the layout that the flags give and its name; None: they leave it open."""
    known = LAYOUTS.get(_LAYOUT.value or "")
    if known is None and not (_IMAGES.value and _MASKS.value):
        if _IMAGES.value or _MASKS.value:
            raise InputError("give both --images and --masks, or --layout")
        return None, ""
    known = known or Layout("", "")
    layout = known._replace(images=_IMAGES.value or known.images, masks=_MASKS.value or known.masks)
    return layout, _LAYOUT.value or ""


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__, positional=True)
