"""Comparisons that are refused before anything is trained."""

import pytest

from configs.methods import METHODS
from tests.comparing import FIELDS, compare, refusal
from tests.programs import PATIENTS, end, write_discs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    write_discs(folder / "discs.npz", PATIENTS, seed=0)
    return folder


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"methods": ["prosona", "unet"]},
            "--methods: 'unet' is unknown; choose from prob_unet, dpersona, dpersona_heads, "
            "dpersona_id, expert_id, prosona, consensus, branches, unet_per_rater, pionono",
        ),
        (
            {"methods": ["prosona", "expert_id", "prosona"]},
            "--methods: prosona is named more than once; name it once",
        ),
        (
            {"methods": ["prosona"], "fields": FIELDS | METHODS["expert_id"]},
            "--methods: prosona is the config as it is, but config.stage_two.query is 'id' and "
            "reads no text; set it to 'text' or 'habits'",
        ),
        ({"folds": [0, 2]}, "data.fold=2 of data.folds=2: choose 0 <= fold < folds"),
    ],
)
def test_a_refused_comparison_leaves_no_files(folder, asked, said):
    assert refusal(folder, "never", **asked) == said
    assert not (folder / "never").exists()


def test_a_tested_site_has_one_fold(folder):
    said = refusal(folder, "never", fields=FIELDS | {"data.test_site": "north"})
    assert said == (
        "--folds: 1, but config.data.test_site is 'north', and the patients of a site are one test "
        "set; leave --folds out"
    )
    said = refusal(folder, "never", folds=None, fields=FIELDS | {"data.test_site": "north"})
    assert said.startswith("data.test_site='north': no record is of this site")
    assert not (folder / "never").exists()


def test_the_program_refuses_in_one_line(folder):
    asked = {
        "--seeds=0,one": "--seeds=0,one: give whole numbers from 0, e.g. 0,1,2",
        "--seeds=0,00": "--seeds: 0 is named more than once; name it once",
        "--folds=": "--folds is empty; name at least one",
    }
    started = {flag: compare(folder, "never", flag) for flag in asked}
    for flag, said in asked.items():
        assert end(started[flag], status=2).strip().splitlines()[-1] == said
    assert not (folder / "never").exists()


def test_a_foreign_file_in_the_report_is_named_before_anything_is_trained(folder):
    notes = folder / "noted" / "report" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    said = refusal(folder, "noted", ["prob_unet"])
    assert said.startswith(f"{notes.parent}: 'notes.txt' is not part of a report")
    assert notes.read_text() == "mine"
    assert not list((folder / "noted").glob("fold*"))
