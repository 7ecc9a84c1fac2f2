"""Reads the data set of every program with its splits, and says what is to know about it."""

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import caveats as faults
from data_pipelines import distances, fingerprint, loader, prepared, splits
from data_pipelines.settings import Settings
from prosona_jax.evaluation.scoring import Row
from prosona_jax.experiments import second_stages, unseen
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.prompt_sets import Prompts
from prosona_jax.runtime import parallel
from prosona_jax.runtime.workdir import Run
from prosona_jax.types import Batch, InputError

SIMULATED = (
    "Images simulated: they are rendered from known shapes and show no scan. A score on them is an "
    "exercise and no clinical evidence."
)
_MEASURED = 500  # records on which the styles' distances are measured; more change them little
_LOG = logging.getLogger(__name__)


class Data(NamedTuple):
    """A prepared data set and the indices of each split's records in it."""

    dataset: prepared.Dataset
    indices: dict[str, np.ndarray]

    @property
    def channels(self) -> int:
        """C, the channels of each image."""
        return self.dataset[0].image.shape[-1]

    @property
    def raters(self) -> int:
        """R, the masks of each image."""
        return len(self.dataset[0].masks)

    def drawn(self, split: str) -> np.ndarray:
        """Returns the indices of a split's records on which any rater drew.

        Scores of single images are of these. The others are slices beyond the ends of an object,
        see `data_pipelines.volumes.slices`.
        """
        return self.indices[split][np.array(self.dataset.drawn)[self.indices[split]]]

    def patients(self) -> dict[str, list[str]]:
        """Returns the patient ids of each split."""
        ids = self.dataset.patient_ids
        return {name: sorted({ids[i] for i in part}) for name, part in self.indices.items()}


def load_data(config: Config, needed: Sequence[str]) -> Data:
    """Prepares or loads the data set of config.data, logs what it is, and splits it by patient."""
    data = split_data(config, load_dataset(config), needed)
    warn(about_splits(config, {config.data.fold: data}, trained="validation" in needed))
    return data


def load_dataset(config: Config) -> prepared.Dataset:
    """Prepares or loads the data set of config.data and logs what it is."""
    settings = Settings.from_config(config.data)
    dataset = parallel.first_process_first(
        lambda: prepared.prepare(settings, config.data.cache_dir)
    )
    warn(about_data(config, dataset))
    for line in fingerprint.lines(dataset.fingerprint, config.data.spacing_mm):
        _LOG.info("%s", line)
    return dataset


def split_data(config: Config, dataset: prepared.Dataset, needed: Sequence[str]) -> Data:
    """Splits a data set by patient, as config.data says; InputError if a needed split is empty."""
    indices = splits.assign(
        dataset.patient_ids,
        dataset.declared_splits,
        folds=config.data.folds,
        fold=config.data.fold,
        validation_share=config.data.validation_share,
        leave_out=config.data.get("leave_out", ()),  # workdirs from before this field have none
        needed=needed,
        sites=dataset.sites,
        test_site=test_site(config),
    )
    return Data(dataset, indices)


def test_site(config: Config) -> str:
    """Returns config.data.test_site, which workdirs from before this field do not have."""
    return config.data.get("test_site", "")


def warn(messages: Sequence[str]) -> None:
    """Logs caveats."""
    for message in messages:
        _LOG.warning("%s", message)


