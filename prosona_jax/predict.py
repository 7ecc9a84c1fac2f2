r"""Draws contours on one image with a trained model: by sentences, by a style, or as samples.

    python -m prosona_jax.predict --model=runs/demo --image=crop.png --output=out \
      --prompt="hug the solid core" --prompt="leave a wide margin"
    python -m prosona_jax.predict --model=runs/demo --image=ct.nii.gz --slice=40 --unit=HU \
      --point=212,148 --output=out --style=core --strength=1.5
    python -m prosona_jax.predict --model=runs/demo --image=1.dcm --output=out --samples=16

The output folder gets the masks in the image's own format and geometry, `overlay.png` to look at,
and `prediction.json` with the request, the model, and the caveats of the result.
"""  # fmt: skip

import functools
import logging
from collections.abc import Sequence

from absl import flags

from data_pipelines import images
from prosona_jax import cli, unicode
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.profile import SUFFIX, Profile
from prosona_jax.prediction.saving import save
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_MODEL = flags.DEFINE_string(
    "model", None, "Workdir of the trained run, model folder, or its name on the hub.",
    required=True, flag_values=_FLAGS,
)  # fmt: skip
_IMAGE = flags.DEFINE_string(
    "image", None, "PNG, JPEG, TIFF, npz, NIfTI or DICOM.", required=True, flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for the files that are written.", required=True, flag_values=_FLAGS
)
_PROMPTS = flags.DEFINE_multi_string(
    "prompt", [], "A sentence that describes the contour", flag_values=_FLAGS
)
_STYLE = flags.DEFINE_string(
    "style", None, "Name of a trained style, or a profile's file (.json), instead of sentences.",
    flag_values=_FLAGS,
)  # fmt: skip
_SAMPLES = flags.DEFINE_integer(
    "samples", None, "Number of contours to sample, instead of sentences.", flag_values=_FLAGS
)
_STRENGTH = flags.DEFINE_float(
    "strength", 1.0, "Above 1 exaggerates the style that is asked for; below 1 weakens it.",
    flag_values=_FLAGS,
)  # fmt: skip
_MARGIN = flags.DEFINE_float(
    "margin_mm", 0.0, "Exact margin to add to each contour in mm; negative: to cut off.",
    flag_values=_FLAGS,
)  # fmt: skip
_PROBABILITY = flags.DEFINE_bool(
    "probability", False, "Also write the probabilities, as one npz file.", flag_values=_FLAGS
)
_FORCE = flags.DEFINE_bool(
    "force", False, "Also draw prompts that the model does not understand.", flag_values=_FLAGS
)
_POINT = flags.DEFINE_list(
    "point", None, "row,col: the pixel to crop around, 0-based; default: the middle.",
    flag_values=_FLAGS,
)  # fmt: skip
_SLICE = flags.DEFINE_integer(
    "slice", None, "Index of the slice, page or frame, 0-based.", flag_values=_FLAGS
)
_AXIS = flags.DEFINE_integer(
    "axis", None, "0, 1 or 2: the axis along which NIfTI slices are counted; by default slices "
    "have the finest pixels.", flag_values=_FLAGS,
)  # fmt: skip
_UNIT = flags.DEFINE_string(
    "unit", None, "Unit of the values if the file does not state it: HU, unit (0..1) or arbitrary.",
    flag_values=_FLAGS,
)  # fmt: skip
_SPACING = flags.DEFINE_list(
    "spacing", None, "row,col: size of a pixel in mm, if the file does not state it.",
    flag_values=_FLAGS,
)  # fmt: skip
_RANGE = flags.DEFINE_list(
    "range", None, "low,high: the stored values that become 0 and 1, if the file states no unit.",
    flag_values=_FLAGS,
)  # fmt: skip
_ENCODER = flags.DEFINE_string(
    "encoder", None, "Folder of the text encoder, if it is not where training found it.",
    flag_values=_FLAGS,
)  # fmt: skip

_LOG = logging.getLogger("prosona_jax.predict")


def main() -> None:
    """Draws the contours and writes all files, or none on an error."""
    given = [bool(_PROMPTS.value), _STYLE.value is not None, _SAMPLES.value is not None]
    if sum(given) != 1:
        raise InputError(
            'give exactly one of --prompt="hug the solid core" (may be repeated), --style=NAME and '
            "--samples=NUMBER"
        )
    picture = images.read(
        _IMAGE.value,
        slice_index=_SLICE.value,
        axis=_AXIS.value,
        unit=_UNIT.value,
        spacing_mm=cli.pair(_SPACING, "row,col in mm, such as 0.7,0.7"),
        value_range=cli.pair(_RANGE, "low,high, such as 0,4095"),
        point=cli.pair(_POINT, "row,col, such as 120,87"),
    )
    model = load(_MODEL.value, encoder=_ENCODER.value)
    drawn: list[Segmentation]
    draw = functools.partial(
        model.segment, picture, strength=_STRENGTH.value, margin_mm=_MARGIN.value
    )
    if _SAMPLES.value is not None:
        if _STRENGTH.value != 1 or _MARGIN.value:
            raise InputError("--samples takes neither --strength nor --margin_mm; leave them out")
        drawn = model.sample(picture, _SAMPLES.value)
    elif _STYLE.value is not None:
        own = _STYLE.value.endswith(SUFFIX)
        drawn = [draw(style=Profile.load(_STYLE.value) if own else _STYLE.value)]
    else:
        drawn = draw(_PROMPTS.value)
        _check_understood(drawn)
    record = save(drawn, picture, _OUTPUT.value, probability=_PROBABILITY.value)
    for caveat in record["caveats"]:
        _LOG.warning("%s", caveat)


def _check_understood(drawn: Sequence[Segmentation]) -> None:
    """Logs how the prompts were understood; InputError if one was not, unless --force."""
    for each in drawn:
        reading = each.reading
        assert reading is not None
        _LOG.info("%r: %s", each.prompt, reading.understood)
        if reading.degree is not None and reading.far and not _FORCE.value:
            raise InputError(
                f"the prompt {unicode.shorten(each.prompt, 80)!r} was not understood: it "
                "contradicts itself, is not English, or does not say how generous the outline "
                "shall be; reword it, or draw it anyway with --force"
            )


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
