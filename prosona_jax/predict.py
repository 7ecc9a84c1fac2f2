r"""Draws contours with a trained model: by sentences, by a style, or as samples.

Without --model it draws with the model that comes with the package, which knows lung nodules in CT.
On one image:

    python -m prosona_jax.predict --model=runs/demo --image=crop.png --output=out \
      --prompt="hug the solid core" --prompt="leave a wide margin"
    python -m prosona_jax.predict --model=runs/demo --image=ct.nii.gz --slice=40 --unit=HU \
      --point=212,148 --output=out --style=core --strength=1.5

Through all slices of an object in a scan, and in many scans:

    python -m prosona_jax.predict --image=scan_folder/ --point=57,143,210 --output=out \
      --prompt="hug the solid core"
    python -m prosona_jax.predict --model=runs/demo --image=cases/ --points=points.csv \
      --prompts=prompts.txt --output=out

The output folder gets the masks in the image's own format and geometry, `overlay.png` to look at,
and `prediction.json` with the request, the model, and the caveats of the result.
"""  # fmt: skip

import logging
import pathlib
from typing import Any

from absl import flags

from data_pipelines import images, scans
from data_pipelines.images.picture import Picture
from prosona_jax import cli, unicode
from prosona_jax.prediction import saving, whole_scan
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.model import Model
from prosona_jax.prediction.request import Request
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_INPUTS = cli.define_inputs(_FLAGS)
_IMAGE = flags.DEFINE_string(
    "image", None, "PNG, JPEG, TIFF, npz, NIfTI or DICOM; a scan: a folder of DICOM or PNG slices, "
    "NIfTI, or DICOM of several frames; with --points: the folder of the scans.",
    required=True, flag_values=_FLAGS,
)  # fmt: skip
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for the files that are written.", required=True, flag_values=_FLAGS
)
_PROMPTS = flags.DEFINE_multi_string(
    "prompt", [], "A sentence that describes the contour", flag_values=_FLAGS
)
_PROMPT_FILE = flags.DEFINE_string(
    "prompts", None, "File with a sentence on each line.", flag_values=_FLAGS
)
_STYLE = flags.DEFINE_string(
    "style", None, "Name of a trained style, or a profile's file (.json), instead of sentences.",
    flag_values=_FLAGS,
)  # fmt: skip
_SAMPLES = flags.DEFINE_integer(
    "samples", None, "Number of contours to sample, instead of sentences. Of a scan, maps of their "
    "agreement and entropy are written.", flag_values=_FLAGS,
)  # fmt: skip
_STRENGTH = flags.DEFINE_float(
    "strength", 1.0, "Above 1 exaggerates the style that is asked for; below 1 weakens it.",
    flag_values=_FLAGS,
)  # fmt: skip
_MARGIN = flags.DEFINE_float(
    "margin_mm", 0.0, "Exact margin to add to each contour in mm; negative: to cut off.",
    flag_values=_FLAGS,
)  # fmt: skip
_PROBABILITY = flags.DEFINE_bool(
    "probability", False, "Also write the probabilities of one image, as an npz file.",
    flag_values=_FLAGS,
)  # fmt: skip
_FORCE = flags.DEFINE_bool(
    "force", False, "Also draw prompts that the model does not understand.", flag_values=_FLAGS
)
_POINT = flags.DEFINE_list(
    "point", None, "row,col: the pixel to crop around, 0-based; default: the middle. Three "
    "numbers: a point of the object in a whole scan, see --point_in.", flag_values=_FLAGS,
)  # fmt: skip
_POINT_IN = flags.DEFINE_enum(
    "point_in", "index", scans.FRAMES, "What three numbers are: index: slice,row,col, 0-based; "
    "xyz: col,row,slice, 0-based; LPS or RAS: x,y,z in mm of the patient.", flag_values=_FLAGS,
)  # fmt: skip
_POINTS = flags.DEFINE_string(
    "points", None, "CSV file of points in many scans: columns case and slice,row,column, or case "
    "and x,y,z.", flag_values=_FLAGS,
)  # fmt: skip
_ONE_OBJECT = flags.DEFINE_bool(
    "one_object", True, "Of a scan, keep only the part of a contour that is connected with the "
    "point.", flag_values=_FLAGS,
)  # fmt: skip
_FILL_HOLES = flags.DEFINE_bool(
    "fill_holes", True, "Of a scan, fill the holes of each slice.", flag_values=_FLAGS
)
_SLICE = flags.DEFINE_integer(
    "slice", None, "Index of the slice, page or frame to draw on alone, 0-based.",
    flag_values=_FLAGS,
)  # fmt: skip
_SERIES = flags.DEFINE_string(
    "series", None, "SeriesInstanceUID, if a folder holds several.", flag_values=_FLAGS
)
_AXIS = flags.DEFINE_integer(
    "axis", None, "0, 1 or 2: the axis along which NIfTI slices are counted; by default slices "
    "have the finest pixels.", flag_values=_FLAGS,
)  # fmt: skip
_ENCODER = flags.DEFINE_string(
    "encoder", None, "Folder of the text encoder, if it is not where training found it.",
    flag_values=_FLAGS,
)  # fmt: skip

