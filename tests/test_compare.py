"""Methods compared as a user does it: to the end, killed and resumed, refused.

Every run is a process of its own, on an npz of small made-up discs with the smoke config.
"""

import csv
import json
import shutil
import signal

import pytest

from configs import lidc
from configs.methods import METHODS
from data_pipelines import splits
from prosona_jax import checksum
from prosona_jax.evaluation.results import BASELINES
from prosona_jax.experiments import runs
from prosona_jax.prediction.loading import load
from prosona_jax.runtime import workdir
from prosona_jax.runtime.monitor import read_history
from prosona_jax.types import InputError
from tests.comparing import COMPARED, FIELDS, compare, refusal
from tests.programs import PATIENTS, end, start, wait_until, write_discs

RECORDS = [f"{patient}-nodule" for patient in PATIENTS]
INDICES = [
    splits.assign(PATIENTS, [""] * len(PATIENTS), folds=2, fold=fold, validation_share=0.3)
    for fold in range(2)
]
SAMPLED, STYLED = {"samples@6", "samples@4"}, {"prompts_mean"}
WORDED = {"prompts_train", "prompts_held_out"}
KINDS = {  # {method: kinds of its rows}
    "prob_unet": SAMPLED,
    "dpersona": SAMPLED | STYLED,
    "dpersona_heads": SAMPLED | STYLED,
    "dpersona_id": SAMPLED | STYLED,
    "expert_id": SAMPLED | STYLED,
    "prosona": SAMPLED | STYLED | WORDED,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    write_discs(folder / "discs.npz", PATIENTS, seed=0)
    write_discs(folder / "other.npz", PATIENTS, seed=1)
    return folder


def _scored(place):
    """Returns the time at which each finished method was scored, {"fold/method": time}."""
    found = (path for method in COMPARED for path in place.glob(f"fold*/{method}/rows.json"))
    return {str(path.parent.relative_to(place)): path.stat().st_mtime_ns for path in found}


def _stages_one(place, fold):
    """Returns the history and the time of scoring of each stage one, by name."""
    found = (place / f"fold{fold}-seed0").glob("stage_one-*")
    return {one.name: (read_history(one), (one / "rows.json").stat().st_mtime_ns) for one in found}


def _files_of_stages_one(place, fold):
    """Returns the content of every file of the stages one of a fold."""
    ones = (place / f"fold{fold}-seed0").glob("stage_one-*")
    return {path: path.read_bytes() for one in ones for path in one.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def both(folder):
    """Two workdirs: all methods without interruption; one fold of two methods, killed, and a third.

    At the same time, for a process that waits for another leaves a core idle.
    """
    whole, broken = folder / "whole", folder / "broken"
    moved = f"--config.data.path={shutil.copy(folder / 'discs.npz', folder / 'moved.npz')}"
    uninterrupted = compare(folder, "whole")
    killed = compare(folder, "broken", "--folds=0", "--methods=expert_id,prosona")
    history = broken / "fold0-seed0" / "prosona" / "stage_two"
    wait_until(killed, lambda: read_history(history))
    killed.kill()
    end(killed, status=-signal.SIGKILL)
    left = {
        "scored": _scored(broken),
        "stages one": _stages_one(broken, 0),
        "files": _files_of_stages_one(broken, 0),
        "report": (broken / "report").exists(),
    }
    end(compare(folder, "broken", "--folds=0", "--methods=prob_unet,expert_id,prosona", moved))
    end(uninterrupted)
    return whole, broken, left


def _rows(place):
    with (place / "report" / "rows.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_record_is_scored_once_per_method_by_a_model_that_never_saw_its_patient(both):
    whole, _, _ = both
    rows = _rows(whole)
    for method, kinds in KINDS.items():
        own = [row for row in rows if row["run"] == method]
        assert {row["method"] for row in own} == kinds
        for kind in kinds:
            assert sorted(row["record_id"] for row in own if row["method"] == kind) == RECORDS
    for fold, indices in enumerate(INDICES):
        tested = {row["patient_id"] for row in rows if row["fold"] == str(fold)}
        assert tested == {PATIENTS[i] for i in indices["test"]}
        for method in COMPARED:
            seen = workdir.read(whole / f"fold{fold}-seed0" / method).patients
            assert seen == {name: [PATIENTS[i] for i in part] for name, part in indices.items()}
            assert not tested.intersection(seen["train"], seen["validation"])


def test_training_second_stages_changes_no_byte_of_stage_one(both):
    """One second stage was finished, another half trained; then both were finished and scored."""
    _, broken, left = both
    assert any("checkpoints" in path.parts for path in left["files"])
    assert _files_of_stages_one(broken, 0) == left["files"]


def test_stage_one_is_trained_once_for_all_methods_that_share_it(both):
    """The stage one of D-Persona has another posterior and another loss."""
    whole, _, _ = both
    ones = [_stages_one(whole, fold) for fold in range(2)]
    assert not ones[0].keys() & ones[1].keys()
    for fold, found in enumerate(ones):
        place = whole / f"fold{fold}-seed0"
        assert {path.name for path in place.iterdir()} == {*COMPARED, *found, "lock"}
        assert len(found) == 2
        for history, _ in found.values():
            assert [row["step"] for row in history if row["split"] == "train"] == [1, 2]
        trained = {path.parent.name for path in place.glob("*/stage_two")}
        assert trained == {*COMPARED} - {"prob_unet"}
        rows = {m: json.loads((place / m / "rows.json").read_text())["rows"] for m in COMPARED}
        sampled = {m: [row for row in rows[m] if row["method"] in SAMPLED] for m in COMPARED}
        shares = {m for m in COMPARED if sampled[m] == sampled["prob_unet"]}
        assert shares == {"prob_unet", "dpersona_heads", "expert_id", "prosona"}


def test_the_report_pools_the_folds(both):
    whole, _, _ = both
    result = json.loads((whole / "report" / "report.json").read_text())
    assert (result["records"], result["patients"], result["seeds"]) == (24, 24, [0])
    assert result["provenance"]["folds"] == [0, 1]
    assert result["caveats"][0] == (  # 24 scored patients over both folds give no caveat
        "Few validation patients: fold 0 of 2 has 4 (4 records), fold 1 of 2 has 2 (2 records), so "
        "the checkpoint is chosen by chance; raise data.validation_share, or use more patients."
    )
    assert not any("scored" in caveat for caveat in result["caveats"])
    own = [row for row in _rows(whole) if (row["run"], row["method"]) == ("dpersona", "samples@6")]
    assert result["diversified"]["6"]["dpersona"]["ged"]["mean"] == pytest.approx(
        sum(float(row["ged"]) for row in own) / 24
    )
    assert set(result["differences"]) == {b for b in BASELINES if b.split(",")[0] in COMPARED}
    assert result["methods"]["expert_id"]["stage_two.query"] == "id"
    scaled = workdir.read(whole / "fold0-seed0" / "dpersona").config
    assert scaled["stage_two"]["tau"] * scaled["model"]["latent_dim"] ** 0.5 == pytest.approx(1)
    assert {row["commit"] or "unknown" for row in _rows(whole)} == {
        *result["provenance"]["scored_by"]
    }


def test_a_killed_comparison_is_continued(both):
    """The data have another path by then, and a further method is added."""
    whole, broken, left = both
    assert set(left["scored"]) == {"fold0-seed0/expert_id"}
    assert not left["report"]
    found = _scored(broken)
    methods = ("expert_id", "prob_unet", "prosona")
    assert set(found) == {f"fold0-seed0/{method}" for method in methods}
    assert found["fold0-seed0/expert_id"] == left["scored"]["fold0-seed0/expert_id"]
    # The seconds of each row are equal, so it was not trained again.
    assert _stages_one(broken, 0) == left["stages one"]
    assert len(left["stages one"]) == 1
    whole_fold = [row for row in _rows(whole) if row["fold"] == "0" and row["run"] in methods]
    assert whole_fold == sorted(_rows(broken), key=lambda row: COMPARED.index(row["run"]))


def test_a_workdir_has_one_config_and_data_set_and_a_fold_one_process(folder, both):
    whole, _, _ = both
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.json")}
    # Also for new seeds, since their rows would have another config.
    assert refusal(folder, "whole", ["prob_unet"], seeds=[1], fields=FIELDS | {"steps": 5}) == (
        f"{whole / 'run.json'}: this workdir was trained with config.steps = 2, not 5; use its "
        "config again, or another --workdir"
    )
    other = FIELDS | {"data.path": str(folder / "other.npz")}
    assert refusal(folder, "whole", ["prob_unet"], fields=other).startswith(
        f"{whole / 'run.json'}: this workdir was trained on other data (digest "
    )
    held = whole / "fold0-seed1"
    held.mkdir()
    with workdir.hold(held):
        assert refusal(folder, "whole", ["prob_unet"], seeds=[1]) == (
            f"{held}: another process is at work here; wait for it, or choose another --workdir"
        )
    shutil.rmtree(held)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*.json")} == before


def test_folds_trained_at_the_same_time_or_on_other_machines_are_joined(folder, both):
    """One process has a fold; folds of other machines are copied without checkpoints."""
    whole, _, _ = both
    joined = folder / "joined"
    for path in whole.glob("fold*/*/run.json"):
        copy = joined / path.parent.relative_to(whole)
        copy.mkdir(parents=True)
        shutil.copy(path, copy)
        shutil.copy(path.with_name("rows.json"), copy)
    shutil.rmtree(joined / "fold1-seed0" / "expert_id")
    with workdir.hold(joined / "fold0-seed0"):
        end(compare(folder, "joined"))
    tables = [json.loads((at / "report" / "report.json").read_text()) for at in (whole, joined)]
    for kind in ("personalised", "differences", "diversified"):
        assert tables[0][kind] == tables[1][kind]


def test_a_method_can_be_evaluated_and_used_for_prediction_like_a_run(folder, both):
    """Its stage one is in a folder beside it, which holds two kinds of stage one."""
    whole, _, _ = both
    shutil.copytree(whole / "fold1-seed0", folder / "fold")
    end(start("main", folder, "fold/prosona", {}, "--mode=eval"))
    with (folder / "fold" / "prosona" / "eval-discs" / "rows.csv").open() as file:
        found = {(row["record_id"], row["method"]): row for row in csv.DictReader(file)}
    own = [row for row in _rows(whole) if (row["run"], row["fold"]) == ("prosona", "1")]
    pairs = [
        (row, found[row["record_id"], {"samples@6": "samples"}.get(row["method"], row["method"])])
        for row in own
        if row["method"] != "samples@4"
    ]
    assert {row["method"] for row, _ in pairs} == {"samples@6", *STYLED, *WORDED}
    for row, again in pairs:
        assert row["ged"] == again["ged"]
        assert row["dice_mean"] == again["dice_mean"]
    report = json.loads((folder / "fold" / "prosona" / "eval-discs" / "report.json").read_text())
    assert not any("unfinished" in caveat for caveat in report["caveats"])
    model = load(folder / "fold" / "prosona")
    assert model.source["checkpoint_steps"] == {"stage_one": 2, "stage_two": 2}


def test_the_folder_of_a_comparison_is_not_a_run(both):
    whole, _, _ = both
    for use in (load, runs.evaluate):
        with pytest.raises(InputError, match=r"holds a comparison; name one of its methods, such"):
            use(whole)


def test_rows_of_an_earlier_definition_of_a_method_are_refused(folder, both):
    whole, _, _ = both
    path = whole / "fold1-seed0" / "expert_id" / "run.json"
    kept = path.read_text()
    before = workdir.read(path.parent)
    before.config["stage_two"]["tau"] = 0.2
    workdir.write(path.parent, before)
    said = refusal(folder, "whole", ["expert_id"])
    path.write_text(kept)
    assert said.startswith(f"{path}: this workdir was trained with config.stage_two.tau = 0.2, not")


def test_rows_that_other_code_scored_are_refused(folder, both):
    whole, _, _ = both
    path = whole / "fold1-seed0" / "expert_id" / "rows.json"
    kept = path.read_text()
    rows = json.loads(kept)["rows"]
    older = [{name: x for name, x in row.items() if name != "ged"} for row in rows]
    path.write_text(json.dumps(checksum.seal({"rows": older})))
    said = refusal(folder, "whole", ["expert_id"])
    path.write_text(kept)
    assert said.startswith(
        f"{path}: was scored by other code than earlier cells, because only some of them have 'ged'"
    )


@pytest.mark.parametrize("place", ["expert_id", "stage_one-*"])
def test_rows_with_another_number_are_refused_before_anything_is_trained(folder, both, place):
    whole, _, _ = both
    path = min((whole / "fold1-seed0").glob(f"{place}/rows.json"))
    kept = path.read_text()
    value = f'"ged": {json.loads(kept)["rows"][0]["ged"]!r}'
    changed = value[:-1] + str(int(value[-1]) ^ 1)  # the last digit, by one bit
    path.write_text(kept.replace(value, changed, 1))
    said = refusal(folder, "whole", seeds=[1, 0])
    path.write_text(kept)
    assert not list(whole.glob("fold*-seed1"))
    assert said == (
        f"{path}: cannot be used (damaged or edited: its checksum differs); restore it from a "
        "copy, or delete it to score again"
    )


@pytest.mark.parametrize("method", METHODS)
def test_methods_change_only_fields_of_the_config(method):
    lidc.get_config("smoke").update_from_flattened_dict(METHODS[method])
