"""What a user must know before trusting a contour on one image."""

from collections.abc import Sequence

import numpy as np

from data_pipelines import validation
from data_pipelines.images.picture import Picture
from data_pipelines.transforms import Placement
from prosona_jax.experiments import unseen
from prosona_jax.runtime.workdir import Run

NOTE = "Research use only, no clinical evidence."
TRAINED_ON_SIMULATED = "Model trained on simulated images."


def of_every_contour(run: Run) -> list[str]:
    """Returns the caveats that every mask and picture of a run's model carries."""
    return [NOTE, TRAINED_ON_SIMULATED] if run.simulated else [NOTE]


def of_image(
    of_model: Sequence[str],
    run: Run,
    picture: Picture,
    placement: Placement,
    resampled_mm: float,
    by_volume: bool,
) -> list[str]:
    """Returns what a user must know about any contour on an image.

    Args:
        of_model: the model's caveats, whatever the image.
        run: the model's run.
        picture: the image.
        placement: the position of the model's input on the image.
        resampled_mm: the pixel size that images are resampled to; 0: they are not resampled.
        by_volume: the image's window is of its whole volume.
    """
    spacing = None if np.isnan(picture.spacing_mm).any() else [picture.spacing_mm.tolist()]
    found = [
        *of_model,
        *_about_values(picture),
        *unseen.about_unit(run, picture.intensity_unit),
        *unseen.about_window(run, picture.intensity_unit, by_volume=by_volume),
        *unseen.about_pixels(run, spacing, resampled_mm=resampled_mm),
        *picture.caveats,
    ]
    filled = placement.share_covered()
    if filled < 0.5:
        found.append(
            f"The image fills {filled:.0%} of the model's input; the rest is filled with "
            "background."
        )
    return found


def _about_values(picture: Picture) -> list[str]:
    """Returns a caveat if an image's values hardly fit the unit that the file or the user names."""
    intensities = validation.Intensities.of(picture.image)
    remedy = {
        "HU": "give the image in HU, or name its unit (--unit, or in the file)",
        "unit": "name the raw values that become 0 and 1 by --range=LOW,HIGH",
    }
    doubt = validation.unit_doubt(intensities, picture.intensity_unit)
    return [f"{doubt}; {remedy[picture.intensity_unit]}."] if doubt else []
