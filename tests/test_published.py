"""The pages of results and of the protocol and the README say what the published scores say."""

import pathlib

import numpy as np
import pytest

from benchmarks import records
from configs import lidc
from data_pipelines import splits
from prosona_jax.evaluation import probe
from prosona_jax.evaluation.catalogue import LEAVE_ONE_OUT, METRICS, RETRIEVAL, STYLE_METRICS, named
from prosona_jax.evaluation.results import (
    HELD_OUT,
    TRAINED,
    collect,
    collect_styles,
    differences,
    means,
    pool,
    share,
)
from prosona_jax.text import degrees

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = {"run", "method", "commit", "record_id", "patient_id", "fold", "seed"}
BOOTSTRAP = lidc.get_config("crops64").evaluate.bootstrap
DICE, GED, ORDERED = named(STYLE_METRICS, "dice_mean", "ged", "ordered")
BOTH = DICE, GED
DPERSONAS = named(METRICS, "ged_dpersona", "dice_soft", "dice_max_samples_per_rater", "dice_match")
LINES = {
    "`dpersona`, its mechanism whole": "dpersona",
    "`dpersona_id`, a learned vector per style there": "dpersona_id",
    "`dpersona_heads`, its heads on ProSona's stage one": "dpersona_heads",
    "`expert_id`, a learned vector per style there": "expert_id",
    "`prosona`, mean query of a style's sentences": "prosona",
    "`prosona`, training sentences, each alone": f"prosona{TRAINED}",
    "`prosona`, held-out sentences, each alone": f"prosona{HELD_OUT}",
}
STEPS = {
    "heads on ProSona's first stage, not D-Persona's": ("dpersona_heads", "dpersona"),
    "a learned vector on ProSona's first stage, not D-Persona's": ("expert_id", "dpersona_id"),
    "a learned vector, not heads, on D-Persona's first stage": ("dpersona_id", "dpersona"),
    "a learned vector, not heads, on ProSona's first stage": ("expert_id", "dpersona_heads"),
    "`prosona`, mean query, not a learned vector": ("prosona", "expert_id"),
    "`prosona`, a training sentence, not a learned vector": (f"prosona{TRAINED}", "expert_id"),
    "`prosona`, mean query, not `dpersona_heads`": ("prosona", "dpersona_heads"),
    "`prosona`, a training sentence, not `dpersona_heads`": (
        f"prosona{TRAINED}",
        "dpersona_heads",
    ),
    "a held-out sentence, not a training one": (f"prosona{HELD_OUT}", f"prosona{TRAINED}"),
}
SAMPLES = {
    "GED@50 (two empty masks: d = 0)": "ged",
    "GED@50 (D-Persona's convention)": "ged_dpersona",
    "Dice, matched": "dice_match",
    "Dice, soft": "dice_soft",
    "Dice, best sample for each rater": "dice_max_samples_per_rater",
    "Dice, best rater for each sample": "dice_max_raters_per_sample",
}
STYLES = {
    "Dice with the style's own rater": "dice_mean",
    "the same, prompts shuffled": "dice_others",
    "GED@4": "ged",
    "areas in order, % of images": "ordered",
    "rank correlation of area and style": "rank_correlation",
}


def _text(page):
    return " ".join((ROOT / page).read_text(encoding="utf-8").replace("*", "").split())


@pytest.fixture(scope="module")
def results():
    return _text("docs/results.md")


@pytest.fixture(scope="module")
def protocol():
    return _text("docs/protocol.md")


def _read(scores):
    return [
        {name: x if name in TEXT else float(x or "nan") for name, x in row.items()}
        for row in records.rows(scores)
    ]


@pytest.fixture(scope="module")
def main_run():
    return _read("lidc_crops64_main")


@pytest.fixture(scope="module")
def rows():
    return _read("lidc_crops64")


@pytest.fixture(scope="module")
def styled(rows):
    suffixes = {"prompts_mean": "", "prompts_train": TRAINED, "prompts_held_out": HELD_OUT}
    return pool(rows, suffixes)


@pytest.fixture(scope="module")
def both():
    """Sentences by degree, "degrees", and by embedding, "embedding", on the same first stages."""
    suffixes = {"prompts_mean": "", "prompts_train": TRAINED, "prompts_held_out": HELD_OUT}
    return pool(_read("lidc_crops64_degrees"), suffixes)


def _cell(metric, interval, *, sign=False):
    """As the README writes it: .162 [.145, .181]."""
    said = metric.cell(interval, sign=sign).replace("\N{NO-BREAK SPACE}", " ").replace("−", "-")
    return said if metric.points else said.replace("0.", ".")


def _line(*cells):
    return " ".join(f"| {' | '.join(cells)} |".split())


def test_samples_of_the_main_run(main_run, results):
    found = collect(main_run, bootstrap=BOOTSTRAP)
    lines = []
    for label, name in SAMPLES.items():
        (metric,) = named(METRICS, name)
        columns = found.samples, found.prior_mean
        cells = [_cell(metric, column[name]) for column in columns]
        lines.append(_line(label, *cells, _cell(metric, found.difference[name], sign=True)))
    (dice,) = named(LEAVE_ONE_OUT, "loo_dice")
    rater, sample = (_cell(dice, found.leave_one_out[x]["loo_dice"]) for x in ("raters", "samples"))
    lines.append(f"one rater has a mean Dice of {rater} and one sample {sample}")
    assert [line for line in lines if line not in results] == []


