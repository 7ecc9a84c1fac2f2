"""What every program reads: the data set with its splits, and the prompts with their embeddings."""

import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import caveats as faults
from data_pipelines import fingerprint, loader, prepared, splits
from data_pipelines.settings import Settings
from prosona_jax import unicode
from prosona_jax.evaluation.scoring import Row
from prosona_jax.experiments import methods, unseen
from prosona_jax.experiments.build import Config
from prosona_jax.runtime import parallel
from prosona_jax.runtime.workdir import Run
from prosona_jax.text import prompts
from prosona_jax.text.encoder import TextEncoder, load
from prosona_jax.types import Batch, InputError

SIMULATED = (
    "CT simulated: the contours are real, but the images are rendered from the raters' own "
    "shapes. A score on them is an exercise and no clinical evidence."
)
_ROOT = pathlib.Path(__file__).resolve().parents[2]  # where configs/ lies
_LOG = logging.getLogger(__name__)


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
    caveat: str | None  # of the prompt file
    encoder: dict[str, Any]  # name, digest of its weights, dim
    train: np.ndarray  # f32 [k, p, e]; styles with fewer sentences repeat theirs
    held_out: np.ndarray  # f32 [k, q, e]

    def describe(self) -> dict[str, Any]:
        """Returns what run.json says of them."""
        styles = [
            {"name": s.name, "train": list(s.train), "held_out": list(s.held_out)}
            for s in self.styles
        ]
        said = {"caveat": self.caveat} if self.caveat else {}
        return {"encoder": self.encoder, "styles": styles} | said

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the embeddings by split."""
        return {"train": self.train, "held_out": self.held_out}


def load_data(config: Config, needed: Sequence[str]) -> Data:
    """Prepares or finds the data set of config.data, says what it is, and splits it by patient."""
    data = split_data(config, load_dataset(config), needed)
    warn(about_splits(config, {config.data.fold: data}, trained="validation" in needed))
    return data


def load_dataset(config: Config) -> prepared.Dataset:
    """Prepares or finds the data set of config.data and says what it is."""
    settings = Settings.from_config(config.data)
    dataset = parallel.first_process_first(
        lambda: prepared.prepare(settings, config.data.cache_dir)
    )
    warn(about_data(config, dataset))
    for line in fingerprint.lines(dataset.fingerprint):
        _LOG.info("%s", line)
    return dataset


def split_data(config: Config, dataset: prepared.Dataset, needed: Sequence[str]) -> Data:
    """Splits a data set by patient as config.data says; InputError if a needed split is empty."""
    indices = splits.assign(
        dataset.patient_ids,
        dataset.declared_splits,
        folds=config.data.folds,
        fold=config.data.fold,
        validation_share=config.data.validation_share,
        needed=needed,
    )
    return Data(dataset, indices)


def warn(said: Sequence[str]) -> None:
    """Logs caveats."""
    for caveat in said:
        _LOG.warning("%s", caveat)


def load_prompts(config: Config, raters: int) -> Prompts | None:
    """Reads and embeds the prompts of the config; None where the query reads no text.

    A relative path is taken from the working directory, or else from where ``configs/`` lies.
    """
    if not methods.of(config).reads_text:
        return None
    path = pathlib.Path(config.prompts.path).expanduser()
    if not path.exists() and (_ROOT / path).exists():
        path = _ROOT / path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); set prompts.path") from None
    text = unicode.decode(content, str(path))
    styles, caveat = prompts.parse(text, str(path))
    prompts.check_count(styles, raters, str(path))
    encoder = load(config.prompts.encoder)
    return Prompts(
        styles,
        caveat,
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


def style_names(described: Mapping[str, Any] | None, raters: int) -> list[str]:
    """Returns the names in `Run.prompts`; where no text is read, styles have numbers from 1."""
    if described is not None:
        return [style["name"] for style in described["styles"]]
    return [f"style {k}" for k in range(1, raters + 1)]


def run_of(config: Config, data: Data, written: Prompts | None) -> Run:
    """Returns what a workdir is made from that trains on the data with the prompts."""
    return Run(
        config=config.to_dict(),
        data_digest=data.dataset.fingerprint["sha256"],
        patients=data.patients(),
        channels=data.channels,
        raters=data.raters,
        prompts=written.describe() if written else None,
        intensity_unit=data.dataset.intensity_unit,
        native_spacing_mm=data.dataset.fingerprint["native_spacing_mm"],
        simulated=data.dataset.simulated,
    )


def check_fits(config: Config, data: Data, run: Run) -> None:
    """Raises InputError unless a model of that run and config can be scored on the data.

    A posterior that sees one mask, alone, is indifferent to how many there are.
    """
    needed = {"channels": (data.channels, run.channels)}
    if config.model.posterior_input == "all" or methods.has_second_stage(config):
        needed["raters"] = (data.raters, run.raters)
    for what, (has, needs) in needed.items():
        if has != needs:
            raise InputError(
                f"the data have {has} {what}, and the model was trained on {needs}; use data that "
                "fit, or train a model on these"
            )


def describe(config: Config, data: Data, run: Run) -> dict[str, str]:
    """Returns in words what is scored, what it is a part of, and what the model was trained on."""
    ids = data.dataset.patient_ids

    def trained(split: str) -> str:
        patients = set(run.patients[split])
        if run.data_digest != data.dataset.fingerprint["sha256"]:
            return f"{len(patients)} patients of other data"
        return f"{sum(patient in patients for patient in ids)} of {len(patients)} patients"

    scored, c = data.indices[config.data.split], config.data
    source = f"test fold {c.fold} of {c.folds} patient folds" if c.folds else "the source's split"
    return {
        "split": "all" if c.split == "all" else f"{c.split}; {source}",
        "records scored": f"{len(scored)} of {len({ids[i] for i in scored})} patients",
        "records of training": trained("train"),
        "records of validation": trained("validation"),
    } | {
        f"whole data set, {name}": value
        for name, value in fingerprint.words(data.dataset.fingerprint).items()
    }


def caveats(config: Config, data: Data, run: Run) -> list[str]:
    """Returns what a reader must know of data and model before believing a score of that run."""
    dataset, c = data.dataset, config.data
    own = run.data_digest == dataset.fingerprint["sha256"]
    said = about_data(config, dataset)
    said += about_splits(config, {c.fold: data}, trained=own)
    if run.simulated and not dataset.simulated:
        said.append(
            "Trained on simulated CT: the images that trained this model were rendered from the "
            "raters' own shapes, and those scored here were not."
        )
    said += about_prompts(run.prompts)
    if not own:
        said += unseen.about_unit(run, dataset.intensity_unit)
        sizes = dataset.fingerprint["native_spacing_mm"]
        if sizes:
            said += unseen.about_pixels(run, sizes, resampled_mm=c.spacing_mm)
        if dataset.fingerprint["spacings_unknown"]:
            said += unseen.about_pixels(run, None, resampled_mm=c.spacing_mm)
    seen = {*run.patients["train"], *run.patients["validation"]}
    known = seen.intersection(dataset.patient_ids[i] for i in data.indices[c.split])
    if known:
        said.append(
            f"Known patients: {len(known)} of the scored patients were among those that trained or "
            "selected the model, so these scores are too good."
        )
    return said


def about_prompts(described: Mapping[str, Any] | None) -> list[str]:
    """Returns what a reader must know of the sentences in `Run.prompts`."""
    return [described["caveat"]] if described and "caveat" in described else []


def about_data(config: Config, dataset: prepared.Dataset) -> list[str]:
    """Returns what a reader must know of the data before believing any score on them."""
    said = [SIMULATED] if dataset.simulated else []
    return said + faults.of_data(dataset.fingerprint, spacing_mm=config.data.spacing_mm)


def about_splits(config: Config, folds: Mapping[int, Data], *, trained: bool) -> list[str]:
    """Returns what a reader must know of the split that is scored, pooled over folds.

    Args:
        config: names the split and the number of folds.
        folds: the data by fold.
        trained: the model was trained and chosen on these data.
    """
    patient_ids = next(iter(folds.values())).dataset.patient_ids
    return faults.of_splits(
        patient_ids,
        {fold: data.indices for fold, data in folds.items()},
        folds=config.data.folds,
        scored=config.data.split,
        trained=trained,
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
