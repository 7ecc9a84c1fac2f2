"""Trains and scores the networks that draw the raters' masks directly, for a comparison.

They have one stage, whose folder holds checkpoints and history like those of stage one.
"""

import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import loader
from prosona_jax import rng
from prosona_jax.evaluation import scoring, volume_latents, volumes
from prosona_jax.evaluation.contours import InMm
from prosona_jax.evaluation.scoring import Row
from prosona_jax.evaluation.style_steps import Personalised
from prosona_jax.evaluation.volume_steps import OWN, Drawn, Placed
from prosona_jax.experiments import build, inputs, predictions, stages
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.experiments.volumes import places
from prosona_jax.models.direct import Pionono
from prosona_jax.models.query import LEVELS
from prosona_jax.runtime import checkpoint, parallel
from prosona_jax.training import step
from prosona_jax.training.loop import train
from prosona_jax.types import Batch, Params


def fit(config: Config, folder: pathlib.Path, data: Data) -> None:
    """Trains the network of the config in the folder, or continues its training.

    The checkpoint with the highest Dice of the raters' own masks on validation patients is kept.
    """
    network, tx = build.direct(config, data.raters), build.optimizer(config)
    devices = parallel.create(config.parallel)
    train(
        devices.replicate(step.create_state(_initial(config, data), tx)),
        workdir=str(folder),
        train_step=devices.train_step(build.direct_train_step(config, network, tx)),
        shard=devices.shard,
        batches=loader.train_batches(
            loader.reader(data.dataset),
            data.indices["train"],
            batch_size=config.batch_size,
            seed=config.seed,
            **inputs.process(),
        ),
        root=jax.random.key(config.seed),
        validate=lambda params: scoring.summarise_styles(
            _styled(config, _drawn(config, params, data, "validation", samples=1))
        ),
        cost=lambda scores: -scores["dice_mean"],
        schedule=stages.schedule(config, config.steps),
    )


def score(config: Config, folder: pathlib.Path, data: Data) -> list[Row]:
    """Returns the rows of the test split: of records and of volumes, as those of other methods.

    The masks of the raters are scored as the styles. Only a network with a latent has samples too.
    """
    like = stages.like(config, lambda: _initial(config, data))
    _, params, _ = checkpoint.read_best(folder, like)
    rows = []
    counts = (config.evaluate.samples, data.raters)
    sampled = isinstance(build.direct(config, data.raters), Pionono)
    for number, samples in enumerate(dict.fromkeys(counts if sampled else counts[:1])):
        drawn = list(_drawn(config, params, data, "test", samples=samples))
        found = [inputs.with_ids(row, data.dataset) for row in _sampled(drawn)]
        own = _styled(config, drawn, in_mm=predictions.in_mm(config, data))
        found += [inputs.with_ids(row, data.dataset) for row in own]
        found += _of_volumes(config, params, data, samples=samples)
        if sampled:
            method = {"method": f"samples@{samples}"}
            rows += [row | method for row in found if row["method"] == "samples"]
        if number == 0:
            rows += [row for row in found if row["method"] == OWN]
    return rows


def _initial(config: Config, data: Data) -> Params:
    network, size = build.direct(config, data.raters), config.data.size
    key = rng.stream_key(jax.random.key(config.seed), "init")
    noise = jnp.zeros((1, network.masks, config.model.latent_dim))
    # jit leaves out what the parameters do not depend on, which is nearly all of the computation.
    return jax.jit(network.init)(key, jnp.zeros((1, size, size, data.channels)), noise)


def _drawn(
    config: Config, params: Params, data: Data, split: str, *, samples: int
) -> Iterable[tuple[Batch, Drawn]]:
    """Yields this process's records on which any rater drew, with the pixel counts of the masks."""
    batches = inputs.eval_batches(config, data.dataset, data.drawn(split))
    found = _run(config, params, data, map(_alone, batches), samples=samples)
    return ((placed.batch, drawn) for placed, drawn in found)


def _run(
    config: Config, params: Params, data: Data, placed: Iterator[Placed], *, samples: int
) -> Iterable[tuple[Placed, Drawn]]:
    draw = predictions.step(config, build.direct_step, raters=data.raters, samples=samples)
    return predictions.run(config, params, placed, draw)


def _alone(batch: Batch, seed_of: Mapping[int, int] | None = None) -> Placed:
    """Returns a batch as `Placed`; records draw with seeds of their own or with those given."""
    index = batch.index if seed_of is None else np.array([seed_of[i] for i in batch.index.tolist()])
    return Placed(index.astype(np.int32), batch.valid, batch, None)


def _sampled(drawn: Iterable[tuple[Batch, Drawn]]) -> list[Row]:
    """Returns the rows of the samples."""
    rows = []
    for batch, found in drawn:
        scores = scoring.sample_scores(found.samples, found.prior_mean, batch.rater_valid)
        own = scores["samples"] | {"s_ncc": np.asarray(found.s_ncc, np.float64)}
        rows += scoring.rows_of(batch, "samples", own)
    return parallel.gather_rows(rows)


def _styled(
    config: Config, drawn: Iterable[tuple[Batch, Drawn]], *, in_mm: InMm | None = None
) -> list[Row]:
    """Returns the rows of the raters' own masks; `in_mm` as in `scoring.evaluate_styles`."""

    def personalised(batch: Batch, found: Drawn) -> Personalised:
        b, k = batch.rater_valid.shape
        nothing = np.full((b, 1, len(LEVELS), k), np.nan, np.float32)  # no text retrieves a rater
        return Personalised(found.styles[OWN], None, found.packed[:, None, 1:], nothing, nothing)

    return scoring.evaluate_styles(
        ((batch, (personalised(batch, found),)) for batch, found in drawn),
        [OWN],
        by_area=config.data.raters == "by_area",
        in_mm=in_mm,
    )


def _of_volumes(config: Config, params: Params, data: Data, *, samples: int) -> list[Row]:
    """Returns the rows of the volumes of the test split; the slices of a volume share a draw."""
    place_of = places(data.dataset, data.indices["test"].tolist())
    if not place_of:
        return []
    indices = volume_latents.order(place_of, place_of)
    seed_of = {i: min(own) for own in volume_latents.by_volume(place_of, place_of) for i in own}
    batches = inputs.eval_batches(config, data.dataset, np.array(indices), everywhere=True)
    placed = map(functools.partial(_alone, seed_of=seed_of), batches)
    rows = volumes.evaluate(
        _run(config, params, data, placed, samples=samples),
        place_of,
        by_area=config.data.raters == "by_area",
    )
    record_of = {place.volume: index for index, place in place_of.items()}
    return [
        {"volume": row["volume"], **inputs.origin(data.dataset, record_of[row["volume"]])} | row
        for row in rows
    ]