def test_prompts_of_the_main_run(main_run, results):
    found = collect_styles(main_run, styles=4, bootstrap=BOOTSTRAP)
    lines = []
    for label, name in STYLES.items():
        (metric,) = named(STYLE_METRICS, name)
        columns = found.styles, found.trained, found.held_out
        cells = [_cell(metric, column[name]) for column in columns]
        lines.append(_line(label, *cells, _cell(metric, found.difference[name], sign=True)))
    latent, features = named(RETRIEVAL, "latent_text_to_visual", "visual_text_to_visual")
    known, new = (
        [f"{100 * column[metric.name].mean:.0f} %" for metric in (latent, features)]
        for column in (found.trained, found.held_out)
    )
    lines.append(
        f"A training sentence finds its rater's latent in {known[0]} of all cases and its rater's "
        f"features in {known[1]}. A held-out sentence finds them in {new[0]} and {new[1]}."
    )
    assert [line for line in lines if line not in results] == []


def _gain(rows, method, base):
    found = differences(rows, method, base, BOTH, BOOTSTRAP)
    return [_cell(metric, found[metric.name], sign=True) for metric in BOTH]


def _less(rows, method, base):
    """As the README writes that GED is lower: 14.5 % [11.0, 17.6]."""
    part = share(rows, method, base, GED, BOOTSTRAP)
    low, high = sorted(-100 * limit for limit in (part.low, part.high))
    return f"{-100 * part.mean:.1f} % [{low:.1f}, {high:.1f}]"


def test_methods_on_lungs(styled, results):
    lines = []
    for method, label in LINES.items():
        own = means(styled, label, (DICE, GED, ORDERED), BOOTSTRAP)
        ordered = DICE.number(own["ordered"].mean).removesuffix(".0")
        gain = ["", ""] if label == "dpersona" else _gain(styled, label, "dpersona")
        lines.append(
            _line(method, _cell(DICE, own["dice_mean"]), _cell(GED, own["ged"]), ordered, *gain)
        )
    assert [line for line in lines if line not in results] == []


def test_the_readme_repeats_the_results(styled, results):
    page = (ROOT / "README.md").read_text(encoding="utf-8").replace("*", "")
    rows = [line for line in page.splitlines() if "], 8" in line or "] | ." in line]
    assert len(rows) == len(LINES)
    assert [row for row in rows if " ".join(row.split()) not in results] == []
    dice = differences(styled, "prosona", "dpersona", (DICE,), BOOTSTRAP)["dice_mean"]
    ordered = means(styled, f"prosona{HELD_OUT}", (ORDERED,), BOOTSTRAP)["ordered"]
    claims = (
        f"GED@4 falls by {_less(styled, 'prosona', 'dpersona')} and Dice rises by "
        f"{_cell(DICE, dice)} points",
        f"only {DICE.number(ordered.mean)} % of the images have the areas of four new sentences",
    )
    assert [claim for claim in claims if claim not in " ".join(page.split())] == []


def test_where_the_gain_on_lungs_comes_from(styled, results):
    lines = [_line(step, *_gain(styled, *pair)) for step, pair in STEPS.items()]
    assert [line for line in lines if line not in results] == []


def test_what_the_text_says_of_lungs(rows, styled, results):
    patients = {row["record_id"]: row["patient_id"] for row in rows}
    dice = differences(styled, "prosona", "dpersona", (DICE,), BOOTSTRAP)["dice_mean"]
    shuffled = means(styled, "prosona", named(STYLE_METRICS, "dice_others"), BOOTSTRAP)
    sampled = pool(rows, {"samples@50": ""})
    ours, theirs = (means(sampled, x, METRICS, BOOTSTRAP)["ged"] for x in ("prob_unet", "dpersona"))
    apart = differences(sampled, "prob_unet", "dpersona", METRICS, BOOTSTRAP)
    (soft,) = named(METRICS, "dice_soft")
    claims = (
        f"{len(patients)} nodules of {len({*patients.values()})} patients, one seed",
        f"GED@4 falls by {_less(styled, 'prosona', 'dpersona')} and Dice rises by "
        f"{_cell(DICE, dice)} points",
        "single training sentences, GED@4 falls by "
        f"{_less(styled, f'prosona{TRAINED}', 'dpersona')}",
        f"Against `dpersona_heads`, GED@4 falls by {_less(styled, 'prosona', 'dpersona_heads')} "
        f"and {_less(styled, f'prosona{TRAINED}', 'dpersona_heads')}",
        f"Shuffled prompts have a Dice of {_cell(DICE, shuffled['dice_others'])}",
        f"GED@50 {_cell(GED, ours)} against {_cell(GED, theirs)}, difference "
        f"{_cell(GED, apart['ged'], sign=True)}",
        f"soft Dice {_cell(soft, apart['dice_soft'], sign=True)}",
    )
    assert [claim for claim in claims if claim not in results] == []


