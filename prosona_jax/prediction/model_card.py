"""The model card, README.md of a model folder: what the model is, and how far to trust it."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import yaml

from prosona_jax import __version__
from prosona_jax.evaluation.catalogue import METRICS, STYLE_METRICS, Metric, named
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.probe import Score
from prosona_jax.experiments import inputs, second_stages
from prosona_jax.prediction import package
from prosona_jax.prediction.trained import Trained
from prosona_jax.report import document, language_summary, style_summary
from prosona_jax.report.document import Block, Document, Section, Table, Text
from prosona_jax.runtime.workdir import Run
from prosona_jax.text import prompts

_TAGS = ["jax", "medical", "image-segmentation", "uncertainty", "inter-rater-variability"]
_INTENDED = (
    "Research on how people who outline the same object differ. The model is no medical device: no "
    "diagnosis and no treatment may depend on its outlines."
)
_SENTENCES = 3  # shown of each style
_SAMPLED = named(METRICS, "ged", "dice_match")
_STYLED = named(STYLE_METRICS, "dice_mean", "ged", "ordered", "own_best")
_PROMPTS = {
    "prompts_mean": "Each style's own contour",
    "prompts_train": "Training sentences",
    "prompts_held_out": "Held-out sentences",
}


def write(
    model: Trained, report: Mapping[str, Any] | None, *, license: str, data_license: str
) -> str:
    """Returns the model card in Markdown, with the hub's fields at its start.

    Args:
        model: the model.
        report: content of its report.json; None if it was not evaluated.
        license: the model's licence, "" if none is stated.
        data_license: name and licence of the training data, "" if they are not known.
    """
    run, config = model.run, ml_collections.ConfigDict(model.run.config)
    method = second_stages.of(config).title
    front = {"library_name": "prosona_jax", "pipeline_tag": "image-segmentation", "tags": _TAGS}
    front |= {"license": license} if license else {}
    caveats = model.caveats()
    if report:
        # Only the claims: the explanations may name a patient.
        more = [each for each in report["caveats"] if each not in caveats]
        caveats += [f"{each.partition(': ')[0].rstrip('.')}." for each in more]
    page = Document(
        title=f"{method}: outlines in {run.raters} styles" if model.second else method,
        subtitle="A model of prosona_jax, which outlines an object on an image. " + _how(model),
        warnings=caveats,
        sections=[
            _use(model),
            Section("Intended use", [Text(_INTENDED)]),
            _data(run, report),
            _training(model, config, report),
            _results(run, report),
            _styles(model, config),
            _limits(model, config),
            _licence(license, data_license),
        ],
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{document.markdown(page)}"


def _how(model: Trained) -> str:
    if model.run.prompts:
        return "Raters disagree on the outline, and a sentence says how to draw it."
    if model.second:
        return "Raters disagree on the outline, and the name of a style says how to draw it."
    return "Raters disagree on the outline, and the model draws plausible ones at random."


def _use(model: Trained) -> Section:
    call, arguments, shell = "sample", "image, 16", "--samples=16"
    if model.run.prompts:
        sentence = model.run.prompts["styles"][0]["train"][0]
        call, arguments = "segment", f"image, {sentence!r}"
        shell = f"--prompt={shlex.quote(sentence)}"
    elif model.second:
        call, arguments, shell = "segment", 'image, style="style 1"', '--style="style 1"'
    return Section(
        "Use",
        [
            Text(
                "FOLDER is this folder, or the model's name on the Hugging Face hub. In Python, "
                'after `import prosona_jax as pj` and `image = pj.read_image("crop.png")`:'
            ),
            Text(f'`pj.load("FOLDER").{call}({arguments})`'),
            Text("In a shell:"),
            Text(
                "`python -m prosona_jax.predict --model=FOLDER --image=crop.png --output=out "
                f"{shell}`"
            ),
        ],
    )


def _data(run: Run, report: Mapping[str, Any] | None) -> Section:
    data = run.config["data"]
    sizes = "unknown"
    if run.native_spacing_mm:
        sizes = " to ".join("x".join(f"{mm:g}" for mm in each) for each in run.native_spacing_mm)
        sizes += " mm"
    counts = {split: [f"{len(ids)} patients"] for split, ids in run.patients.items()}
    for split, count in (run.records or {}).items():
        counts[split].append(f"{count} records")
    unit = run.intensity_unit
    if run.windowed_by_volume:
        low, high = data["percentiles"]
        unit += f", clipped at the percentiles {low:g} and {high:g} of the whole volume"
    facts = {
        **{split: ", ".join(words) for split, words in counts.items()},
        "raters": str(run.raters),
        "images": "simulated: rendered from known shapes"
        if run.simulated
        else "real; the data set does not declare them simulated",
        "unit of the values": unit,
        "size of a pixel": sizes,
        "resampled to": f"{data['spacing_mm']:g} mm"
        if data["spacing_mm"] and run.native_spacing_mm
        else "not resampled",
        "the model's input": f"{data['size']}x{data['size']} pixels; channels: {run.channels}",
        "SHA-256 of the prepared data": run.data_digest,
    }
    if report and report["citation"]:
        facts["citation"] = report["citation"]
    return Section("Data", [_table(facts)])


def _training(
    model: Trained, config: ml_collections.ConfigDict, report: Mapping[str, Any] | None
) -> Section:
    run, steps = model.run, model.steps()
    facts = {"stage one": f"{config.steps} steps; the best, {steps['stage_one']}, is used"}
    if model.second:
        facts["stage two"] = (
            f"{config.stage_two.steps} steps; the best, {steps['stage_two']}, is used"
        )
    facts["seed"] = str(config.seed)
    commit = report["provenance"]["commit"] if report else None
    facts["commit at the evaluation"] = commit or "unknown"
    facts["exported by"] = f"prosona_jax {__version__}"
    params = [model.stage_one, *([model.second.params] if model.second else [])]
    facts["parameters"] = str(sum(x.size for x in jax.tree.leaves(params)))
    facts["precision"] = package.PRECISION
    if run.prompts:
        encoder = run.prompts["encoder"]
        ways = {"degree_reader": "by degree", "habit_reader": "by habits"}
        found = [words for name, words in ways.items() if name in encoder]
        facts["sentences are read"] = found[0] if found else "by embedding"
        facts["text encoder"] = f"{encoder['name']}, digest {encoder['digest']}"
    return Section("Training", [_table(facts)])


def _results(run: Run, report: Mapping[str, Any] | None) -> Section:
    if report is None:
        return Section(
            "Results", [Text("This model was not evaluated: its workdir has no report.")]
        )
    note = (
        f"Means over {report['records']} records of {report['patients']} patients of the split "
        f"“{report['data']['split']}”. In brackets: 95 % intervals by bootstrap over patients. "
        "Dice is given in points: 100 is perfect. The model was scored before its large arrays "
        "were rounded to float16."
    )
    blocks: list[Block] = [Text(note)]
    if styles := report["styles"]:
        known = {title: styles[name] for name, title in _PROMPTS.items() if styles[name]}
        blocks.append(_scores(_STYLED, run.raters, known))
    samples = {f"{report['samples']} samples": report["metrics"]}
    blocks.append(_scores(_SAMPLED, report["samples"], samples))
    blocks.append(Table(("Metric", "Meaning"), _meanings(run, report), "ll"))
    if report["language"]:
        scores = [
            Score._make(_known(score[name]) for name in Score._fields)
            for score in report["language"]
        ]
        blocks += [
            Text(
                "Test sentences whose authors saw no training sentence, by category. Rank "
                "correlation: of the drawn area and the asked degree. AUROC: of telling sentences "
                "that cannot be answered. In brackets: 95 % intervals over sentences."
            ),
            language_summary.table(scores),
        ]
    return Section("Results", blocks)


def _scores(metrics: Sequence[Metric], count: int, columns: Mapping[str, Any]) -> Table:
    """Returns a table of the metrics that were measured, one column for each of `columns`."""
    rows = [
        (
            metric.label(count),
            metric.better,
            *(metric.cell(_interval(of.get(metric.name))) for of in columns.values()),
        )
        for metric in metrics
        if any(metric.name in of for of in columns.values())
    ]
    return Table(("Metric", "Better", *columns), rows, "ll" + "r" * len(columns))


def _known(stored: Any) -> Any:
    """Returns what report.json has of a sentence's score: null is NaN, a list an interval."""
    if isinstance(stored, list):
        return Interval(*map(_known, stored))
    return math.nan if stored is None else stored