_LOG = logging.getLogger("prosona_jax.predict")


def main() -> None:
    """Draws the contours and writes all files, or none on an error."""
    request = Request(
        prompts=_prompts(),
        style=_STYLE.value,
        samples=_SAMPLES.value,
        strength=_STRENGTH.value,
        margin_mm=_MARGIN.value,
        force=_FORCE.value,
        one_object=_ONE_OBJECT.value,
        fill_holes=_FILL_HOLES.value,
    )
    request.check()
    if _POINTS.value is not None:
        _draw_in_scans(request, _POINTS.value)
        return
    record = _draw_in_scan(request) if len(_POINT.value or ()) == 3 else _draw_on_image(request)
    for name in record["files"]:
        _LOG.info("%s", pathlib.Path(_OUTPUT.value) / name)
    for caveat in record["caveats"]:
        _LOG.warning("%s", caveat)


def _prompts() -> list[str]:
    """Returns the sentences of the command line and of the file."""
    if _PROMPT_FILE.value is None:
        return list(_PROMPTS.value)
    path = pathlib.Path(_PROMPT_FILE.value).expanduser()
    try:
        text = unicode.decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); name a file of sentences") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: holds no sentence; write one on each line")
    return [*_PROMPTS.value, *lines]


def _model(request: Request) -> Model:
    """Loads the model; InputError if it cannot draw what is asked."""
    model = load(_INPUTS.model.value, encoder=_ENCODER.value)
    request.check_model(model)
    return model


def _draw_on_image(request: Request) -> dict[str, Any]:
    _refuse("of a whole scan", _POINT_IN, _ONE_OBJECT, _FILL_HOLES)
    picture = _picture()
    drawn = request.draw(_model(request), picture)
    return saving.save(drawn, picture, _OUTPUT.value, probability=_PROBABILITY.value)


def _picture() -> Picture:
    """Reads the image, or a slice of a folder."""
    point = cli.numbers(_POINT, 2, "row,col, such as 120,87")
    path = pathlib.Path(_IMAGE.value).expanduser()
    if not path.is_dir():
        _refuse("of a folder", _SERIES)
        return images.read(
            path, slice_index=_SLICE.value, axis=_AXIS.value, **_INPUTS.options(), point=point
        )
    if _SLICE.value is None:
        raise InputError(
            f"{path}: is a folder; give --point=SLICE,ROW,COL to draw through all slices of an "
            "object, or --slice=NUMBER to draw on one slice"
        )
    scan = scans.read(path, **_of_scan())
    k, row, column = scans.locate(scan, (_SLICE.value, *(point or (0.0, 0.0))))
    return scan.picture(k)._replace(slice_index=k, point=(row, column) if point else None)


def _draw_in_scan(request: Request) -> dict[str, Any]:
    _refuse("of one image", _SLICE, _PROBABILITY)
    point = ",".join(_POINT.value or ())
    return whole_scan.draw_one(_job(request), _IMAGE.value, point, _OUTPUT.value)


def _draw_in_scans(request: Request, points: str) -> None:
    _refuse("of one image", _SLICE, _PROBABILITY)
    _refuse("of one scan", _POINT, _SERIES)
    whole_scan.draw_all(_job(request), _IMAGE.value, points, _OUTPUT.value)


def _job(request: Request) -> whole_scan.Job:
    options = _of_scan()
    return whole_scan.Job(_model(request), request, _POINT_IN.value, options)


def _of_scan() -> dict[str, Any]:
    """Returns what the reader of scans takes."""
    own = {"axis": _AXIS.value, "series": _SERIES.value}
    return own | _INPUTS.options("slice,row,col")


def _refuse(kind: str, *given: flags.FlagHolder) -> None:
    """Raises InputError if one of these flags is given."""
    for flag in given:
        if flag.value != flag.default:
            raise InputError(f"--{flag.name} is {kind}; leave it out")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
