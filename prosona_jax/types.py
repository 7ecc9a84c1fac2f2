"""The types that all packages share. NumPy only: data pipelines import this file without JAX."""

import math
from typing import Any, NamedTuple

import numpy as np

# A batch holds NumPy arrays on the host and jax.Array on the device. This file must not name the
# type jax.Array, because then the data pipelines would import JAX.
Array = Any
Params = Any  # a tree of parameters


class InputError(ValueError):
    """An error in the input that the user can fix: one line with file, record, fault and remedy.

    Programs print the message without a traceback and end with status 2.
    """


class ConstantImage(InputError):
    """An image shows nothing, such as a slice of padding: its values are constant."""


class Diverged(RuntimeError):
    """A loss term is not finite any more; the message names the step and the term."""


class Preempted(Exception):
    """The process got SIGTERM; the run saved a checkpoint before it stopped."""


def first_line(error: Exception) -> str:
    """Returns the first line of another package's error, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class Record(NamedTuple):
    """One image and the mask of each rater.

    Shapes: H, W pixels (rows, columns); C channels; R raters.
    """

    image: np.ndarray  # f32 [H, W, C]
    masks: np.ndarray  # u8 {0, 1} [R, H, W]; an empty mask means: the rater saw no object
    rater_valid: np.ndarray  # bool [R]; False: this rater has no mask of this image
    patient_id: str
    record_id: str  # unique in its data set
    site: str  # hospital, scanner or collection; "" if unknown
    spacing_mm: np.ndarray  # f32 [2], (row, column) size of a pixel; NaN: unknown
    intensity_unit: str  # "HU", "unit" (already scaled to 0..1), or "arbitrary"
    split: str = ""  # "train", "validation", "test" or "only_train" if declared; else ""
    volume: str = ""  # id of the volume of which the image is a slice; "": a single image
    slice_mm: float = math.nan  # position of the slice along the slice axis; NaN: unknown
    slice_spacing_mm: float = math.nan  # from one slice of the volume to the next; NaN: unknown
    # f32 [2, C], the intensities that become -1 and 1 if the unit is "arbitrary": percentiles of
    # the whole volume. None: percentiles of the image itself.
    window: np.ndarray | None = None


class Batch(NamedTuple):
    """Records stacked for the model; patient and record ids stay on the host.

    b is the batch size: of this process on the host, of all processes after sharding.
    """

    image: Array  # f32 [b, H, W, C], scaled to about -1..1
    masks: Array  # u8 {0, 1} [b, R, H, W]
    rater_valid: Array  # bool [b, R]
    index: Array  # i32 [b], the record's index in the data set: it seeds the record's draws
    valid: Array  # f32 [b]; 0 marks padding, which sums, means and tables must leave out
