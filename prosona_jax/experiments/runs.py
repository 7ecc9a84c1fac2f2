"""One run: trains, scores and reports it in its workdir, or scores it on other data."""

import functools
import logging
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from prosona_jax.evaluation import scoring
from prosona_jax.experiments import (
    build,
    card_scores,
    cards,
    exported_masks,
    inputs,
    latent_traits,
    limits,
    predictions,
    probing,
    prompt_sets,
    second_stages,
    stages,
    temperature,
    volumes,
)
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.report import document, summary
from prosona_jax.report.figures import Panel
from prosona_jax.report.style_summary import Styled
from prosona_jax.report.volume_summary import Volumes
from prosona_jax.runtime import monitor, parallel, provenance, workdir
from prosona_jax.types import InputError, Params, Record

_WALK_POINTS = 61
_PLANE_SAMPLES = 300
_LOG = logging.getLogger(__name__)


def train(config: Config, folder: str | os.PathLike[str]) -> None:
    """Trains both stages, then scores config.data.split and writes ``<workdir>/report``.

        >>> from configs import lidc
        >>> pj.train(lidc.get_config("demo"), "runs/demo")  # doctest: +SKIP

    Args:
        config: every field of the run; see configs/base.py.
        folder: the workdir. If a run was interrupted there, its training continues.

    Raises:
        InputError: config, data, prompts or workdir are faulty.
        Diverged: a loss is no longer finite.
        Preempted: SIGTERM came; the state is saved.
    """
    folder = pathlib.Path(folder).expanduser()
    stages.check(config)
    if build.is_direct(config):
        raise InputError(
            f"config.model.network is {config.model.network!r}, a baseline without a prior, which "
            "prosona_jax.compare alone trains: set it to 'prob_unet'"
        )
    data = inputs.load_data(config, needed=("train", "validation", config.data.split))
    stages.check_raters(config, data.raters)
    measured = cards.measure(config, data) if cards.wanted(config) else None
    prompts = prompt_sets.load(config, data.raters, measured and measured.written)
    run = inputs.run_of(config, data, prompts)
    report_folder = folder / "report"
    parallel.first_process_first(lambda: workdir.claim(folder, run))
    parallel.first_process_first(lambda: document.check(report_folder))
    inputs.warn(inputs.about_prompts(run.prompts))
    if measured:
        parallel.first_process_first(lambda: cards.write(folder / cards.FILE, measured))
    with stages.alone(folder):
        stages.fit(config, folder, data, prompts)
    _report(config, folder, report_folder, data)


def evaluate(
    folder: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    export_masks: str | os.PathLike[str] | None = None,
) -> pathlib.Path:
    """Scores a trained workdir on its own data or on other data.

        >>> pj.evaluate("runs/demo", {"data.source": "npz", "data.path": "other.npz"})
        ... # doctest: +SKIP

    Args:
        folder: the workdir.
        overrides: fields `data.*` of its config to change, by name, and `evaluate.latent`.
        export_masks: a folder in which the scored masks are written too, see
            `experiments/exported_masks.py`.

    Returns:
        The folder of the report, ``<workdir>/eval-<file stem or source>``, with the latent in its
        name if that is changed.

    Raises:
        InputError: another field is named, or workdir or data are faulty.
    """
    folder, overrides = pathlib.Path(folder).expanduser(), overrides or {}
    run = workdir.read(folder)
    trained = ml_collections.ConfigDict(run.config)
    for name, value in overrides.items():
        part, field = name.split(".", 1) if "." in name else ("", name)
        if part != "data" and name != "evaluate.latent":
            raise InputError(
                f"--config.{name} cannot be changed with --mode=eval: only config.data.* and "
                f"config.evaluate.latent can be changed, the rest comes from {folder}"
            )
        trained[part][field] = value
    limits.check(trained)
    stem = pathlib.Path(trained.data.path).stem or trained.data.source
    latent = [overrides["evaluate.latent"]] if "evaluate.latent" in overrides else []
    report_folder = folder / "-".join(["eval", stem, *latent])
    data = inputs.load_data(trained, needed=(trained.data.split,))
    scored = _scored(trained, data)
    parallel.first_process_first(lambda: document.check(report_folder, scored))
    inputs.check_fits(trained, data, run)
    masks_folder = None if export_masks is None else pathlib.Path(export_masks).expanduser()
    if masks_folder is not None:
        parallel.first_process_first(lambda: exported_masks.check(masks_folder))
    _report(trained, folder, report_folder, data)
    if masks_folder is not None:
        _, params, second = stages.read_stages(folder, run)
        styles = inputs.style_names(run.prompts, data.raters)
        exported_masks.write(masks_folder, trained, params, second, data, styles=styles)
        _LOG.info("masks: %s", masks_folder)
    return report_folder


