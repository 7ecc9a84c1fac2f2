"""Images are held against those of the training: every case has its answer."""

import pytest

from prosona_jax.experiments import unseen
from prosona_jax.runtime.workdir import Run


def run(trained_mm, native_spacing_mm):
    """A run whose config says so, on data in HU of those pixels."""
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
NATIVE = "the model, which resamples nothing, was trained on 0.5 to 0.8 mm."
AS_LARGE = "objects must be about as large in pixels as those of the training images."
NEITHER = (
    "Pixel size unknown: of these images as of those of training, and none is resampled; "
    f"{AS_LARGE}"
)
KEPT = (
    "Not resampled: the training images are of unknown pixel size, so pixels of 0.9 mm are taken "
    f"as they are; {AS_LARGE}"
)


@pytest.mark.parametrize(
    ("trained_mm", "native", "sizes", "resampled_mm", "said"),
    [
        # No training image knew its pixels, whatever the config says. Predictions resample nothing.
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
                "Resampled unlike in training: these images were brought from 0.6 to 0.9 mm to 1.5 "
                "mm, and the training images, of unknown pixel size, were not; score with "
                "data.spacing_mm=0."
            ],
        ),
        # Training images were taken as they are.
        (0.0, KNOWN, None, 0.0, [f"Pixel size unknown: {NATIVE}"]),
        (0.0, KNOWN, KNOWN, 0.0, []),
        (0.0, KNOWN, [[0.46, 0.6], [0.6, 0.87]], 0.0, []),  # a tenth beyond is no matter
        (
            0.0,
            KNOWN,
            [[0.44, 0.6], [0.6, 0.6]],
            0.0,
            [f"Other pixel size: 0.44 to 0.6 mm, and {NATIVE}"],
        ),
        (0.0, KNOWN, [[0.9, 0.9]], 0.0, [f"Other pixel size: 0.9 mm, and {NATIVE}"]),
        (0.0, KNOWN, [[0.9, 0.9]], 0.8, []),
        (
            0.0,
            KNOWN,
            [[0.6, 0.6]],
            1.5,
            [f"Other pixel size: 1.5 mm, to which these were resampled, and {NATIVE}"],
        ),
        # Training images were resampled.
        (1.5, KNOWN, None, 1.5, ["Pixel size unknown: it is taken for the model's, 1.5 mm."]),
        (1.5, KNOWN, None, 0.0, ["Pixel size unknown: it is taken for the model's, 1.5 mm."]),
        (1.5, KNOWN, [[0.1, 0.1], [1.6, 1.6]], 1.5, []),
        (
            1.5,
            KNOWN,
            [[1.7, 1.7]],
            1.5,
            [
                "Coarse pixels: of 1.7 mm, and the model was trained on images resampled to 1.5 mm "
                "from 0.5 to 0.8 mm, which show finer detail."
            ],
        ),
        (1.5, [[0.5, 0.5], [2.0, 2.0]], [[1.7, 1.7]], 1.5, []),
        (
            1.5,
            KNOWN,
            [[0.9, 0.9]],
            0.0,
            ["Other pixel size: 0.9 mm, and the model was trained on images resampled to 1.5 mm."],
        ),
        (1.5, KNOWN, [[1.5, 1.5]], 0.0, []),
        (
            1.5,
            KNOWN,
            [[0.9, 0.9]],
            1.0,
            [
                "Other pixel size: 1 mm, to which these were resampled, and the model was trained "
                "on images resampled to 1.5 mm."
            ],
        ),
    ],
)
def test_pixels_that_the_model_never_saw(trained_mm, native, sizes, resampled_mm, said):
    found = unseen.about_pixels(run(trained_mm, native), sizes, resampled_mm=resampled_mm)
    assert found == said


def test_intensities_that_the_model_never_saw():
    assert unseen.about_unit(run(0.0, None), "HU") == []
    assert unseen.about_unit(run(0.0, None), "unit") == [
        "Other intensities: these are from 0 to 1, and the model was trained on ones in HU; "
        "contrast may be new to it."
    ]
