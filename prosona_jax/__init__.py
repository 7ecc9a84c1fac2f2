"""Segmentation that learns the styles of all raters; a sentence chooses a style.

    >>> import prosona_jax as pj
    >>> model = pj.load("runs/demo")  # doctest: +SKIP
    >>> image = pj.read_image("crop.dcm", point=(210, 143))  # doctest: +SKIP
    >>> tight, wide = model.segment(image, ["hug the solid core", "leave a wide margin"])
    ... # doctest: +SKIP
    >>> pj.save([tight, wide], image, "out/")  # doctest: +SKIP

Importing this package is fast: the module of a name is imported when the name is first used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from data_pipelines.examples import Example, ExampleScan, example_scan, examples
    from data_pipelines.images import read as read_image
    from data_pipelines.images.picture import Picture
    from data_pipelines.scans import Scan
    from data_pipelines.scans import read as read_scan
    from prosona_jax.evaluation.masks import score
    from prosona_jax.experiments.grid import compare
    from prosona_jax.experiments.runs import evaluate, train
    from prosona_jax.prediction.exporting import export
    from prosona_jax.prediction.loading import load
    from prosona_jax.prediction.model import Model
    from prosona_jax.prediction.profile import Profile
    from prosona_jax.prediction.saving import save
    from prosona_jax.prediction.segmentation import Segmentation
    from prosona_jax.types import InputError

_WHERE = {  # {public name: (module, name in that module)}
    "load": ("prosona_jax.prediction.loading", "load"),
    "examples": ("data_pipelines.examples", "examples"),
    "example_scan": ("data_pipelines.examples", "example_scan"),
    "read_image": ("data_pipelines.images", "read"),
    "read_scan": ("data_pipelines.scans", "read"),
    "save": ("prosona_jax.prediction.saving", "save"),
    "export": ("prosona_jax.prediction.exporting", "export"),
    "train": ("prosona_jax.experiments.runs", "train"),
    "evaluate": ("prosona_jax.experiments.runs", "evaluate"),
    "compare": ("prosona_jax.experiments.grid", "compare"),
    "score": ("prosona_jax.evaluation.masks", "score"),
    "Model": ("prosona_jax.prediction.model", "Model"),
    "Profile": ("prosona_jax.prediction.profile", "Profile"),
    "Segmentation": ("prosona_jax.prediction.segmentation", "Segmentation"),
    "Example": ("data_pipelines.examples", "Example"),
    "ExampleScan": ("data_pipelines.examples", "ExampleScan"),
    "Picture": ("data_pipelines.images.picture", "Picture"),
    "Scan": ("data_pipelines.scans.scan", "Scan"),
    "InputError": ("prosona_jax.types", "InputError"),
}

__all__ = [
    "Example",
    "ExampleScan",
    "InputError",
    "Model",
    "Picture",
    "Profile",
    "Scan",
    "Segmentation",
    "__version__",
    "compare",
    "evaluate",
    "example_scan",
    "examples",
    "export",
    "load",
    "read_image",
    "read_scan",
    "save",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, own_name = _WHERE[name]
    globals()[name] = found = getattr(importlib.import_module(module), own_name)
    return found


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps functions such as `compare`, also after the modules of these names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
