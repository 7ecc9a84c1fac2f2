r"""Draws contours on one image with a trained model: what sentences or a style ask for, or samples.

    python -m prosona_jax.predict --workdir=runs/demo --image=crop.png --output=out \
      --prompt="hug the solid core" --prompt="leave a wide margin"
    python -m prosona_jax.predict --workdir=runs/demo --image=ct.nii.gz --slice=40 --unit=HU \
      --point=212,148 --output=out --style=core --strength=1.5
    python -m prosona_jax.predict --workdir=runs/demo --image=1.dcm --output=out --samples=16

The folder gets the masks in the image's own format and geometry, `overlay.png` to look at, and
`prediction.json`, which says what was asked, with what, and how far to trust it.
"""  # fmt: skip

import logging

from absl import flags

from data_pipelines import images
from prosona_jax import cli
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.saving import save
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the trained run.", required=True, flag_values=_FLAGS
)
_IMAGE = flags.DEFINE_string(
    "image", None, "PNG, JPEG, TIFF, npz, NIfTI or DICOM.", required=True, flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of what is written.", required=True, flag_values=_FLAGS
)
_PROMPTS = flags.DEFINE_multi_string(
    "prompt", [], "A sentence; give the flag once for each.", flag_values=_FLAGS
)
_STYLE = flags.DEFINE_string(
    "style", None, "A style of the training by its name, in place of sentences.", flag_values=_FLAGS
)
_SAMPLES = flags.DEFINE_integer(
    "samples", None, "So many plausible contours, in place of sentences.", flag_values=_FLAGS
)
_STRENGTH = flags.DEFINE_float(
    "strength", 1.0, "Above 1 goes past what is asked, below 1 stops short of it.",
    flag_values=_FLAGS,
)  # fmt: skip
_PROBABILITY = flags.DEFINE_bool(
    "probability", False, "Write the probabilities, too, as one npz file.", flag_values=_FLAGS
)
_POINT = flags.DEFINE_list(
    "point", None, "row,col: the pixel to crop around, 0-based; the middle if absent.",
    flag_values=_FLAGS,
)  # fmt: skip
_SLICE = flags.DEFINE_integer(
    "slice", None, "Which slice of a volume, page or frame, 0-based.", flag_values=_FLAGS
)
_AXIS = flags.DEFINE_integer(
    "axis", None, "0, 1 or 2: along which the slices of NIfTI are counted; across the finest "
    "pixels if absent.", flag_values=_FLAGS,
)  # fmt: skip
_UNIT = flags.DEFINE_string(
    "unit", None, "HU, unit (0..1) or arbitrary, where the file does not say what its numbers are.",
    flag_values=_FLAGS,
)  # fmt: skip
_SPACING = flags.DEFINE_list(
    "spacing", None, "row,col: size of a pixel in mm, where the file does not say.",
    flag_values=_FLAGS,
)  # fmt: skip
_RANGE = flags.DEFINE_list(
    "range", None, "low,high: the stored values that become 0 and 1, where the file does not say.",
    flag_values=_FLAGS,
)  # fmt: skip
_ENCODER = flags.DEFINE_string(
    "encoder", None, "Folder of the text encoder, where it lies elsewhere than in training.",
    flag_values=_FLAGS,
)  # fmt: skip

_LOG = logging.getLogger("prosona_jax.predict")


def main() -> None:
    """Draws, and writes all files or none."""
    given = [bool(_PROMPTS.value), _STYLE.value is not None, _SAMPLES.value is not None]
    if sum(given) != 1:
        raise InputError(
            'say what to draw by one of --prompt="hug the solid core" (or several), --style=NAME '
            "and --samples=NUMBER"
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
    model = load(_WORKDIR.value, encoder=_ENCODER.value)
    drawn: list[Segmentation]
    if _SAMPLES.value is not None:
        drawn = model.sample(picture, _SAMPLES.value)
    elif _STYLE.value is not None:
        drawn = [model.segment(picture, style=_STYLE.value, strength=_STRENGTH.value)]
    else:
        drawn = model.segment(picture, _PROMPTS.value, strength=_STRENGTH.value)
    record = save(drawn, picture, _OUTPUT.value, probability=_PROBABILITY.value)
    for caveat in record["caveats"]:
        _LOG.warning("%s", caveat)


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
