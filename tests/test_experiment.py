"""What cannot be trained is found before anything is."""

import pytest

from configs import lidc
from prosona_jax import experiment, inputs
from prosona_jax.types import InputError


def _config(**changes):
    config = lidc.get_config("smoke")
    with config.unlocked():
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
    return config


@pytest.mark.parametrize("field", ["batch_size", "stage_two.batch_size"])
def test_a_batch_that_the_devices_cannot_share_is_refused_by_field(field):
    """Four of them, in the tests."""
    experiment.check(_config(**{field: 8}), 4)
    with pytest.raises(InputError) as fault:
        experiment.check(_config(**{field: 6}), 4)
    assert str(fault.value) == (
        f"config.{field} is 6; it must be a multiple of 4, the number of devices"
    )


def test_a_second_stage_needs_two_raters():
    experiment.check(_config(), 2)
    with pytest.raises(InputError, match=r"^the images have one mask each, .*query to 'none', and"):
        experiment.check(_config(stage_two__query="id"), 1)


def test_without_a_second_stage_nothing_of_it_matters():
    experiment.check(_config(stage_two__query="none", stage_two__batch_size=6), 1)


def test_a_second_stage_that_is_done_freezes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_freeze", lambda *_: pytest.fail("frozen for nothing"))
    config = _config()
    (tmp_path / "checkpoints" / "last" / str(config.stage_two.steps)).mkdir(parents=True)
    experiment.fit_stage_two(config, tmp_path, inputs.Data(None, {}), None, None)
