"""Loads a model: that of the package, a workdir, a model folder, or one of the Hugging Face hub."""

import logging
import pathlib
import re

from prosona_jax import hub
from prosona_jax.prediction import package, trained
from prosona_jax.prediction.model import Model
from prosona_jax.types import InputError, first_line

PRETRAINED = "lidc"  # the model that comes with the package; docs/pretrained.md describes it
_PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"  # a model folder for each name
_ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name
_LOG = logging.getLogger("prosona_jax")


def load(name: str | pathlib.Path | None = None, *, encoder: str | None = None) -> Model:
    """Reads a trained model.

        >>> import prosona_jax as pj
        >>> model = pj.load()
        >>> [style.name for style in model.styles]
        ['core', 'tight', 'full', 'margin']
        >>> mine = pj.load("runs/demo")  # doctest: +SKIP

    Args:
        name: None for the model that comes with the package, which was trained on real CT. Or the
            workdir of a run, or of one method of a comparison; or a model folder that
            `prosona_jax.export` wrote. Where no such folder exists: "lidc", the model of the
            package, or the name "owner/name" of a model on the Hugging Face hub.
        encoder: folder or name of the text encoder, if it has moved since the training.

    Raises:
        InputError: nothing is found there, or a file is missing, damaged, or of a newer format.
    """
    folder = _find(name)
    is_workdir = (folder / "run.json").exists() or not package.holds_model(folder)
    read = trained.read if is_workdir else package.read
    return Model(folder, read(folder), encoder=encoder)


def _find(name: str | pathlib.Path | None) -> pathlib.Path:
    """Returns the folder of a model, which is fetched if only the hub has it."""
    if name is None:
        return _PRETRAINED / PRETRAINED
    folder = pathlib.Path(name).expanduser()
    if name == PRETRAINED and not folder.exists():
        return _PRETRAINED / PRETRAINED
    if folder.exists() or not isinstance(name, str) or not _ON_HUB.fullmatch(name):
        return folder
    try:
        found = hub.fetch(
            name, [*package.FILES], file=package.SUMS, is_complete=package.is_complete
        )
    except Exception as error:  # The client raises errors of several packages.
        raise InputError(
            f"{name}: no such folder, not in the Hugging Face cache, and the hub did not provide "
            f"it ({first_line(error)}); name a workdir or a model folder, or fill the cache with: "
            f"hf download {name}"
        ) from error
    _LOG.info("model %s of the Hugging Face hub: %s", name, found)
    return found
