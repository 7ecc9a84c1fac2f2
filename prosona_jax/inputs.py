"""What every program reads: the data set with its splits, and the prompts with their embeddings."""

import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import ml_collections
import numpy as np

from data_pipelines import fingerprint, loader, prepared, splits
from data_pipelines.settings import Settings
from prosona_jax import parallel, prompts
from prosona_jax.evaluate import Row
from prosona_jax.text_encoder import TextEncoder, load
from prosona_jax.types import Batch, InputError
from prosona_jax.workdir import Run

SIMULATED = (
    "CT simulated: the contours are real, but the images are rendered from the readers' own "
    "shapes. A score on them is an exercise and no clinical evidence."
)
_LOG = logging.getLogger(__name__)
Config: TypeAlias = ml_collections.ConfigDict


class Data(NamedTuple):
    """A prepared data set and the positions of each split's records in it."""

    dataset: prepared.Dataset
    indices: dict[str, np.ndarray]

    @property
    def channels(self) -> int:
        """C of the images."""
        return self.dataset[0].image.shape[-1]

    @property
    def raters(self) -> int:
        """R, the masks of each image."""
        return len(self.dataset[0].masks)

    def patients(self) -> dict[str, list[str]]:
        """Returns the patient ids of each split."""
        ids = self.dataset.patient_ids
        return {name: sorted({ids[i] for i in part}) for name, part in self.indices.items()}


class Prompts(NamedTuple):
    """The sentences of K styles and what the encoder makes of them; what a checkpoint carries."""

    styles: tuple[prompts.Style, ...]
    encoder: dict[str, Any]  # name, digest of its weights, dim
    train: np.ndarray  # f32 [k, p, e]; styles with fewer sentences repeat theirs
    held_out: np.ndarray  # f32 [k, q, e]

    def describe(self) -> dict[str, Any]:
        """Returns what run.json says of them."""
        styles = [
            {"name": s.name, "train": list(s.train), "held_out": list(s.held_out)}
            for s in self.styles
        ]
        return {"encoder": self.encoder, "styles": styles}

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the embeddings by split."""
        return {"train": self.train, "held_out": self.held_out}


def load_data(config: Config, needed: Sequence[str]) -> Data:
    """Prepares or finds the data set of config.data, says what it is, and splits it by patient."""
    settings = Settings.from_config(config.data)
    dataset = parallel.first_process_first(
        lambda: prepared.prepare(settings, config.data.cache_dir)
    )
    if dataset.simulated:
        _LOG.warning("%s", SIMULATED)
    for line in fingerprint.lines(dataset.fingerprint):
        _LOG.info("%s", line)
    indices = splits.assign(
        dataset.patient_ids,
        dataset.declared_splits,
        folds=config.data.folds,
        fold=config.data.fold,
        validation_share=config.data.validation_share,
        needed=needed,
    )
    return Data(dataset, indices)


def load_prompts(config: Config, raters: int) -> Prompts | None:
    """Reads and embeds the prompts of the config; None where the query reads no text."""
    if config.stage_two.query != "text":
        return None
    path = pathlib.Path(config.prompts.path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); set prompts.path") from None
    styles = prompts.parse(text, str(path))
    prompts.check_count(styles, raters, str(path))
    encoder = load(config.prompts.encoder)
    return Prompts(
        styles,
        {"name": encoder.name, "digest": encoder.digest, "dim": encoder.dim},
        _embed(encoder, [style.train for style in styles]),
        _embed(encoder, [style.held_out for style in styles]),
    )


def _embed(encoder: TextEncoder, sentences: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns f32 [k, p, e], p the largest number of sentences of a style."""
    most = max(map(len, sentences))
    return np.stack([np.resize(encoder.embed(own), (most, encoder.dim)) for own in sentences])


def eval_batches(
    config: Config, dataset: prepared.Dataset, indices: np.ndarray, *, everywhere: bool = False
) -> Iterator[Batch]:
    """Yields batches of the records, this process's share of each, or all of it `everywhere`."""
    # Padding counts nowhere, so any number of devices can score with the same config.
    size = -(-config.evaluate.batch_size // jax.device_count()) * jax.device_count()
    if everywhere:
        size //= jax.process_count()
    share = {"process_index": 0, "process_count": 1} if everywhere else process()
    return loader.eval_batches(loader.reader(dataset), indices, batch_size=size, **share)


def embeddings(written: Prompts | None, raters: int) -> dict[str, np.ndarray]:
    """Returns the embeddings by split; a placeholder per style for queries that read no text."""
    if written is not None:
        return written.arrays()
    return {split: np.zeros((raters, 1, 1), np.float32) for split in ("train", "held_out")}


def check_fits(dataset: prepared.Dataset, run: Run) -> None:
    """Raises InputError unless a model of that run can read the data set's records."""
    first = dataset[0]
    for what, has, needs in (
        ("channels", first.image.shape[-1], run.channels),
        ("raters", len(first.masks), run.raters),
    ):
        if has != needs:
            raise InputError(
                f"the data have {has} {what}, and the model was trained on {needs}; use data that "
                "fit, or train a model on these"
            )


def with_ids(row: Row, dataset: prepared.Dataset) -> Row:
    """Returns a row with the record's and the patient's id in place of its index."""
    position = row["index"]
    scores = {name: value for name, value in row.items() if name != "index"}
    ids = {
        "record_id": dataset.record_ids[position],
        "patient_id": dataset.patient_ids[position],
    }
    return ids | scores


def process() -> dict[str, int]:
    """Returns this process's place among all, as the loader wants it."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}
