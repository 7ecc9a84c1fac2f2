"""Prepares a data set once: checked, windowed records of equal size on disk."""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import itertools
import json
import math
import operator
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from tensorflow_datasets.core import example_serializer

from data_pipelines import finishing, folders, runners, sources, transforms, validation
from data_pipelines.fingerprint import Fingerprint, Tally
from data_pipelines.runners import Run, Runner
from data_pipelines.settings import Settings
from prosona_jax import checksum
from prosona_jax.types import InputError, Record

_SPLIT = "records"
_SHARD = 2048  # records per file
# Fields of a record that are stored for all records together, and the names of their lists.
_INDEX = {
    "record_id": "record_ids",
    "patient_id": "patient_ids",
    "site": "sites",
    "split": "declared_splits",
    "volume": "volumes",
    "slice_mm": "slice_mm",
    "slice_spacing_mm": "slice_spacings_mm",
}


class Dataset:
    """The records of a prepared data set, read from disk one at a time.

    Images span -1..1, see `transforms.window`; `intensity_unit` is their unit before that.
    `windowed_by_volume` says whether any of them got the window of its volume.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Opens a folder of `prepare`; a damaged one raises InputError, here or on reading."""
        self._folder = folder
        with _undamaged(folder):
            stored = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            index = checksum.unseal(stored, _metadata(folder))
            self._data = tfds.builder_from_directory(folder).as_data_source(split=_SPLIT)
        self.record_ids: list[str] = index["record_ids"]
        self.patient_ids: list[str] = index["patient_ids"]
        self.declared_splits: list[str] = index["declared_splits"]
        self.fingerprint: dict[str, Any] = index["fingerprint"]
        self.citation: str = index["citation"]
        self.simulated: bool = index["simulated"]
        self.intensity_unit: str = index["intensity_unit"]
        self.rater_names: list[str] = index["rater_names"]  # empty if unknown
        self.windowed_by_volume: bool = index["windowed_by_volume"]
        self.sites: list[str] = index["sites"]
        self.volumes: list[str] = index["volumes"]
        self.slice_mm: list[float] = _numbers(index["slice_mm"])
        self.slice_spacings_mm: list[float] = _numbers(index["slice_spacings_mm"])
        self.drawn: list[bool] = index["drawn"]  # whether any rater drew on the record

    def __len__(self) -> int:
        return len(self.record_ids)

    def __getitem__(self, position: int) -> Record:
        position = range(len(self))[operator.index(position)]
        with _undamaged(self._folder):
            stored = self._data[position]
        return Record(
            image=transforms.decode(stored["image"]),
            masks=stored["masks"],
            rater_valid=stored["rater_valid"].astype(bool),
            patient_id=self.patient_ids[position],
            record_id=self.record_ids[position],
            site=self.sites[position],
            spacing_mm=stored["spacing_mm"],
            intensity_unit=self.intensity_unit,
            split=self.declared_splits[position],
            volume=self.volumes[position],
            slice_mm=self.slice_mm[position],
            slice_spacing_mm=self.slice_spacings_mm[position],
        )


def prepare(settings: Settings, cache_dir: str, runner: Runner = runners.serial) -> Dataset:
    """Returns the data set of these settings; the first call writes it to a folder in `cache_dir`.

    The runner reads the cases; the folder has the same bytes under each, see `runners`.

    The folder's name is a hash of the settings, of the source's files (size and time of change) and
    of this package's code. So a folder of other files or of other code is never read. The folder
    gets this name only when it is complete. If several processes call this at the same time, one
    writes and the others wait.

    Raises:
        InputError: a faulty source, no record left, or a folder that is damaged or cannot be made.
    """
    cache = pathlib.Path(cache_dir).expanduser().absolute()
    folder = cache / f"{settings.source}-{_key(settings)}"
    if not folder.exists():
        with _lock(folder.with_suffix(".lock")):
            if not folder.exists():
                part = folder.with_suffix(".part")
                shutil.rmtree(part, ignore_errors=True)  # a killed process may have left it
                part.mkdir()
                try:
                    with runner(part / "cases") as run:
                        _write(settings, part, run)
                    os.replace(part, folder)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
    return Dataset(folder)


