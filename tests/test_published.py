"""The README's tables say what the scores say that are published with them."""

import csv
import gzip
import pathlib

import pytest

from configs import lidc
from data_pipelines import splits
from prosona_jax.catalogue import METRICS, STYLE_METRICS, named
from prosona_jax.results import differences, means, pool, share

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCORES = ROOT / "docs" / "results" / "lidc_crops64"
TEXT = {"run", "method", "commit", "record_id", "patient_id", "fold", "seed"}
BOOTSTRAP = lidc.get_config("crops64").evaluate.bootstrap
DICE, GED, ORDERED = named(STYLE_METRICS, "dice_mean", "ged", "ordered")
HELD_OUT = ", held-out sentences"
LINES = {
    "`dpersona`, its mechanism whole": "dpersona",
    "`dpersona_id`, a learned vector per style there": "dpersona_id",
    "`dpersona_heads`, its heads on ProSona's stage one": "dpersona_heads",
    "`expert_id`, a learned vector per style there": "expert_id",
    "`prosona`": "prosona",
    "`prosona`, held-out sentences, each alone": f"prosona{HELD_OUT}",
}


@pytest.fixture(scope="module")
def readme():
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def rows():
    found = []
    for path in sorted(SCORES.glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            found += csv.DictReader(file)
    return [
        {name: x if name in TEXT else float(x or "nan") for name, x in row.items()} for row in found
    ]


@pytest.fixture(scope="module")
def styled(rows):
    return pool(rows, {"prompts_mean": "", "prompts_held_out": HELD_OUT})


def _cell(metric, interval, *, sign=False):
    """As the README writes it: .162 [.145, .181]."""
    said = metric.cell(interval, sign=sign).replace("\N{NO-BREAK SPACE}", " ").replace("−", "-")
    return said if metric.points else said.replace("0.", ".")


@pytest.mark.parametrize("method", LINES)
def test_methods_on_lungs(styled, readme, method):
    label = LINES[method]
    own = means(styled, label, (DICE, GED, ORDERED), BOOTSTRAP)
    ordered = DICE.number(own["ordered"].mean).removesuffix(".0")
    cells = [method, _cell(DICE, own["dice_mean"]), _cell(GED, own["ged"]), ordered]
    if label == "dpersona":
        cells += ["", ""]
    else:
        gain = differences(styled, label, "dpersona", (DICE, GED), BOOTSTRAP)
        cells += [_cell(metric, gain[metric.name], sign=True) for metric in (DICE, GED)]
    assert " ".join(f"| {' | '.join(cells)} |".split()) in readme


def test_what_the_text_says_of_lungs(rows, styled, readme):
    patients = {row["record_id"]: row["patient_id"] for row in rows}
    part = share(styled, "prosona", "dpersona", GED, BOOTSTRAP)
    low, high = sorted(-100 * limit for limit in (part.low, part.high))
    beyond = differences(styled, "prosona", "expert_id", (DICE, GED), BOOTSTRAP)
    sampled = pool(rows, {"samples@50": ""})
    diverse = [means(sampled, x, METRICS, BOOTSTRAP)["ged"] for x in ("prob_unet", "dpersona")]
    claims = (
        f"{len(patients)} nodules of {len({*patients.values()})} patients, one seed",
        f"falls by {-100 * part.mean:.1f} % [{low:.1f}, {high:.1f}]",
        f"{_cell(DICE, beyond['dice_mean'], sign=True)} points of Dice",
        f"{_cell(GED, beyond['ged'], sign=True)} of GED@4",
        f"(GED@50 {_cell(GED, diverse[0])} against {_cell(GED, diverse[1])})",
    )
    assert [claim for claim in claims if claim not in readme] == []


def test_the_difference_without_the_patients_on_whom_all_was_chosen(styled, readme):
    """Those of fold 0's validation, who are test patients of other folds."""
    c, patients = lidc.get_config("crops64").data, sorted({row["patient_id"] for row in styled})
    parts = splits.assign(
        patients,
        [""] * len(patients),
        folds=c.folds,
        fold=0,
        validation_share=c.validation_share,
        needed=(),
    )
    known = {patients[place] for place in parts["validation"]}
    others = [row for row in styled if row["patient_id"] not in known]
    count = len({row["record_id"] for row in styled}) - len({row["record_id"] for row in others})
    gain = differences(others, "prosona", "dpersona", (DICE, GED), BOOTSTRAP)
    assert known
    assert (
        f"Without the {count} records of patients on whom it was: "
        f"{_cell(GED, gain['ged'], sign=True)} and {_cell(DICE, gain['dice_mean'], sign=True)}."
    ) in readme
