"""The checks before the training, the caveats of unfinished stages, and skipping a stage."""

import json
import pathlib

import pytest

from configs import lidc
from prosona_jax import checksum
from prosona_jax.experiments import inputs, stages
from prosona_jax.runtime import workdir
from prosona_jax.runtime.monitor import HISTORY
from prosona_jax.types import InputError


def _config(**changes):
    config = lidc.get_config("smoke")
    with config.unlocked():
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
    return config


@pytest.mark.parametrize("field", ["batch_size", "stage_two.batch_size"])
def test_a_batch_size_that_the_devices_do_not_divide_is_refused_by_field(field):
    """The tests run on four devices."""
    stages.check(_config(**{field: 8}))
    with pytest.raises(InputError) as fault:
        stages.check(_config(**{field: 6}))
    assert str(fault.value) == (
        f"config.{field} is 6; it must be a multiple of 4, the number of devices"
    )


def test_a_second_stage_needs_two_raters():
    stages.check_raters(_config(), 2)
    with pytest.raises(InputError, match=r"^the images have one mask each, .*query to 'none', and"):
        stages.check_raters(_config(stage_two__query="id"), 1)


def test_without_a_second_stage_its_fields_are_not_checked():
    no_text = {"stage_two__query": "none", "stage_two__latent": 0.0, "stage_two__visual": 0.0}
    config = _config(stage_two__batch_size=6, **no_text)
    stages.check(config)
    stages.check_raters(config, 1)


def _write_history(folder, step):
    folder.mkdir(parents=True)
    rows = [json.dumps(checksum.seal({"step": each})) + "\n" for each in (1, step)]
    (folder / HISTORY).write_text("".join(rows))


def _run_of(config):
    return workdir.Run(config.to_dict(), "", {}, 1, 4, None, "HU", None, False)


def test_an_unfinished_training_is_named(tmp_path):
    _write_history(tmp_path / "stage_one", 4)
    _write_history(tmp_path / "stage_two", 3)
    assert stages.unfinished(tmp_path, _run_of(_config())) == [
        "Training unfinished: stage two was trained for 3 of 4 steps, and its best checkpoint so "
        "far is used."
    ]
    assert stages.unfinished(tmp_path, _run_of(_config(stage_two__query="none"))) == []


def test_in_a_comparison_stage_one_is_beside_the_folder_of_the_method(tmp_path, monkeypatch):
    run = _run_of(_config(stage_two__query="none"))
    shared = tmp_path / stages.shared_name(run.config)
    method = tmp_path / "prob_unet"
    method.mkdir()
    assert len(stages.unfinished(method, run)) == 1
    _write_history(shared, 4)
    assert stages.unfinished(method, run) == []
    monkeypatch.chdir(method)
    assert stages.stage_one_folder(pathlib.Path("."), run) == shared


def test_a_second_stage_that_is_done_encodes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "_encode", lambda *_: pytest.fail("encoded for nothing"))
    config = _config()
    (tmp_path / "checkpoints" / "last" / str(config.stage_two.steps)).mkdir(parents=True)
    stages.fit_stage_two(config, tmp_path, inputs.Data(None, {}), None, None)
