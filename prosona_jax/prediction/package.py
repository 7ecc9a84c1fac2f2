"""A model folder: what prediction needs of a trained run, in the layout of the Hugging Face hub.

    config.json           format, best steps, caveats of the training, the run without patients
    model.safetensors     both stages' parameters; a name is the path, joined by "/"
    prompts.safetensors   the sentences as numbers, and the degree reader; if text is read
    in_distribution.json  how the training images appear to the model; if it was measured
    README.md             the model card
    SHA256SUMS            checksums of all other files, as `sha256sum` writes them

It needs no file of the workdir, and holds no patient's id.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from prosona_jax import __version__, bundle
from prosona_jax.evaluation.in_distribution import InDistribution
from prosona_jax.experiments import stages, training_images
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.prediction.trained import Trained
from prosona_jax.runtime.workdir import Run
from prosona_jax.types import InputError, first_line

CONFIG, WEIGHTS, PROMPTS = "config.json", "model.safetensors", "prompts.safetensors"
CARD, SUMS = "README.md", "SHA256SUMS"
FILES = (CONFIG, WEIGHTS, PROMPTS, training_images.FILE, CARD, SUMS)
# Smaller arrays stay float32: a tenth of the numbers of a model of configs/lidc.py:crops64, whose
# rounding does most. Without it probabilities move by up to 1e-4, with it by up to 5e-3.
LARGE = 40_000
PRECISION = f"float16 for arrays of at least {LARGE} numbers, else float32"
_FORMAT, _VERSION = "prosona_jax", 1
_AGAIN = "copy or download the whole model folder again"


def holds_model(folder: pathlib.Path) -> bool:
    """Returns whether a folder is a model folder, although files may be missing or damaged."""
    return any((folder / name).is_file() for name in (CONFIG, WEIGHTS, SUMS))


def is_complete(folder: pathlib.Path) -> bool:
    """Returns whether a folder has all files that its checksums name."""
    sums = folder / SUMS
    return sums.is_file() and all((folder / name).is_file() for name in _sums(sums))


def check(folder: pathlib.Path) -> None:
    """Raises InputError if the folder cannot be written or holds something else than a model."""
    try:
        _config(folder / CONFIG)
    except InputError:
        bundle.check(folder, (), "model")
    else:
        bundle.check(folder, FILES, "model")


def write(folder: pathlib.Path, trained: Trained, card: str) -> None:
    """Writes a model folder, completely or not at all. It replaces an earlier one.

    Args:
        folder: the folder; it is made if absent.
        trained: the model.
        card: content of README.md.

    Raises:
        InputError: the folder cannot be written or holds other files, or a parameter is too large
            for float16.
    """
    check(folder)
    files = {CONFIG: json.dumps(_described(trained), indent=1).encode() + b"\n"}
    parameters = {name: _rounded(name, x) for name, x in _parameters(trained).items()}
    files[WEIGHTS] = safetensors.numpy.save(parameters)
    if trained.second and trained.second.text:
        text = {name: _lossless(x) for name, x in trained.second.text.items()}
        files[PROMPTS] = safetensors.numpy.save(text)
    if trained.in_distribution:
        files[training_images.FILE] = training_images.encode(trained.in_distribution)
    files[CARD] = card.encode(errors="backslashreplace")  # a text may have bytes that are no UTF-8
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    files[SUMS] = "".join(sums).encode()
    try:
        bundle.write(folder, files)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another folder") from None


def _described(trained: Trained) -> dict[str, Any]:
    """Returns the content of config.json."""
    run = trained.run._asdict()
    patients = {split: len(ids) for split, ids in run.pop("patients").items()}
    return {
        "format": _FORMAT,
        "format_version": _VERSION,
        "prosona_jax": __version__,
        "precision": PRECISION,
        "steps": trained.steps(),
        "unfinished": trained.unfinished,
        "patients": patients,
        "run": run,
    }


def _parameters(trained: Trained) -> dict[str, np.ndarray]:
    tree = {"stage_one": trained.stage_one["params"]}
    if trained.second:
        tree["stage_two"] = trained.second.params["params"]
    return flatten_dict(jax.device_get(tree), sep="/")


def _rounded(name: str, x: np.ndarray) -> np.ndarray:
    """Returns a large array as float16 and others unchanged; InputError beyond float16."""
    if x.size < LARGE:
        return x
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(
            f"the parameter {name!r} holds a number beyond float16: the training has diverged; "
            "train again with a lower learning rate"
        )
    return half


def _lossless(x: np.ndarray) -> np.ndarray:
    """Returns the numbers as float16 if this changes none of them, else unchanged."""
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    return half if np.array_equal(half, x) else x


def read(folder: pathlib.Path) -> Trained:
    """Returns the model of a folder that `write` wrote; parameters and text are float32.

    Raises:
        InputError: the format is newer, a file is missing or damaged, or the arrays do not fit the
            config.
    """
    described, sums = _config(folder / CONFIG), _sums(folder / SUMS)
    _content(folder / CONFIG, sums)
    try:
        run = Run(**described["run"], patients={})
        needed = stages.shapes(run)
        text = needed.pop("text", {})
        steps = {stage: described["steps"][stage] for stage in needed}
        unfinished = described["unfinished"]
    except Exception as error:  # the config of another version can fail anywhere
        raise InputError(
            f"{folder / CONFIG}: cannot be used ({first_line(error)}); install prosona_jax "
            f"{described.get('prosona_jax')}, which wrote it"
        ) from error
    like = flatten_dict({stage: tree["params"] for stage, tree in needed.items()}, sep="/")
    tree = unflatten_dict(_arrays(folder / WEIGHTS, sums, like), sep="/")
    second = None
    if "stage_two" in tree:
        numbers = _arrays(folder / PROMPTS, sums, text) if text else {}
        params = {"params": tree["stage_two"]}
        second = StageTwo(steps["stage_two"], params, run.raters, numbers)
    measured = _in_distribution(folder / training_images.FILE, sums)
    one = {"params": tree["stage_one"]}
    return Trained(run, steps["stage_one"], one, second, unfinished, measured)


def _in_distribution(path: pathlib.Path, sums: Mapping[str, str]) -> InDistribution | None:
    """Returns the content of a file, None if the folder was written without it."""
    if path.name not in sums:
        return None
    return training_images.decode(_content(path, sums))


def _config(path: pathlib.Path) -> dict[str, Any]:
    """Returns the content of config.json, whose format is checked before its checksum."""
    try:
        described = dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_AGAIN}") from None
    except (OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({first_line(error)}); {_AGAIN}") from error
    if described.get("format") != _FORMAT:
        raise InputError(
            f"{path}: is not of a model of prosona_jax; name a workdir, or a folder that python -m "
            "prosona_jax.export wrote"
        )
    version = described.get("format_version")
    if version != _VERSION:
        raise InputError(
            f"{path}: has format_version {version!r}, and this prosona_jax reads {_VERSION}; "
            "install the newest prosona_jax"
        )
    return described


def _sums(path: pathlib.Path) -> dict[str, str]:
    """Returns the checksums by the files' names."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); {_AGAIN}") from error
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _content(path: pathlib.Path, sums: Mapping[str, str]) -> bytes:
    """Returns the content of a file; InputError if it is missing or its checksum differs."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); {_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != sums.get(path.name):
        raise InputError(f"{path}: is damaged or edited: its checksum in {SUMS} differs; {_AGAIN}")
    return content


def _arrays(
    path: pathlib.Path, sums: Mapping[str, str], like: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns the arrays of a file in the types of `like`; InputError if names or shapes differ."""
    try:
        found = safetensors.numpy.load(_content(path, sums))
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: is damaged ({first_line(error)}); {_AGAIN}") from error
    for name in sorted(found.keys() | like.keys()):
        has, needs = (
            "no such array" if name not in arrays else list(arrays[name].shape)
            for arrays in (found, like)
        )
        if has != needs:
            raise InputError(
                f"{path}: does not fit {CONFIG}: {name!r} has {has} and needs {needs}; {_AGAIN}"
            )
    return {name: np.asarray(found[name], like[name].dtype) for name in like}
