"""Records what a workdir was made from, in ``run.json``, which is written first."""

import contextlib
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from prosona_jax import checksum, files
from prosona_jax.types import InputError

_FILE = "run.json"
# These fields may differ between machines. The paths of data, prompts and text encoder may differ,
# but their content may not: it is compared by digests and sentences. The wrapper of the devices and
# the batch size of evaluation do not change the results.
_OF_THE_MACHINE = (
    *("data.path", "data.cache_dir", "prompts.path", "prompts.encoder", "prompts.probe"),
    *("parallel", "evaluate.batch_size"),
)


class Run(NamedTuple):
    """What a workdir was made from."""

    config: dict[str, Any]  # every field of the config
    data_digest: str  # of the prepared data set
    patients: dict[str, list[str]]  # ids by split: train, validation, test
    channels: int  # C of the images
    raters: int  # R
    prompts: dict[str, Any] | None  # encoder and sentences by style; None: no text is read
    intensity_unit: str  # of the images before scaling: "HU", "unit" or "arbitrary"
    native_spacing_mm: list[list[float]] | None  # lowest and highest pixel size; None: unknown
    simulated: bool  # True: the images were made from the masks
    # Mean signed distance in mm of each style's contours from the raters' mean contour, in the
    # training split, negative inside; None: the pixel size is unknown, or no degree is read.
    style_mm: list[float] | None = None
    records: dict[str, int] | None = None  # their number by split; None: from before this field
    # The images are of unit "arbitrary", and their windows are percentiles of whole volumes; False:
    # percentiles of each image, also in files from before this field.
    windowed_by_volume: bool = False


def read(folder: str | os.PathLike[str]) -> Run:
    """Returns what the workdir was made from; raises InputError if no run was trained in it."""
    run = _read(folder)
    if "seed" not in run.config:  # run.json of a comparison has no seed
        raise InputError(
            f"{folder}: holds a comparison; name one of its methods, such as "
            f"{pathlib.Path(folder) / 'fold0-seed0' / 'prosona'}"
        )
    return run


def _read(folder: str | os.PathLike[str]) -> Run:
    path = pathlib.Path(folder) / _FILE
    try:
        return Run(**checksum.unseal(json.loads(path.read_text())))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is absent: no run was trained in this workdir") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); name another workdir") from None
    except checksum.ChecksumError as error:
        raise InputError(
            f"{path}: cannot be used ({error}); restore it from a copy, undo the edit, or train in "
            "another workdir"
        ) from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); restore it from a copy") from None


def check(folder: str | os.PathLike[str], run: Run) -> None:
    """Raises InputError, with the difference, if the folder belongs to another run."""
    path = pathlib.Path(folder) / _FILE
    if path.exists():
        _check_same(path, _read(folder), run)


def claim(folder: str | os.PathLike[str], run: Run) -> None:
    """Assigns the folder to this run; raises InputError as :func:`check` does."""
    check(folder, run)
    if not (pathlib.Path(folder) / _FILE).exists():
        write(folder, run)


def write(folder: str | os.PathLike[str], run: Run) -> None:
    """Writes run.json with its checksum; raises InputError if it cannot be written."""
    path = pathlib.Path(folder) / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, json.dumps(checksum.seal(run._asdict()), indent=1).encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); choose another --workdir") from None


@contextlib.contextmanager
def hold(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Locks the folder against other runs. The system unlocks it when the process ends.

    Raises:
        InputError: another process has locked the folder, or the folder cannot be written to.
    """
    path = pathlib.Path(folder) / "lock"
    try:
        file = path.open("w")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); choose another --workdir") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process is at work here; wait for it, or choose another "
                "--workdir"
            ) from None
        except OSError as error:  # some network file systems have no locks
            raise InputError(
                f"{path}: cannot be locked ({error}); choose a --workdir whose file system has "
                "locks"
            ) from None
        yield


def fields(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns {"data.size": 64, ...}, without the fields that may differ between machines."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= fields(value, f"{prefix}{key}.")
        elif prefix + key not in _OF_THE_MACHINE:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def _prompts(run: Run) -> dict[str, Any] | None:
    """Returns the prompts and their encoder, without the encoder's name."""
    if run.prompts is None:
        return None
    return run.prompts | {"encoder": run.prompts["encoder"] | {"name": ""}}


def _check_same(path: pathlib.Path, old: Run, new: Run) -> None:
    before, after = fields(old.config), fields(new.config)
    differing = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if differing:
        name = differing[0]
        more = f" and {len(differing) - 1} more fields" if differing[1:] else ""
        raise InputError(
            f"{path}: this workdir was trained with config.{name} = {before.get(name)!r}, not "
            f"{after.get(name)!r}{more}; use its config again, or another --workdir"
        )
    if _prompts(old) != _prompts(new):
        raise InputError(
            f"{path}: this workdir was trained with other prompts or another text encoder; use "
            "them again, or another --workdir"
        )
    if old.data_digest != new.data_digest:
        raise InputError(
            f"{path}: this workdir was trained on other data (digest {old.data_digest[:12]}, now "
            f"{new.data_digest[:12]}); use its data again, or another --workdir"
        )
