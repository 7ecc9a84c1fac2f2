"""Runs the program like a user: trains, kills, stops, resumes, scores other data, gives bad input.

One npz of small made-up blobs; the smoke config; every run is a process of its own.
"""

import csv
import json
import os
import signal
import socket

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import prosona_jax as pj
from configs.methods import METHODS
from data_pipelines import splits
from prosona_jax.experiments import runs
from prosona_jax.runtime.monitor import read_history
from prosona_jax.types import InputError
from tests.programs import (
    FEW_PROMPTS,
    PATIENTS,
    configure,
    discs,
    end,
    start,
    wait_until,
    write_discs,
)

STEPS = 8  # training steps of each stage
STAGES = ("stage_one", "stage_two")
FIELDS = {
    "prompts.path": FEW_PROMPTS,
    "steps": STEPS,
    "stage_two.steps": STEPS,
    # Where a gradient is little more than rounding, Adam, which divides by its size, makes whole
    # steps of it: small ones, so that processes and devices can be compared.
    "optimizer.learning_rate": 1e-4,
    "data.folds": 3,
    "data.validation_share": 0.3,
}
TEST_PATIENTS = {
    PATIENTS[i]
    for i in splits.assign(PATIENTS, [""] * 24, folds=3, fold=0, validation_share=0.3)["test"]
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main")
    write_discs(folder / "discs.npz", PATIENTS, seed=0)
    # Four patients of the first file and eight new ones.
    write_discs(folder / "other.npz", PATIENTS[:4] + [f"q{i:02d}" for i in range(8)], seed=1)
    write_discs(folder / "colour.npz", PATIENTS, seed=2, channels=3)
    return folder


def _train(folder, workdir, *arguments, **environment):
    return start("main", folder, workdir, FIELDS, *arguments, **environment)


@pytest.fixture(scope="module")
def trained(folder):
    """Returns a workdir that was trained without interruption on two devices."""
    end(_train(folder, "whole"))
    return folder / "whole"


def _leaves(workdir, stage):
    """Returns all arrays of a stage's final state, by path."""
    place = workdir / stage / "checkpoints" / "last" / str(STEPS) / "tree"
    # As NumPy arrays, since the processes that wrote it may have had other devices.
    with ocp.PyTreeCheckpointer() as checkpointer:
        stored = checkpointer.metadata(place).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), stored)
        tree = checkpointer.restore(place, restore_args=as_numpy)
    return {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def _history(workdir, stage):
    rows = read_history(workdir / stage)
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def _assert_identical(a, b):
    for stage in STAGES:
        left, right = _leaves(a, stage), _leaves(b, stage)
        assert left.keys() == right.keys()
        for name, value in left.items():
            assert np.asarray(value).tobytes() == np.asarray(right[name]).tobytes(), name
        assert _history(a, stage) == _history(b, stage)


def test_training_ends_with_a_report_on_the_test_patients(trained):
    report = trained / "report"
    assert {"report.html", "report.md", "report.json", "tables.tex", "rows.csv"} <= set(
        os.listdir(report)
    )
    with (report / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["patient_id"] for row in rows} == TEST_PATIENTS
    prompted = {"prompts_mean", "prompts_train", "prompts_held_out"}
    assert {row["method"] for row in rows} == {"samples", "prior_mean", "raters", *prompted}
    result = json.loads((report / "report.json").read_text())
    assert (result["records"], result["patients"]) == (len(TEST_PATIENTS), len(TEST_PATIENTS))
    assert (result["raters"], result["samples"]) == (4, 6)
    of_samples = [float(row["ged"]) for row in rows if row["method"] == "samples"]
    assert result["metrics"]["ged"]["mean"] == pytest.approx(np.mean(of_samples), abs=1e-6)
    assert "Known patients" not in (report / "report.html").read_text()


def test_the_best_checkpoints_are_chosen_on_validation_patients(trained):
    """Stage one: the lowest GED of samples; stage two: the highest mean Dice of prompts."""
    for stage, name, best in (("stage_one", "ged", min), ("stage_two", "dice_mean", max)):
        rows = [row for row in _history(trained, stage) if row["split"] == "validation"]
        scores = {row["step"]: row[name] for row in rows}
        assert list(scores) == [2, 4, 6, 8]
        kept = os.listdir(trained / stage / "checkpoints" / "best")
        assert kept == [str(best(scores, key=scores.get))]


def _wait_for_step(process, workdir, step):
    wait_until(process, lambda: any(row["step"] >= step for row in read_history(workdir)))


def test_killed_and_stopped_runs_end_bit_identically(folder, trained):
    """The same command three times: SIGTERM in stage one, then SIGKILL in stage two."""
    first = _train(folder, "broken")
    _wait_for_step(first, folder / "broken" / "stage_one", 1)
    first.terminate()
    said = end(first, status=128 + signal.SIGTERM).strip().splitlines()[-1]
    assert said.endswith("saved; run the same command to continue")
    stopped_at = said.split("stopped at step ")[1].split(",")[0]
    assert stopped_at in os.listdir(folder / "broken" / "stage_one" / "checkpoints" / "last")

    second = _train(folder, "broken")
    _wait_for_step(second, folder / "broken" / "stage_two", 3)
    second.kill()
    end(second, status=-signal.SIGKILL)
    assert not (folder / "broken" / "report" / "report.html").exists()

    assert "resumed from step " in end(_train(folder, "broken"))
    _assert_identical(folder / "broken", trained)
    assert (folder / "broken" / "report" / "report.html").exists()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("wrapper", "fields", "stages"),
    [
        ("mesh", {}, STAGES),
        # One stage, because each process compiles everything anew.
        ("pmap", METHODS["prob_unet"], STAGES[:1]),
    ],
)
def test_two_processes_end_where_two_devices_do(folder, trained, wrapper, fields, stages):
    """JAX detects several processes by the environment variables of Open MPI."""
    shared = {
        "OMPI_MCA_orte_hnp_uri": "0.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",  # each process has one device, its device 0
        "JAX_COORDINATOR_PORT": str(_free_port()),
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }
    flags = ("--distributed", f"--config.parallel={wrapper}")
    processes = [
        start(
            "main",
            folder,
            wrapper,
            FIELDS | fields,
            *flags,
            devices=1,
            OMPI_COMM_WORLD_RANK=str(i),
            **shared,
        )
        for i in range(2)
    ]
    for process in processes:
        end(process)
    for stage in stages:
        one, two = _leaves(trained, stage), _leaves(folder / wrapper, stage)
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, atol=1e-5, err_msg=name)
        rows = zip(_history(folder / wrapper, stage), _history(trained, stage), strict=True)
        for mine, theirs in rows:
            assert mine.pop("split") == theirs.pop("split")
            assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    report = json.loads((folder / wrapper / "report" / "report.json").read_text())
    assert report["records"] == len(TEST_PATIENTS)


