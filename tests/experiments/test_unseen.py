"""Caveats about images that differ from the training images, for every combination."""

import pytest

from prosona_jax.experiments import unseen
from prosona_jax.runtime.workdir import Run


def run(trained_mm, native_spacing_mm):
    """Returns a run with this config on data in HU with pixels of these sizes."""
    return Run(
        config={"data": {"spacing_mm": trained_mm}},
        data_digest="",
        patients={},
        channels=1,
        raters=4,
        prompts=None,
        intensity_unit="HU",
        native_spacing_mm=native_spacing_mm,
        simulated=False,
    )


KNOWN = [[0.5, 0.5], [0.8, 0.8]]
ASSUMED = "Pixel size unknown: it is assumed to be 1.5 mm, as in training."
NATIVE = "the model was trained on images with pixels of 0.5 to 0.8 mm, without resampling."
AS_LARGE = "objects must be about as large in pixels as in the training images."
NEITHER = (
    "Pixel size unknown: it is unknown for these images and for the training images, and none are "
    f"resampled; {AS_LARGE}"
)
KEPT = (
    "Not resampled: the pixel size of the training images is unknown, so these images keep their "
    f"pixels of 0.9 mm; {AS_LARGE}"
)


@pytest.mark.parametrize(
    ("trained_mm", "native", "sizes", "resampled_mm", "caveats"),
    [
        # No training image has a known pixel size, for any config. Predictions resample nothing.
        (0.0, None, None, 0.0, [NEITHER]),
        (1.5, None, None, 0.0, [NEITHER]),
        (1.5, None, None, 1.5, [NEITHER]),
        (0.0, None, [[0.9, 0.9]], 0.0, [KEPT]),
        (1.5, None, [[0.9, 0.9]], 0.0, [KEPT]),
        (
            1.5,
            None,
            [[0.6, 0.7], [0.9, 0.9]],
            1.5,
            [
                "Resampled unlike in training: these images, with pixels of 0.6 to 0.9 mm, were "
                "resampled to 1.5 mm, but the training images, of unknown pixel size, were not "
                "resampled; score with data.spacing_mm=0."
            ],
        ),
        # Training images were not resampled.
        (0.0, KNOWN, None, 0.0, [f"Pixel size unknown: {NATIVE}"]),
        (0.0, KNOWN, KNOWN, 0.0, []),
        (0.0, KNOWN, [[0.46, 0.6], [0.6, 0.87]], 0.0, []),  # a tenth beyond is accepted
        (
            0.0,
            KNOWN,
            [[0.44, 0.6], [0.6, 0.6]],
            0.0,
            [f"Other pixel size: these images have pixels of 0.44 to 0.6 mm, but {NATIVE}"],
        ),
        (
            0.0,
            KNOWN,
            [[0.9, 0.9]],
            0.0,
            [f"Other pixel size: these images have pixels of 0.9 mm, but {NATIVE}"],
        ),
        (0.0, KNOWN, [[0.9, 0.9]], 0.8, []),
        (
            0.0,
            KNOWN,
            [[0.6, 0.6]],
            1.5,
            [f"Other pixel size: these images were resampled to 1.5 mm, but {NATIVE}"],
        ),
        # Training images were resampled.
        (1.5, KNOWN, None, 1.5, [ASSUMED]),
        (1.5, KNOWN, None, 0.0, [ASSUMED]),
        (1.5, KNOWN, [[0.1, 0.1], [1.6, 1.6]], 1.5, []),
        (
            1.5,
            KNOWN,
            [[1.7, 1.7]],
            1.5,
            [
                "Coarse pixels: these images had pixels of 1.7 mm before resampling, but the model "
                "was trained on images resampled to 1.5 mm from 0.5 to 0.8 mm, which show finer "
                "detail."
            ],
        ),
        (1.5, [[0.5, 0.5], [2.0, 2.0]], [[1.7, 1.7]], 1.5, []),
        (
            1.5,
            KNOWN,
            [[0.9, 0.9]],
            0.0,
            [
                "Other pixel size: these images have pixels of 0.9 mm, but the model was trained "
                "on images resampled to 1.5 mm."
            ],
        ),
        (1.5, KNOWN, [[1.5, 1.5]], 0.0, []),
        (
            1.5,
            KNOWN,
            [[0.9, 0.9]],
            1.0,
            [
                "Other pixel size: these images were resampled to 1 mm, but the model was trained "
                "on images resampled to 1.5 mm."
            ],
        ),
    ],
)
def test_caveats_about_pixel_sizes(trained_mm, native, sizes, resampled_mm, caveats):
    found = unseen.about_pixels(run(trained_mm, native), sizes, resampled_mm=resampled_mm)
    assert found == caveats


def test_caveats_about_intensities():
    assert unseen.about_unit(run(0.0, None), "HU") == []
    assert unseen.about_unit(run(0.0, None), "unit") == [
        "Other intensities: these images have values from 0 to 1, but the training images had "
        "values in HU; the contrast may be new to the model."
    ]
