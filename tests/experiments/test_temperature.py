"""The temperature of the prior: the rule, what it changes, and how a run uses it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.experiments import build, inputs, stages, temperature
from prosona_jax.types import InputError
from tests.programs import FEW_PROMPTS, PATIENTS, configure, write_discs


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({0.8: (0.20, 0.9), 0.9: (0.19, 0.8), 1.0: (0.2, 0.7)}, 0.8),
        ({0.8: (0.21, 0.9), 0.9: (0.19, 0.8), 1.0: (0.2, 0.7)}, 0.9),  # the GED of 0.8 is above
        ({0.8: (0.10, 0.6), 1.0: (0.2, 0.7)}, 1.0),
        ({0.8: (0.10, float("nan")), 1.0: (0.2, float("nan"))}, 1.0),
        ({0.8: (0.10, 0.8), 1.0: (float("nan"), 0.7)}, 1.0),
    ],
)
def test_the_best_soft_dice_counts_where_the_ged_is_no_higher(scores, expected):
    named = {t: {"ged": ged, "dice_soft": dice} for t, (ged, dice) in scores.items()}
    assert temperature.best(named) == expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workdir with stage one at a temperature, its data, and the choice."""
    folder = tmp_path_factory.mktemp("temperature")
    write_discs(folder / "discs.npz", PATIENTS, seed=0)
    fields = {"prompts.path": FEW_PROMPTS, "evaluate.temperatures": (0.5,), "data.folds": 3}
    config = configure(folder, fields | {"data.validation_share": 0.3})
    data = inputs.load_data(config, needed=("train", "validation", "test"))
    own = pytest.MonkeyPatch()
    own.setattr(temperature, "best", lambda scores: min(scores))
    stages.fit_stage_one(config, folder / "stage_one", data)
    own.undo()
    return folder, config, data


def _read(folder, config):
    return stages.read_stage_one(config, folder / "stage_one", channels=1, raters=4)[1]


def test_the_prior_of_a_run_has_the_chosen_temperature(trained, monkeypatch):
    folder, config, data = trained
    stored = json.loads((folder / "stage_one" / temperature.FILE).read_text())
    assert stored["temperature"] == 0.5
    assert stored["scores"]["0.5"] != stored["scores"]["1"]
    cooled = _read(folder, config)
    monkeypatch.setattr(temperature, "read", lambda folder: 1.0)
    warm = _read(folder, config)
    network, image = build.model(config), jnp.asarray(data.dataset[0].image)[None]
    ours, theirs = (network.apply(p, image, method="prior") for p in (cooled, warm))
    np.testing.assert_allclose(np.exp(ours.log_sigma), 0.5 * np.exp(theirs.log_sigma), rtol=1e-5)
    np.testing.assert_array_equal(ours.mu, theirs.mu)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), cooled, warm)
    assert sum(not x for x in jax.tree.leaves(same)) == 1


def test_a_second_call_keeps_the_choice(trained):
    folder, config, data = trained
    path = folder / "stage_one" / temperature.FILE
    before = path.stat().st_mtime_ns
    stages.fit_stage_one(config, folder / "stage_one", data)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["{}", "", '{"temperature": 0}', '{"temperature": "a"}'])
def test_a_damaged_choice_is_an_error(tmp_path, content):
    assert temperature.read(tmp_path) == 1.0
    (tmp_path / temperature.FILE).write_text(content)
    with pytest.raises(InputError, match=r"temperature\.json: cannot be used .*remove it"):
        temperature.read(tmp_path)