def _write(settings: Settings, folder: pathlib.Path, run: Run) -> None:
    """Writes the records and, last, their index."""
    tally, fingerprint = Tally(), Fingerprint()
    rows: list[list[Any]] = []
    drawn: list[bool] = []
    records = finishing.records(settings, tally, run, windowed=True)
    first = next(records, None)
    if first is None:
        raise InputError(
            f"{settings.name}: no record is left (skipped: {dict(tally.skipped) or 'none'}); "
            "check data.source and data.path"
        )

    def examples() -> Iterator[dict[str, np.ndarray]]:
        everything = itertools.chain([first], records)
        for record in tqdm.tqdm(everything, desc=f"preparing {settings.name}", unit=" records"):
            fingerprint.add(record)
            rows.append([_plain(getattr(record, field)) for field in _INDEX])
            drawn.append(not validation.is_empty(record))
            yield _example(record)

    writer = _writer(folder, _example(first))
    writer.add_examples({_SPLIT: examples()})  # in one call, since each call rewrites the metadata
    writer.close_all()
    names = sources.rater_names(settings)
    columns = dict(zip(_INDEX.values(), zip(*rows, strict=True), strict=True))
    index = {
        **columns,
        "drawn": drawn,
        **sources.provenance(settings, columns["patient_ids"])._asdict(),
        "intensity_unit": first.intensity_unit,
        "rater_names": names,
        "windowed_by_volume": tally.windowed_by_volume,
        "fingerprint": fingerprint.summary(tally, names),
        "settings": dataclasses.asdict(settings),
    }
    sealed = checksum.seal(index, _metadata(folder))
    (folder / "index.json").write_text(json.dumps(sealed), encoding="utf-8")


def _plain(value: str | float) -> str | float | None:
    """Returns None for NaN, which JSON does not have; NaN alone differs from itself."""
    return None if value != value else value


def _numbers(stored: list[float | None]) -> list[float]:
    """Returns NaN for None."""
    return [math.nan if value is None else value for value in stored]


def _metadata(folder: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the files with the position of each record; records have checksums of their own."""
    for name in ("dataset_info.json", "features.json"):
        yield name, np.frombuffer((folder / name).read_bytes(), np.uint8)


class _Serializer(example_serializer.ExampleSerializer):
    """Writes the fields of an example in one order, which TFDS leaves to each process."""

    def serialize_example(self, example: dict[str, np.ndarray]) -> bytes:
        return self.get_tf_example(example).SerializeToString(deterministic=True)


def _writer(folder: pathlib.Path, like: dict[str, np.ndarray]) -> tfds.core.SequentialWriter:
    """Returns a TFDS writer for examples of the same shapes and types."""
    tensor = functools.partial(tfds.features.Tensor, encoding=tfds.features.Encoding.BYTES)
    identity = tfds.core.DatasetIdentity(
        name="prepared",
        version=tfds.core.Version("1.0.0"),
        data_dir=str(folder),
        module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=tfds.features.FeaturesDict(
            {name: tensor(shape=x.shape, dtype=x.dtype) for name, x in like.items()}
        ),
        disable_shuffling=True,
    )
    writer = tfds.core.SequentialWriter(info, _SHARD, file_format="array_record")
    writer._serializer = _Serializer(info.features.get_serialized_info())
    writer.initialize_splits([_SPLIT])
    return writer


def _example(record: Record) -> dict[str, np.ndarray]:
    return {
        "image": record.image,
        "masks": record.masks,
        "rater_valid": record.rater_valid.astype(np.uint8),
        "spacing_mm": record.spacing_mm,
    }


def _key(settings: Settings) -> str:
    """Returns a hash of everything that the records depend on."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(settings)).encode())
    code = sorted(pathlib.Path(__file__).parent.rglob("*.py"))
    for file in code:
        digest.update(file.read_bytes())
    for part in settings.parts():
        if not part.path:
            continue
        location = part.location()
        for file in [location] if location.is_file() else folders.files(location):
            status = file.stat()
            digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock, which the system releases if the process dies; makes its folder if absent."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written ({error}); choose another data.cache_dir"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have no locks
            raise InputError(
                f"{path}: cannot be locked ({error}); choose a data.cache_dir whose file system "
                "has locks"
            ) from error
        yield


@contextlib.contextmanager
def _undamaged(folder: pathlib.Path) -> Iterator[None]:
    """Turns every error in reading a prepared folder into an InputError of one line."""
    try:
        yield
    except Exception as error:  # JSON, TFDS and array_record have different error types
        raise InputError(
            f"{folder}: damaged ({type(error).__name__}); delete this folder, and the next run "
            "prepares it again"
        ) from error
