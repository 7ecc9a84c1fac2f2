"""A comparison of methods whose scores are artificial, and what its report says.

Each method has a base, to which each further record adds .02 and each further seed .1. A mean over
two seeds and four records is therefore .08 above the base.
"""

import itertools
import json

import numpy as np
import pytest

from prosona_jax.evaluation import intervals
from prosona_jax.evaluation.catalogue import CONTOUR_METRICS, METRICS, STYLE_METRICS
from prosona_jax.report import comparison

RECORDS = {"r0": "p1", "r1": "p1", "r2": "p2", "r3": "p3"}  # record: its patient
FOLDS = {"p1": 0, "p2": 0, "p3": 1}
STYLED = [metric.name for metric in STYLE_METRICS]
OF_SENTENCES = STYLED[: -len(CONTOUR_METRICS)]  # only styles' own contours are measured in mm
SAMPLED = [metric.name for metric in METRICS]
DIVERSE = {"prob_unet": 0.3, "dpersona": 0.35, "dpersona_heads": 0.3, "prosona": 0.3}
PERSONAL = {
    "dpersona": {"prompts_mean": 0.4},
    "dpersona_heads": {"prompts_mean": 0.42},
    "prosona": {"prompts_mean": 0.3, "prompts_held_out": 0.36},
}
METHODS = {
    "prob_unet": {"stage_two.query": "none", "stage_two.latent": 0.0},
    "dpersona": {"stage_two.query": "heads", "stage_two.tau": 6**-0.5},
    "dpersona_heads": {"stage_two.query": "heads"},
    "prosona": {},
}
NAMES = ["core", "snug", "edge", "margin"]
TABLE = {f"dice_{i}_{j}": 0.1 * i + 0.01 * j for i in range(1, 5) for j in range(1, 5)}
CAVEAT = "CT simulated: it is rendered from the contours."
CITATION = "Armato et al. 2011"


def scored(*methods, seeds=(0, 1)):
    """Returns the rows of these methods, or of all."""
    rows = []
    for method in methods or METHODS:
        kinds = {"samples@50": (DIVERSE[method], SAMPLED), "samples@4": (0.5, SAMPLED)}
        kinds |= {
            kind: (base, STYLED if kind == "prompts_mean" else OF_SENTENCES)
            for kind, base in PERSONAL.get(method, {}).items()
        }
        rows += [
            {"record_id": record, "patient_id": patient, "method": kind}
            | dict.fromkeys(names, base + 0.02 * i + 0.1 * seed)
            | ({"undefined": 2 * (record == "r3")} if kind == "prompts_mean" else {})
            | {name: x + base + 0.02 * i + 0.1 * seed for name, x in TABLE.items()}
            | {"run": method, "fold": FOLDS[patient], "seed": seed, "commit": "abc"}
            for seed in seeds
            for kind, (base, names) in kinds.items()
            for i, (record, patient) in enumerate(RECORDS.items())
        ]
    return rows


def write(folder, **changes):
    """Writes a report with some arguments changed, returns report.json's content and report.md."""
    given = {
        "rows": scored(),
        "methods": METHODS,
        "samples": 50,
        "styles": NAMES,
        "by_area": True,
        "tolerance_mm": 1.0,
        "bootstrap": 200,
        "caveats": [CAVEAT],
        "citation": CITATION,
        "provenance": {"seeds": [0, 1], "data_set": {"records": 4}, "config": {"steps": 12}},
    }
    content = comparison.write_report(folder / "report", comparison.Compared(**(given | changes)))
    assert json.loads((folder / "report" / "report.json").read_text()) == content
    return content, (folder / "report" / "report.md").read_text()


def mean_of(values):
    """Returns what report.json holds for these values of the first records."""
    patients = list(RECORDS.values())[: len(values)]
    interval = intervals.bootstrap_mean(np.array(values), patients, resamples=200, seed=0)
    return pytest.approx(interval._asdict(), abs=1e-12)


def table_in(text, heading):
    """Returns a section's first table as {first cell: other cells}, with its header as one row."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    start = next(number for number, line in enumerate(section) if line.startswith("| "))
    lines = itertools.takewhile(lambda line: line.startswith("|"), section[start:])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells if first != "---"}


def headings_in(text):
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