def _interval(stored: Mapping[str, Any] | None) -> Interval | None:
    return None if stored is None else Interval(**stored)


def _meanings(run: Run, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the metrics that the tables show, with their meanings."""
    styled = report["styles"].get("prompts_mean", {})
    return [(m.label(run.raters), m.meaning) for m in _STYLED if m.name in styled] + [
        (m.label(report["samples"]), m.meaning) for m in _SAMPLED if m.name in report["metrics"]
    ]


def _styles(model: Trained, config: ml_collections.ConfigDict) -> Section:
    if model.second is None:
        return Section("Styles", [Text("The model has no styles.")])
    run = model.run
    meaning = Text(style_summary.meaning(config.data.raters == "by_area"))
    if run.prompts is None:
        names = ", ".join(inputs.style_names(None, run.raters))
        return Section("Styles", [meaning, Text(f"Their names: {names}.")])
    styles = run.prompts["styles"]
    rows = [
        (name, " ".join(f"“{text}”" for text in styles[places[0]]["train"][:_SENTENCES]))
        for name, places in prompts.cards(styles).items()
    ]
    return Section("Styles", [meaning, Table(("Style", "Three of its sentences"), rows, "ll")])


def _limits(model: Trained, config: ml_collections.ConfigDict) -> Section:
    object_size = f"{config.data.size}x{config.data.size} pixels"
    texts = [
        f"It draws one object, on {object_size} around a point that the user names.",
        "It knows only images like those of the table above. Images in another unit or of another "
        "pixel size get a caveat, which each result repeats.",
    ]
    if model.in_distribution:
        texts.append(
            "Where the image around the point is unlike the training images, a caveat says so. It "
            "finds most wrong points, such as one beside the object, but not all of them."
        )
    if model.run.prompts:
        texts.append(
            "A sentence can only ask for what the raters of the training data drew. What was "
            "understood of it is said with each outline."
        )
    return Section("Limits", [Text(" ".join(texts))])


def _licence(license: str, data_license: str) -> Section:
    facts = {
        "model": license or "not stated",
        "training data": data_license
        or "not stated: who publishes this model must add the licence and the citation of the data",
    }
    return Section("Licence", [_table(facts)])


def _table(facts: Mapping[str, str]) -> Table:
    return Table(("Item", "Value"), list(facts.items()), "ll")