def _report(config: Config, folder: pathlib.Path, report_folder: pathlib.Path, data: Data) -> None:
    """Scores the best checkpoints of the workdir on config.data.split and writes the report."""
    start = time.monotonic()
    run = workdir.read(folder)
    split, samples = config.data.split, config.evaluate.samples
    one, two = stages.stage_one_folder(folder, run), folder / "stage_two"
    best, params, second = stages.read_stages(folder, run)
    result = predictions.score_stage_one(config, params, data, split, samples=samples)
    of_volumes = volumes.score(config, params, second, data, split, samples=samples)
    rows = list(result.rows)
    if second is not None:
        rows += predictions.score_prompts(config, params, second, data, split)
    chosen = scoring.spread_by_score(result.rows, config.evaluate.panels)
    panels = _panels(config, params, second, data, np.array(chosen, np.int64))
    styled = _styled(config, params, second, data, run, rows, panels, chosen)
    language = None
    # Workdirs from before this field have none.
    if second is not None and config.prompts.get("probe") and run.prompts is not None and chosen:
        shown = chosen[len(chosen) // 2]
        language = probing.of_run(folder, run, config, params, second, data, shown)
    explored = latent_traits.of_run(config, params, data, chosen, panels)
    carded = second and card_scores.of_run(config, params, second, data, run.prompts)
    if jax.process_index() > 0:
        return
    evaluated = summary.Evaluated(
        title=title(config, simulated=data.dataset.simulated),
        rows=[inputs.with_ids(row, data.dataset) for row in rows],
        history={
            "stage one": monitor.read_history(one),
            "stage two": monitor.read_history(two),
        },
        latent_kl=result.latent_kl,
        bins=result.bins,
        explored=explored,
        panels=panels,
        provenance=provenance.describe()
        | {
            "checkpoint": checkpoint(best, second),
            "temperature_of_the_prior": temperature.read(one),
            "seed": config.seed,
            "training_seconds": round(sum(monitor.training_seconds(stage) for stage in (one, two))),
            "scoring_seconds": round(time.monotonic() - start),
            "training_data_sha256": run.data_digest,
            "config": config.to_dict(),
        },
        data=_scored(config, data),
        described=inputs.describe(config, data, run),
        caveats=[*inputs.caveats(config, data, run), *stages.unfinished(folder, run)],
        citation=data.dataset.citation,
        samples=samples,
        raters=data.raters,
        styled=styled,
        language=language,
        carded=carded,
        by_area=config.data.raters == "by_area",
        bootstrap=config.evaluate.bootstrap,
        volumes=_volumes(config, of_volumes, styled),
    )
    summary.write_report(report_folder, evaluated)
    _LOG.info("report: %s", report_folder / "report.html")


def _volumes(config: Config, rows: list[scoring.Row], styled: Styled | None) -> Volumes | None:
    """Returns the report's part about volumes, None without any."""
    latent = config.evaluate.get("latent", "draw")  # workdirs from before this field have none
    return Volumes(rows, latent, styled.names if styled else []) if rows else None


def checkpoint(step: int, second: predictions.StageTwo | None) -> str:
    """Returns which checkpoints a report scores, in words; `step` is stage one's."""
    words = f"stage one: step {step}, lowest validation GED"
    if second is None:
        return words
    return f"{words}; stage two: step {second.step}, highest validation dice_mean"


def _scored(config: Config, data: Data) -> dict[str, Any]:
    """Returns the split and the data set that the scores of a report cover."""
    return {"split": config.data.split, "data_set": data.dataset.fingerprint}


def _panels(
    config: Config,
    params: Params,
    second: predictions.StageTwo | None,
    data: Data,
    chosen: np.ndarray,
) -> list[Panel]:
    """Returns a panel of each chosen record; every process predicts all, so the first has them."""
    predict = functools.partial(predictions.predict_stage_one, config, params, data, chosen)
    sampled = predict(samples=config.evaluate.samples, drawn=True)
    probs = [p for _, prediction in sampled for p in np.asarray(prediction.probs)]
    drawn: list[Any] = [None] * len(chosen)
    if second is not None:
        prompted = predictions.predict_stage_two(
            config, params, second, data, chosen, prompts_of=("mean",), drawn=True
        )
        drawn = [p for _, (found,) in prompted for p in np.asarray(found.probs)[:, 0]]
    return [
        _panel(data.dataset[index], *both)
        for index, *both in zip(chosen, probs, drawn, strict=True)
    ]


def title(config: Config, *, simulated: bool) -> str:
    """Returns the title of a report: the method that the config trains, and its data."""
    data = (config.data.path and pathlib.Path(config.data.path).stem) or config.data.source
    note = " (simulated images)" if simulated else ""
    return f"{second_stages.of(config).title} on {data}{note}"


def _styled(
    config: Config,
    params: Params,
    second: predictions.StageTwo | None,
    data: Data,
    run: workdir.Run,
    rows: Sequence[scoring.Row],
    panels: Sequence[Panel],
    chosen: Sequence[int],
) -> Styled | None:
    """Returns the report's part about the styles; its walk is on the record of the middle panel.

    The walk starts at the style with the smallest mean area and ends at the one with the largest.
    """
    if second is None:
        return None
    styles = run.prompts["styles"] if run.prompts else []
    own = [row for row in rows if row["method"] == "prompts_mean"]
    areas = [np.nanmean([row[f"area_{k}"] for row in own]) for k in range(1, run.raters + 1)]
    order = np.argsort(areas, kind="stable").tolist()
    middle = np.array(chosen[len(chosen) // 2 :][:1], np.int64)
    walks = predictions.walk_between_styles(
        config, params, second, data, middle,
        order=order, points=_WALK_POINTS, samples=_PLANE_SAMPLES,
    )  # fmt: skip
    parts = [np.asarray(x)[0] for _, walk in walks for x in walk]
    nothing = np.zeros((0, 0), np.float32)
    probs, *latents = parts or [np.zeros((0, 0, 0), np.float32), *[nothing] * 4]
    return Styled(
        inputs.style_names(run.prompts, run.raters),
        [style["train"][0] for style in styles],
        config.data.raters == "by_area",
        predictions.tolerance_mm(config),
        order,
        panels[len(chosen) // 2] if chosen else None,
        probs,
        *latents,
    )


def _panel(record: Record, samples: np.ndarray, prompted: np.ndarray | None) -> Panel:
    return Panel(
        record_id=record.record_id,
        image=record.image[..., 0],
        masks=record.masks,
        rater_valid=record.rater_valid,
        probs=samples,
        prompted=prompted,
        spacing_mm=record.spacing_mm,
    )
