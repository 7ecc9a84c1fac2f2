"""Reads the pickled dictionaries of D-Persona and of Probabilistic-Unet-Pytorch.

A dictionary is {key: {"image": [H,W], "masks": [mask [H,W], ...], "series_uid": text}}, in one
file or in the `*.pickle` and `*.pkl` files of a folder. Images are 0..1, as in
Probabilistic-Unet-Pytorch, or 0..255, as in D-Persona; the values of the whole file decide which.
The patient id is the part of `series_uid` before the first "_", as in D-Persona. Spacing is
unknown.
"""

import collections
import pathlib
import pickle
import re
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

import numpy as np

from data_pipelines import folders, identifiers, lidc, validation
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record

_KEYS = ("image", "masks", "series_uid")


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the records of a file, or of each file of a folder; see `sources.records`."""
    del skipped  # this source leaves nothing out
    path = settings.location()
    files = [path]
    if path.is_dir():
        files = [file for file in folders.entries(path) if file.suffix in (".pickle", ".pkl")]
    if not files:
        raise InputError(f"{path}: the folder holds no .pickle or .pkl file; check data.path")
    patients = _Patients(path)
    for file in files:
        try:
            data = load(file)
            if not isinstance(data, dict) or not data:
                raise InputError(
                    f"{file}: is not a dictionary of records; see data_pipelines.sources"
                )
        except InputError as fault:
            if file == path:
                raise
            yield fault
            continue
        white = _white(data.values())
        prefix = f"{file.stem}/" if len(files) > 1 else ""
        for key, value in data.items():
            try:
                where = f"{file}: record {key!r}"
                record_id = f"{prefix}{identifiers.text(key, where, 'its key')}"
                yield _record(where, record_id, value, white, patients)
            except InputError as fault:
                yield fault


def load(file: pathlib.Path) -> Any:
    """Returns the object that a file pickles, made of builtins and NumPy arrays of numbers or text.

    Code in the file never runs. NumPy's own functions for unpickling do not run either, since they
    trust the state in the file. This module rebuilds arrays from their shape, type and bytes.

    Raises:
        InputError: the file is damaged, or asks for another global, which the message names.
    """
    try:
        with file.open("rb") as stream:
            return _arrays(_Unpickler(stream, encoding="latin1").load())
    except InputError as fault:
        raise InputError(f"{file}: {fault}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(
            f"{file}: not a readable pickle, truncated or damaged ({type(error).__name__}); "
            "copy it again"
        ) from error


class _DType:
    """The type of an array in a pickle: first a code, later the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if code.startswith("O"):
            raise InputError(
                "holds an array of Python objects, which NumPy makes of arrays of unequal shapes; "
                "store a list of arrays, each of one shape"
            )
        if not re.fullmatch(r"[biufSU]\d{1,4}", code):
            raise InputError(f"holds an array of type {code!r}; only numbers and text are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array in a pickle."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        self.value = _from_bytes(data, kind, shape, "F" if fortran else "C")


def _from_bytes(data: Any, kind: _DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    return np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """Replaces `_codecs.encode`, by which protocols 0 to 2 store bytes."""
    if encoding != "latin1":
        raise InputError(f"asks for the codec {encoding!r}; only plain arrays are read")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin1,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("frozenset", frozenset), ("bytearray", bytearray))
    },
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", lambda kind, shape, code: _Array()),
            ("multiarray", "scalar", lambda kind, data: _from_bytes(data, kind, (), "C")[()]),
            ("numeric", "_frombuffer", _from_bytes),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise InputError(
                f"refused, the pickle asks for {module}.{name}; only builtins and NumPy arrays "
                "are read"
            ) from None


def _arrays(tree: Any) -> Any:
    """Replaces each `_Array` of a tree by its value."""
    if isinstance(tree, _Array):
        return tree.value
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_arrays(value) for value in tree)
    return tree


def _white(items: Iterable[Any]) -> float:
    """Returns the value of white: 255 if most images have values above 1, else 1."""
    images = [item.get("image") for item in items if isinstance(item, dict)]
    maxima = [
        float(np.max(image, initial=0, where=np.isfinite(image)))
        for image in images
        if _is_numeric(image)
    ]
    return 255.0 if maxima and statistics.median_high(maxima) > 1 else 1.0


def _is_numeric(value: Any) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


class _Patients:
    """Finds the patient of a series, since patients of LIDC-IDRI have up to two series.

    A series that is not of LIDC-IDRI counts as a patient of its own.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._patient_of: dict[str, str] | None = None

    def of(self, series_uid: str) -> str:
        if not series_uid.startswith(lidc.SERIES_PREFIX):
            return series_uid
        if self._patient_of is None:
            try:
                self._patient_of = lidc.read_series(lidc.find_database())
            except InputError as fault:
                raise InputError(
                    f"{self._path}: needs the list of LIDC-IDRI's series and patients: {fault}"
                ) from None
        return self._patient_of.get(series_uid, series_uid)


def _record(where: str, record_id: str, item: Any, white: float, patients: _Patients) -> Record:
    if not isinstance(item, dict) or any(key not in item for key in _KEYS):
        raise InputError(
            f"{where}: is not a dictionary with {', '.join(_KEYS)}; add the missing keys"
        )
    image, masks = item["image"], item["masks"]
    if not _is_numeric(image) or image.ndim not in (2, 3):
        raise InputError(f"{where}: image is not an array of numbers [H,W] or [H,W,C]; store one")
    masks = list(masks) if isinstance(masks, (list, tuple)) or np.ndim(masks) else []
    if not masks:
        raise InputError(f"{where}: masks is not a list of arrays [H,W]; add it or drop the record")
    for rater, mask in enumerate(masks):
        if not _is_numeric(mask) or mask.shape != image.shape[:2]:
            what = f"{list(mask.shape)}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise InputError(
                f"{where}: rater {rater}'s mask is {what} on an image {list(image.shape)}; store "
                "an array [H,W], or use an npz file with rater_valid if a rater is missing"
            )
    valid = np.ones(len(masks), bool)
    series_uid = identifiers.text(item["series_uid"], where, "series_uid").partition("_")[0]
    return Record(
        image=validation.float32(np.atleast_3d(image)) / np.float32(white),
        masks=validation.binary_masks(np.stack(masks), valid, where),
        rater_valid=valid,
        patient_id=patients.of(identifiers.text(series_uid, where, "series_uid")),
        record_id=record_id,
        site="",
        spacing_mm=np.full(2, np.nan, np.float32),
        intensity_unit="unit",
    )
