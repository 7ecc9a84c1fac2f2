"""The settings that a prepared data set depends on. Splits are not among them."""

import dataclasses
import math
import pathlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from data_pipelines import validation
from data_pipelines.layouts import presets
from prosona_jax.types import InputError

# Each module of data_pipelines/sources is a source of its name.
_SOURCES = pathlib.Path(__file__).parent / "sources"
_OF_VOLUMES = ("folder", "phantom")
SOURCES = tuple(sorted(module.name for module in pkgutil.iter_modules([str(_SOURCES)])))


@dataclasses.dataclass(frozen=True)
class Settings:
    """Source and geometry of a prepared data set; see configs/base.py for each field's meaning.

    Raises:
        InputError: a value is out of range; the message names the field and the valid values.
    """

    source: str
    path: str
    size: int
    spacing_mm: float
    slices: str
    window_hu: tuple[float, float]
    percentiles: tuple[float, float]
    raters: str
    on_error: str
    train_path: str = ""  # workdirs from before this field have none
    crop: str = "middle"  # nor this
    min_raters: int = 0  # nor this
    layout: str = ""  # nor these, which are for the source "folder"
    images: str = ""
    masks: str = ""
    channels: tuple[str, ...] = ()
    label: tuple[int, ...] = ()
    unit: str = ""
    phantom_cases: int = 50  # this is for the source "phantom"
    slices_beyond: int = 0  # workdirs from before this field have none

    def __post_init__(self) -> None:
        for name, choices in (
            ("source", SOURCES),
            ("slices", ("all", "any", "largest")),
            ("crop", ("middle", "organ")),
            ("raters", ("stored", "by_area")),
            ("on_error", ("raise", "skip")),
            ("layout", ("", *presets.LAYOUTS)),
            ("unit", ("", *validation.UNITS)),
        ):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"data.{name}={value!r} is unknown; choose one of {choices}")
        if self.min_raters < 0:
            raise InputError(f"data.min_raters={self.min_raters}: give 0 or a number of raters")
        if self.slices_beyond < 0:
            raise InputError(
                f"data.slices_beyond={self.slices_beyond}: give 0 or a number of slices"
            )
        if self.slices_beyond and (self.slices != "any" or self.source not in _OF_VOLUMES):
            raise InputError(
                f"data.slices_beyond={self.slices_beyond} needs data.slices='any' and one of the "
                f"sources {_OF_VOLUMES}, which read volumes; set it to 0"
            )
        if self.size < 1:
            raise InputError(f"data.size={self.size}: give the input's height in pixels, above 0")
        if self.phantom_cases < 1:
            raise InputError(
                f"data.phantom_cases={self.phantom_cases}: give a number of patients, above 0"
            )
        if not 0 <= self.spacing_mm < math.inf:
            raise InputError(
                f"data.spacing_mm={self.spacing_mm}: give a pixel size in mm, or 0 not to resample"
            )
        for name in ("window_hu", "percentiles"):
            value = getattr(self, name)
            if np.shape(value) != (2,) or not all(isinstance(x, (int, float)) for x in value):
                raise InputError(f"data.{name}={value}: give two numbers, (low, high)")
        if not all(isinstance(value, int) and value > 0 for value in self.label):
            raise InputError(
                f"data.label={self.label}: give the values of the mask files that are the object, "
                "such as (1,) or (1, 2), or () for all above 0"
            )
        low, high = self.window_hu
        if not low < high:
            raise InputError(f"data.window_hu={self.window_hu}: give (low, high) with low < high")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise InputError(
                f"data.percentiles={self.percentiles}: give (low, high) with 0 <= low < high <= 100"
            )

    @classmethod
    def from_config(cls, data: Mapping[str, Any]) -> Self:
        """Returns the settings in `config.data`; its other fields are ignored."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: data[name] for name in names if name in data})

    def parts(self) -> list["Settings"]:
        """Returns the settings of `path` and, if there is one, of `train_path`, one path each."""
        own = dataclasses.replace(self, train_path="")
        if not self.train_path:
            return [own]
        return [own, dataclasses.replace(own, path=self.train_path)]

    @property
    def name(self) -> str:
        """Name of the data in messages: the path, or the source if it needs no path."""
        return self.path or self.source

    def location(self) -> pathlib.Path:
        """Returns the absolute path of the source's file or folder.

        Raises:
            InputError: the path is empty or does not exist.
        """
        if not self.path:
            raise InputError(
                f"data.path is empty; the source {self.source!r} needs a file or folder"
            )
        path = pathlib.Path(self.path).expanduser().absolute()
        if not path.exists():
            raise InputError(
                f"{path}: no such file or folder; set data.path to the path of the data"
            )
        return path

    def native_size(self, spacing_mm: float) -> int:
        """Returns how many pixels of the image's own spacing [mm] cover the model's input."""
        if not self.spacing_mm or math.isnan(spacing_mm):
            return self.size
        return math.ceil(self.size * self.spacing_mm / spacing_mm)
