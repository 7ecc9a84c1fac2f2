"""Commands have their own manual and flags, and end in one line on an error of the user."""

import importlib
import subprocess
import sys

import pytest
from absl import flags

from prosona_jax import cli
from prosona_jax.types import Diverged, InputError, Preempted
from tests.programs import ROOT

COMMANDS = {
    "prosona_jax.main": ("config", "distributed", "export_masks", "mode", "workdir"),
    "prosona_jax.compare": ("config", "distributed", "folds", "methods", "seeds", "workdir"),
    "prosona_jax.predict": (
        *("axis", "encoder", "fill_holes", "force", "image", "margin_mm", "model", "one_object"),
        *("output", "point", "point_in", "points", "probability", "prompt", "prompts", "range"),
        *("samples", "series", "slice", "spacing", "strength", "style", "unit"),
    ),
    "prosona_jax.fit_style": (
        *("cases", "force", "model", "name", "range", "rater", "spacing", "unit"),
    ),
    "prosona_jax.export": ("data_license", "license", "output", "workdir"),
    "prosona_jax.probe": ("encoder", "half", "output", "sentences", "workdir"),
    "prosona_jax.cards": ("config", "output"),
    "prosona_jax.prompts": ("degree_reader", "encoder", "raters"),
    "prosona_jax.score": ("tolerance_mm",),
    "prosona_jax.train_reader": (
        *("degrees", "encoder", "members", "output", "probe", "prompts", "seed", "steps"),
    ),
    "data_pipelines.prepare": ("config", "export", "runner", "workers"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_manual_and_its_own_flags(name):
    module = importlib.import_module(name)
    said = cli._help(module._FLAGS, module.__doc__)
    assert said.startswith(module.__doc__.strip())
    assert f"python -m {name} " in said  # an example
    listed = [line.strip() for line in said.splitlines() if line.startswith("  --")]
    assert sorted(listed) == sorted(f"--{flag}" for flag in COMMANDS[name])
    assert len(said.splitlines()) < 90  # no more than two screens
    assert max(map(len, said.splitlines())) <= 104


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "prosona_jax.score", *arguments],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


def test_help_has_status_0_and_an_unknown_flag_status_2():
    helped, unknown = run("--help"), run("--colour=red")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("Scores any model's masks")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "Unknown command line flag 'colour'\n"


@pytest.mark.parametrize(
    ("event", "status"), [(InputError("x"), 2), (Diverged("x"), 3), (Preempted("x"), 143)]
)
def test_an_exception_that_ends_a_command_becomes_one_line_and_a_status(capsys, event, status):
    with pytest.raises(SystemExit) as end, cli.ending():
        raise event
    assert (end.value.code, capsys.readouterr().err) == (status, "x\n")


def test_some_numbers():
    values = flags.FlagValues()
    flag = flags.DEFINE_list("point", None, "x", flag_values=values)
    for given, found in ((None, None), ("1,2.5", (1.0, 2.5)), ("-1,0", (-1.0, 0.0))):
        values(["x", *([] if given is None else [f"--point={given}"])])
        assert cli.numbers(flag, 2, "row,col") == found
    for given in ("1", "1,2,3", "a,b", ""):
        values(["x", f"--point={given}"])
        with pytest.raises(InputError) as fault:
            cli.numbers(flag, 2, "row,col")
        assert str(fault.value) == f"--point={given}: give row,col"
