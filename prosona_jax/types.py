"""The nouns that every floor shares. NumPy only: data pipelines import this file without JAX."""

from typing import Any, NamedTuple

import numpy as np

# A batch holds NumPy arrays on the host and jax.Array on the device; naming the latter here would
# make the data pipelines import JAX.
Array = Any
Params = Any  # a tree of parameters


class InputError(ValueError):
    """Input that the user can mend: one line naming file, record, fault, and what to do.

    Programs print the message without a traceback and end with status 2.
    """


class Diverged(RuntimeError):
    """A loss term is no longer finite; the message names step and term."""


class Preempted(Exception):
    """The machine asked the run to stop; a checkpoint was saved first."""


def first_line(error: Exception) -> str:
    """Returns what another package's error says, as part of such a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class Record(NamedTuple):
    """One image and what each rater drew on it.

    Shapes: H, W pixels (rows, columns); C channels; R raters.
    """

    image: np.ndarray  # f32 [H, W, C]
    masks: np.ndarray  # u8 {0, 1} [R, H, W]; an empty mask is an opinion: "there is nothing"
    rater_valid: np.ndarray  # bool [R]; False: this rater did not read this image
    patient_id: str
    record_id: str  # unique in its data set
    site: str  # hospital, scanner or collection, "" if unknown
    spacing_mm: np.ndarray  # f32 [2], (row, column) size of a pixel; NaN: unknown
    intensity_unit: str  # "HU", "unit" (already scaled to 0..1), or "arbitrary"
    split: str = ""  # "train", "validation" or "test" where the source declares one


class Batch(NamedTuple):
    """Records stacked for the model; patient and record ids stay on the host.

    b is the batch size (of this process on the host, of all processes once sharded).
    """

    image: Array  # f32 [b, H, W, C], scaled to about -1..1
    masks: Array  # u8 {0, 1} [b, R, H, W]
    rater_valid: Array  # bool [b, R]
    index: Array  # i32 [b], the record's position in the data set: it seeds the record's draws
    valid: Array  # f32 [b], 0 marks padding, which no sum, mean or row may contain