BY_DEGREE = {"styles": "", "training sentences": TRAINED, "held-out sentences": HELD_OUT}


def test_sentences_by_degree(both, results):
    metrics = DICE, GED, ORDERED
    lines = []
    for label, suffix in BY_DEGREE.items():
        own = means(both, f"degrees{suffix}", metrics, BOOTSTRAP)
        gain = differences(both, f"degrees{suffix}", f"embedding{suffix}", metrics, BOOTSTRAP)
        cells = [_cell(metric, own[metric.name]) for metric in metrics]
        cells += [_cell(metric, gain[metric.name], sign=True) for metric in metrics]
        lines.append(_line(label, *cells))
    lost = differences(both, f"degrees{HELD_OUT}", f"degrees{TRAINED}", (DICE,), BOOTSTRAP)
    lines.append(f"Its Dice differs by {_cell(DICE, lost['dice_mean'], sign=True)} points")
    assert [line for line in lines if line not in results] == []


def test_the_readme_says_what_reading_by_degree_gains(both):
    page = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ordered = means(both, f"degrees{HELD_OUT}", (ORDERED,), BOOTSTRAP)["ordered"]
    assert f"by its degree, and then it is {_cell(ORDERED, ordered)}" in page


def test_the_probe(results):
    """The table of the half that no model was chosen on, from what each sentence drew."""
    rows = records.rows("lidc_crops64_probe")
    frozen = [s for s in degrees.read(ROOT / "configs/prompts/probe") if s.half == "report"]
    assert [row["text"] for row in rows] == [sentence.text for sentence in frozen]
    asked, area, answerable = (
        np.array([float(row[name] or "nan") for row in rows])
        for name in ("degree", "log_area", "answerable")
    )
    np.testing.assert_array_equal(asked, [np.nan if s.degree is None else s.degree for s in frozen])
    lines = []
    for score in probe.scores([row["category"] for row in rows], asked, area, answerable):
        rank, auroc = (
            "" if np.isnan(x.mean) else f"{x.mean:.2f} [{x.low:.2f}, {x.high:.2f}]"
            for x in (score.spearman, score.auroc)
        )
        pairs = "" if np.isnan(score.pairs) else f"{100 * score.pairs:.0f}"
        lines.append(
            _line(score.category.replace("_", " "), str(score.sentences), rank, pairs, auroc)
        )
    assert [line for line in lines if line not in results] == []


def _of_fold_0(patients, *parts):
    """The patients whom fold 0 has in these parts."""
    c = lidc.get_config("crops64").data
    found = splits.assign(
        patients,
        [""] * len(patients),
        folds=c.folds,
        fold=0,
        validation_share=c.validation_share,
        needed=(),
    )
    return {patients[place] for part in parts for place in found[part]}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["validation"], "Without their {count} records, the differences are {ged} and "),
        (
            ["validation", "test"],
            "Without the records of both groups, {count} in total, the differences are {ged} and ",
        ),
    ],
)
def test_the_difference_without_patients_on_whom_something_was_chosen(styled, results, parts, said):
    """Those of fold 0's validation are test patients of other folds."""
    known = _of_fold_0(sorted({row["patient_id"] for row in styled}), *parts)
    others = [row for row in styled if row["patient_id"] not in known]
    count = len({row["record_id"] for row in styled}) - len({row["record_id"] for row in others})
    dice, ged = _gain(others, "prosona", "dpersona")
    assert known
    claim = f"{said.format(count=count, ged=ged)}{dice}"
    assert [claim for claim in [claim] if claim not in results] == []


def test_scores_by_dpersonas_definitions(rows, styled, protocol):
    sampled = pool(rows, {"samples@50": ""})
    cases = (
        ("S = 50: `prob_unet`, ProSona's stage one", sampled, "prob_unet"),
        ("S = 50: `dpersona`", sampled, "dpersona"),
        ("four styles: `prosona`", styled, "prosona"),
        ("four styles: `dpersona`", styled, "dpersona"),
    )
    lines = []
    for label, scored, method in cases:
        own = means(scored, method, DPERSONAS, BOOTSTRAP)
        lines.append(_line(label, *(_cell(metric, own[metric.name]) for metric in DPERSONAS)))
    apart = differences(styled, "prosona", "dpersona", DPERSONAS, BOOTSTRAP)
    cells = [_cell(metric, apart[metric.name], sign=True) for metric in DPERSONAS]
    lines.append(_line("four styles: `prosona` minus `dpersona`", *cells))
    dice = differences(styled, "prosona", "dpersona", (DICE,), BOOTSTRAP)["dice_mean"]
    lines.append(f"-{_less(styled, 'prosona', 'dpersona')}, +{_cell(DICE, dice)}:")
    assert [line for line in lines if line not in protocol] == []


@pytest.mark.parametrize("scores", records.TABLES)
def test_the_records_of_published_scores(scores, protocol):
    assert " ".join(records.summary(scores).split()) in protocol