def eval_batches(
    config: Config, dataset: prepared.Dataset, indices: np.ndarray, *, everywhere: bool = False
) -> Iterator[Batch]:
    """Yields this process's share of each batch of the records; with `everywhere`, all of it."""
    # Padding counts in no score, so any number of devices can score with the same config.
    size = -(-config.evaluate.batch_size // jax.device_count()) * jax.device_count()
    if everywhere:
        size //= jax.process_count()
    share = {"process_index": 0, "process_count": 1} if everywhere else process()
    return loader.eval_batches(loader.reader(dataset), indices, batch_size=size, **share)


def style_names(described: Mapping[str, Any] | None, raters: int) -> list[str]:
    """Returns the names in `Run.prompts`; if no text is read, styles are numbered from 1."""
    if described is not None:
        return [style["name"] for style in described["styles"]]
    return [f"style {k}" for k in range(1, raters + 1)]


def run_of(config: Config, data: Data, prompts: Prompts | None) -> Run:
    """Returns the description of a run that trains on the data with the prompts."""
    return Run(
        config=config.to_dict(),
        data_digest=data.dataset.fingerprint["sha256"],
        patients=data.patients(),
        channels=data.channels,
        raters=data.raters,
        prompts=prompts.describe() if prompts else None,
        intensity_unit=data.dataset.intensity_unit,
        native_spacing_mm=data.dataset.fingerprint["native_spacing_mm"],
        simulated=data.dataset.simulated,
        style_mm=(
            _style_mm(data.dataset, tuple(data.drawn("train").tolist()))
            if prompts and prompts.degree_reader is not None
            else None
        ),
        records={name: len(part) for name, part in data.indices.items()},
        windowed_by_volume=data.dataset.windowed_by_volume,
    )


@functools.cache  # the cells of a comparison share their folds
def _style_mm(dataset: prepared.Dataset, chosen: tuple[int, ...]) -> list[float] | None:
    """Returns `Run.style_mm`, measured on at most 500 records spread over the chosen ones."""
    measured = spread(np.array(chosen, np.int64), _MEASURED)
    return distances.of_styles(dataset[index] for index in measured.tolist())


def spread(indices: np.ndarray, most: int) -> np.ndarray:
    """Returns at most this many of the indices i64 [n], evenly from the first to the last."""
    places = np.linspace(0, len(indices) - 1, min(len(indices), most)).round().astype(int)
    return indices[places]


def check_fits(config: Config, data: Data, run: Run) -> None:
    """Raises InputError unless a model of this run and config can be scored on the data.

    Stage one alone can be scored with any number of raters if its posterior sees one mask.
    """
    needed = {"channels": (data.channels, run.channels)}
    if config.model.posterior_input == "all" or second_stages.exists(config):
        needed["raters"] = (data.raters, run.raters)
    for what, (has, needs) in needed.items():
        if has != needs:
            raise InputError(
                f"the data have {has} {what}, but the model was trained on {needs}; use data that "
                "fit, or train a model on these data"
            )


def describe(config: Config, data: Data, run: Run) -> dict[str, str]:
    """Describes the scored records, their data set, and the training data of the model."""
    ids = data.dataset.patient_ids

    def trained(split: str) -> str:
        patients = set(run.patients[split])
        if run.data_digest != data.dataset.fingerprint["sha256"]:
            return f"{len(patients)} patients of other data"
        return f"{sum(patient in patients for patient in ids)} of {len(patients)} patients"

    scored, c = data.drawn(config.data.split), config.data
    source = f"test fold {c.fold} of {c.folds} patient folds" if c.folds else "the source's split"
    if site := test_site(config):
        source = f"site {site} is tested, and the model learns from the others"
    return {
        "split": "all" if c.split == "all" else f"{c.split}; {source}",
        "records scored": f"{len(scored)} of {len({ids[i] for i in scored})} patients",
        "records of training": trained("train"),
        "records of validation": trained("validation"),
    } | {
        f"whole data set, {name}": value
        for name, value in fingerprint.words(data.dataset.fingerprint, c.spacing_mm).items()
    }


def caveats(config: Config, data: Data, run: Run) -> list[str]:
    """Returns what a user must know about data and model before trusting a score of the run."""
    dataset, c = data.dataset, config.data
    own = run.data_digest == dataset.fingerprint["sha256"]
    found = about_data(config, dataset)
    found += about_splits(config, {c.fold: data}, trained=own)
    if run.simulated and not dataset.simulated:
        found.append(
            "Trained on simulated images: the training images of this model were rendered from "
            "known shapes, but the images scored here were not."
        )
    found += about_prompts(run.prompts)
    if not own:
        found += unseen.about_unit(run, dataset.intensity_unit)
        found += unseen.about_window(
            run, dataset.intensity_unit, by_volume=dataset.windowed_by_volume
        )
        sizes = dataset.fingerprint["native_spacing_mm"]
        if sizes:
            found += unseen.about_pixels(run, sizes, resampled_mm=c.spacing_mm)
        if dataset.fingerprint["spacings_unknown"]:
            found += unseen.about_pixels(run, None, resampled_mm=c.spacing_mm)
    used = {*run.patients["train"], *run.patients["validation"]}
    repeated = used.intersection(dataset.patient_ids[i] for i in data.indices[c.split])
    if repeated:
        found.append(
            f"Known patients: {len(repeated)} of the scored patients were used to train or select "
            "the model, so these scores are too high."
        )
    return found


def about_prompts(described: Mapping[str, Any] | None) -> list[str]:
    """Returns what a user must know about the sentences in `Run.prompts`."""
    if described is None:
        return []
    found = [described["caveat"]] if "caveat" in described else []
    if "scale" in described and not {"habit_reader", "degree_reader"} & described["encoder"].keys():
        found.append(
            "Numbers not read: sentences of the style cards state amounts, such as a margin in mm, "
            "but the second stage reads their embeddings, which know little of numbers; set "
            "stage_two.query to 'habits' to have amounts drawn."
        )
    return found


def about_data(config: Config, dataset: prepared.Dataset) -> list[str]:
    """Returns what a user must know about the data before trusting any score on them."""
    simulated = [SIMULATED] if dataset.simulated else []
    return simulated + faults.of_data(dataset.fingerprint, spacing_mm=config.data.spacing_mm)


def about_splits(config: Config, folds: Mapping[int, Data], *, trained: bool) -> list[str]:
    """Returns what a user must know about the scored split, pooled over folds.

    Args:
        config: sets the split and the number of folds.
        folds: the data by fold.
        trained: the model was trained and chosen on these data.
    """
    dataset = next(iter(folds.values())).dataset
    site = test_site(config)
    found = faults.of_splits(
        dataset.patient_ids,
        {fold: data.indices for fold, data in folds.items()},
        folds=1 if site else config.data.folds,
        scored=config.data.split,
        trained=trained,
    )
    if not site:
        return found
    tested = {p for p, at in zip(dataset.patient_ids, dataset.sites, strict=True) if at == site}
    elsewhere = sum(
        p in tested and at != site for p, at in zip(dataset.patient_ids, dataset.sites, strict=True)
    )
    if elsewhere:
        found.append(
            f"Patients of two sites: {elsewhere} records of patients of site {site!r} are of other "
            "sites, and they are neither trained on nor scored; leave these patients out "
            "(data.leave_out) to test on patients of one site."
        )
    return found


def with_ids(row: Row, dataset: prepared.Dataset) -> Row:
    """Returns a row with what identifies the record in place of its index."""
    index = row["index"]
    scores = {name: value for name, value in row.items() if name != "index"}
    return {"record_id": dataset.record_ids[index], **origin(dataset, index)} | scores


def origin(dataset: prepared.Dataset, index: int) -> dict[str, str]:
    """Returns the patient of a record and, if any record of the data names one, the site."""
    site = {"site": dataset.sites[index]} if any(dataset.sites) else {}
    return {"patient_id": dataset.patient_ids[index], **site}


def process() -> dict[str, int]:
    """Returns the loader's arguments for this process: its index and the number of processes."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}
