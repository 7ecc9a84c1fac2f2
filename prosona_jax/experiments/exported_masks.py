"""Writes the masks of scored records to files that `prosona_jax.score` and other tools read.

    samples.npz   probs f32 [N, S, H, W], samples of the prior
    styles.npz    probs f32 [N, K, H, W], the mask of each style, and `styles`, their names

Both hold `labels` u8 [N, R, H, W], `rater_valid` bool [N, R], `record_id` and `patient_id` text
[N], and `spacing_mm` f32 [N, 2], which is NaN where it is unknown.
"""

import contextlib
import itertools
import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np

from prosona_jax import files
from prosona_jax.experiments import predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.types import InputError, Params

SAMPLES, STYLES = "samples.npz", "styles.npz"


def check(folder: pathlib.Path) -> None:
    """Creates the folder if it is absent; InputError if the files cannot be written in it."""
    if not folder.exists():
        files.check(folder)
        folder.mkdir()
    for name in (SAMPLES, STYLES):
        files.check(folder / name)


def write(
    folder: pathlib.Path,
    config: Config,
    params: Params,
    second: StageTwo | None,
    data: Data,
    *,
    styles: Sequence[str],
) -> None:
    """Writes the masks that the report on config.data.split scores, completely or not at all.

    Every process takes part, and the first one writes.
    """
    indices = data.drawn(config.data.split)
    size, samples = config.data.size, config.evaluate.samples
    shared = _shared(data, indices)
    sampled = predictions.predict_stage_one(
        config, params, data, indices, samples=samples, drawn=True
    )
    probs = itertools.chain.from_iterable(np.asarray(found.probs) for _, found in sampled)
    _write(folder / SAMPLES, shared, probs, (len(indices), samples, size, size))
    if second is None:
        return
    prompted = predictions.predict_stage_two(
        config, params, second, data, indices, prompts_of=("mean",), drawn=True
    )
    probs = itertools.chain.from_iterable(np.asarray(found.probs)[:, 0] for _, (found,) in prompted)
    shape = (len(indices), second.styles, size, size)
    _write(folder / STYLES, shared | {"styles": np.array(styles)}, probs, shape)


def _shared(data: Data, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what the files hold beside the probabilities."""
    records = [data.dataset[index] for index in indices]
    return {
        "labels": np.stack([record.masks for record in records]),
        "rater_valid": np.stack([record.rater_valid for record in records]),
        "record_id": np.array([record.record_id for record in records]),
        "patient_id": np.array([record.patient_id for record in records]),
        "spacing_mm": np.stack([record.spacing_mm for record in records]),
    }


def _write(
    path: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    probs: Iterable[np.ndarray],
    shape: tuple[int, ...],
) -> None:
    """Writes an npz file; `probs` yields f32 [S, H, W] of each record, and is not held as a whole.

    Raises:
        InputError: the disk is full or the folder is gone.
    """
    first = jax.process_index() == 0
    part = path.with_name(f".{path.name}.part")
    try:
        with contextlib.ExitStack() as stack:
            if first:
                file = stack.enter_context(zipfile.ZipFile(part, "w"))
                for name, array in arrays.items():
                    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, array, allow_pickle=False)
                entry = stack.enter_context(file.open("probs.npy", "w", force_zip64=True))
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
            for each in probs:  # also on the other processes, which compute a share
                if first:
                    entry.write(np.ascontiguousarray(each, "<f4").tobytes())
        if first:
            os.replace(part, path)
    except OSError as error:
        fault = f"cannot be written ({error.strerror}); choose another folder"
        raise InputError(f"{path}: {fault}") from error
    finally:
        part.unlink(missing_ok=True)