def test_another_file_is_scored_with_the_settings_of_the_workdir(folder, trained):
    """The command names only the data; folds and sizes come from the workdir."""
    other = {"data.path": folder / "other.npz", "data.split": "all"}
    end(start("main", folder, "whole", other, "--mode=eval"))
    report = trained / "eval-other"
    result = json.loads((report / "report.json").read_text())
    assert (result["records"], result["patients"]) == (12, 12)
    known = len({*PATIENTS[:4]} - TEST_PATIENTS)
    assert known
    assert f"Known patients: {known} of the scored patients" in (report / "report.md").read_text()


def test_volumes_and_sites_are_scored_beside_slices(folder, trained):
    with np.load(folder / "other.npz") as stored:
        arrays = dict(stored)
    number = np.arange(12)
    arrays |= {
        "patient_id": np.array([f"q{i // 3}" for i in number]),
        "volume": np.array([f"v{i // 3}" for i in number]),
        "site": np.array(["north", "south"])[number // 6],
        "spacing_mm": np.full((12, 2), 1.5),
        "slice_mm": 4.0 * (number % 3),
        "slice_spacing_mm": np.full(12, 4.0),
    }
    np.savez(folder / "volumes.npz", **arrays)
    fields = {"data.path": folder / "volumes.npz", "data.split": "all", "evaluate.latent": "draw"}
    exported = folder / "exported"
    end(start("main", folder, "whole", fields, "--mode=eval", f"--export_masks={exported}"))
    report = trained / "eval-volumes-draw"
    result = json.loads((report / "report.json").read_text())
    found = result["volumes"]
    assert (result["records"], found["volumes"], found["latent"]) == (12, 4, "draw")
    with (report / "rows_volumes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["volume"] for row in rows] == [f"v{i}" for i in range(4) for _ in range(6)]
    assert [row["site"] for row in rows] == ["north"] * 12 + ["south"] * 12
    assert {row["slices"] for row in rows} == {"3"}
    for method in ("samples", "prompts_mean", "prompts_held_out"):
        of_method = [float(row["ged"]) for row in rows if row["method"] == method]
        assert found[method]["ged"]["mean"] == pytest.approx(np.mean(of_method))
    assert result["styles"]["prompts_mean"]["dice_mean"] != found["prompts_mean"]["dice_mean"]
    _check_exported(exported, report, arrays)
    page = (report / "report.md").read_text()
    assert "## Per volume" in page
    assert "| north | 2 | 6 |" in page.split("## Per site")[1]


def _check_exported(folder, report, arrays):
    """The files name the records, and `score` gives the report's scores of their masks."""
    with (report / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, method in (("samples", "samples"), ("styles", "prompts_mean")):
        with np.load(folder / f"{name}.npz") as file:
            stored = dict(file)
        own = [row for row in rows if row["method"].split("@")[0] == method]
        assert stored["record_id"].tolist() == [row["record_id"] for row in own]
        assert stored["patient_id"].tolist() == arrays["patient_id"].tolist()
        scores = pj.score(stored["labels"], stored["probs"])["metrics"]
        for metric in ("ged", "dice_soft"):
            mean = np.mean([float(row[metric]) for row in own])
            assert scores[metric]["mean"] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(
    ("workdir", "fields", "message"),
    [
        ("whole", {"data.path": "no/other.npz"}, "other.npz: no such file"),
        ("whole", {"data.split": "tset"}, "data.split='tset': choose one of"),
        (
            "whole",
            {"data.path": "colour.npz"},
            "the data have 3 channels, but the model was trained on 1",
        ),
        (
            "whole",
            {"model.norm": "none"},
            "config.model.norm cannot be changed with --mode=eval",
        ),
        ("never", {}, "run.json is absent: no run was trained"),
    ],
)
def test_data_that_cannot_be_scored_are_refused(
    folder, trained, monkeypatch, workdir, fields, message
):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError) as fault:
        runs.evaluate(folder / workdir, discs(folder) | fields)
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)
    assert not (folder / "never").exists()


def test_another_config_than_the_workdirs_is_refused(folder, trained):
    with pytest.raises(InputError, match=r"this workdir was trained with config\.seed = 0, not 1"):
        runs.train(configure(folder, FIELDS | {"seed": 1}), trained)


def test_the_program_ends_with_one_line_and_status_2(folder):
    """The cases run at the same time, since starting a process is slow."""
    asked = {
        "--config has no field": _train(folder, "never", "--config.optimizer.learning_rat=1"),
        "config.loss.kl is -1.0; it must be": _train(folder, "never", "--config.loss.kl=-1.0"),
        "--distributed: the other processes are not found": _train(
            folder, "never", "--distributed"
        ),
    }
    for message, process in asked.items():
        line = end(process, status=2).strip().splitlines()[-1]
        assert message in line
    assert not (folder / "never").exists()


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("none", "Probabilistic U-Net on discs"),
        ("text", "ProSona on discs"),
        ("heads", "D-Persona's heads on discs"),
        ("id", "A learned vector per style on discs"),
    ],
)
def test_a_report_names_the_method(folder, query, title):
    config = configure(folder, {"stage_two.query": query})
    assert runs.title(config, simulated=False) == title
    assert runs.title(config, simulated=True) == f"{title} (simulated images)"
