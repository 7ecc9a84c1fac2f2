r"""Learns from a few of your own contours how you draw, and writes it as a profile.

    python -m prosona_jax.fit_style --model=runs/lidc --cases=my_contours/ --name=anna
    python -m prosona_jax.predict --model=runs/lidc --image=a.png --output=out --style=anna.json

The folder holds three or more images with a mask each: a.png and a_mask.png, or a.nii.gz and
a_mask.nii.gz. Each image in turn is left out of the fit, and a table says how well your contour on
it is drawn: by the fit to the others, by the model's best style on the others, and by the prior's
mean. The profile is written to NAME.json. One that does not help is not written.
"""  # fmt: skip

import logging
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags

from data_pipelines import cases
from data_pipelines.cases import Case
from prosona_jax import cli
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.profile import SUFFIX, Profile
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_INPUTS = cli.define_inputs(_FLAGS)
_CASES = flags.DEFINE_string(
    "cases", None, "Folder of images and masks, or an npz data set.", required=True,
    flag_values=_FLAGS,
)  # fmt: skip
_NAME = flags.DEFINE_string(
    "name", None, "Name of the profile and of its file.", required=True, flag_values=_FLAGS
)
_RATER = flags.DEFINE_integer(
    "rater", None, "Index of the rater in an npz data set, 0-based.", flag_values=_FLAGS
)
_FORCE = flags.DEFINE_bool(
    "force", False, "Also write a profile that does not help.", flag_values=_FLAGS
)

_LOG = logging.getLogger("prosona_jax.fit_style")


def main() -> None:
    """Prints the table and writes the profile."""
    found = cases.read(_CASES.value, rater=_RATER.value, **_INPUTS.options())
    model = load(_INPUTS.model.value)
    profile = model.fit_style(
        [case.image for case in found], [case.mask for case in found], name=_NAME.value
    )
    sys.stdout.write("\n".join(_lines(profile, found)) + "\n")
    sys.stdout.flush()  # before any error, which is another stream
    for caveat in profile.caveats:
        _LOG.warning("%s", caveat)
    if not (profile.helped or _FORCE.value):
        raise InputError(f"{profile.verdict}; or write the profile anyway with --force")
    profile.save(profile.name + SUFFIX)
    _LOG.info("%s", profile.name + SUFFIX)


def _lines(profile: Profile, found: Sequence[Case]) -> list[str]:
    """Returns the Dice of each image, and what was learnt, in words."""
    columns = (profile.dice, profile.dice_best_style, profile.dice_prior_mean)
    names = [case.image.path.name for case in found]
    if _RATER.value is not None:
        names = [f"image {case.image.slice_index}" for case in found]
    names.append("mean")
    scores = np.array(columns).T
    width = max(map(len, names))
    lines = [f"{'Dice':{width}}  fit to others  best style  prior's mean"]
    for name, (own, best, mean) in zip(names, [*scores, scores.mean(axis=0)], strict=True):
        lines.append(f"{name:{width}}  {own:13.3f}  {best:10.3f}  {mean:12.3f}")
    return [*lines, f"You draw {profile.understood}.", f"{profile.verdict}."]


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
