"""From config to network and optimiser: invalid fields, and the updates of the optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import cells, lidc, prostate
from prosona_jax.experiments import build, limits, second_stages
from prosona_jax.training import stage_two
from prosona_jax.types import InputError

NO_CONTRAST = {"stage_two__latent": 0.0, "stage_two__visual": 0.0}


def _config(**changes):
    """Returns the smoke config with fields changed, such as model__norm."""
    config = lidc.get_config("smoke")
    with config.unlocked():
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
    return config


@pytest.mark.parametrize("variant", ["full", "demo", "smoke", "crops64"])
def test_every_variant_passes(variant):
    limits.check(lidc.get_config(variant))


def test_the_config_of_the_cells_passes():
    limits.check(cells.get_config())


def test_the_config_of_a_workdir_without_a_latent_passes():
    config = cells.get_config().unlock()
    del config.evaluate["latent"]
    limits.check(config)


@pytest.mark.parametrize("variant", ["full", "smoke"])
def test_the_configs_of_the_prostate_pass(variant):
    limits.check(prostate.get_config(variant))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallel": "tpu"}, "config.parallel is 'tpu'; choose from mesh, pmap"),
        ({"model__norm": "batch"}, "config.model.norm is 'batch'; choose from none, group"),
        (
            {"model__posterior_input": "mean"},
            "config.model.posterior_input is 'mean'; choose from single, all",
        ),
        (
            {"evaluate__latent": "patient"},
            "config.evaluate.latent is 'patient'; choose from volume, draw, slice",
        ),
        (
            {"model__dtype": "float16"},
            "config.model.dtype is 'float16'; choose from float32, bfloat16",
        ),
        (
            {"augment__flip": False},
            "config.evaluate.mirror shows the model mirrored and rotated images: set it to False, "
            "or train on such images: set augment.flip to True and augment.rotate_degrees to 90 or "
            "more",
        ),
        (
            {"augment__rotate_degrees": 30.0},
            "config.evaluate.mirror shows the model mirrored and rotated images: set it to False, "
            "or train on such images: set augment.flip to True and augment.rotate_degrees to 90 or "
            "more",
        ),
        ({"steps": 0}, "config.steps is 0; it must be at least 1"),
        ({"batch_size": 0}, "config.batch_size is 0; it must be at least 1"),
        ({"log_every_steps": 0}, "config.log_every_steps is 0; it must be at least 1"),
        (
            {"checkpoint_every_steps": 0},
            "config.checkpoint_every_steps is 0; it must be at least 1",
        ),
        ({"evaluate__every_steps": 0}, "config.evaluate.every_steps is 0; it must be at least 1"),
        ({"evaluate__samples": 0}, "config.evaluate.samples is 0; it must be at least 1"),
        (
            {"evaluate__validation_samples": 0},
            "config.evaluate.validation_samples is 0; it must be at least 1",
        ),
        ({"evaluate__batch_size": 0}, "config.evaluate.batch_size is 0; it must be at least 1"),
        *(
            (
                {"model__channels": channels},
                f"config.model.channels is {channels}; give the number of filters of each scale, "
                "at least one scale and at least 1 filter",
            )
            for channels in ((), (4, 0), (4, "a"))
        ),
        ({"model__convs_per_scale": 0}, "config.model.convs_per_scale is 0; it must be at least 1"),
        ({"model__fcomb_layers": 1}, "config.model.fcomb_layers is 1; it must be at least 2"),
        ({"model__latent_dim": 0}, "config.model.latent_dim is 0; it must be at least 1"),
        (
            {"evaluate__tolerance_mm": 0.0},
            "config.evaluate.tolerance_mm is 0.0; it must be above 0",
        ),
        (
            {"evaluate__temperatures": (0.9, 0.0)},
            "config.evaluate.temperatures is (0.9, 0.0); each must be above 0",
        ),
        ({"loss__samples": 1}, "config.loss.samples is 1; it must be at least 2"),
        (
            {"optimizer__warmup_steps": 4},
            "config.optimizer.warmup_steps must be below config.steps",
        ),
        (
            {"data__size": 33},
            "config.data.size is 33; 2 scales in config.model.channels need a multiple of 2",
        ),
        (
            {"data__size": 36, "model__channels": (4, 8, 8, 8)},
            "config.data.size is 36; 4 scales in config.model.channels need a multiple of 8",
        ),
        (
            {"stage_two__query": "clip"},
            "config.stage_two.query is 'clip'; choose from text, habits, id, heads, none",
        ),
        (
            {"stage_two__projection": "mean"},
            "config.stage_two.projection is 'mean'; choose from analytic, bank",
        ),
        *(
            ({f"stage_two__{name}": 0}, f"config.stage_two.{name} is 0; it must be at least 1")
            for name in ("width", "codes", "test_codes", "views", "batch_size", "steps")
        ),
        ({"seed": -1}, "config.seed is -1; it must be at least 0"),
        ({"loss__kl": -1.0}, "config.loss.kl is -1.0; it must be at least 0"),
        ({"stage_two__dice": -1.0}, "config.stage_two.dice is -1.0; it must be at least 0"),
        (
            {f"stage_two__{term}": 0.0 for term in stage_two.TERMS},
            "stage_two.dice, stage_two.cross_entropy, stage_two.ged, stage_two.latent, "
            "stage_two.visual are all 0, so stage two has no loss; set one of them above 0, or set "
            "stage_two.query to 'none'",
        ),
        *(
            ({f"{group}__{name}": -1}, f"config.{group}.{name} is -1; it must be at least 0")
            for group, name in (("loss", "kl_warmup_steps"), ("optimizer", "warmup_steps"))
        ),
        ({"loss__free_bits": -1.0}, "config.loss.free_bits is -1.0; it must be at least 0"),
        (
            {"optimizer__weight_decay": -1.0},
            "config.optimizer.weight_decay is -1.0; it must be at least 0",
        ),
        ({"optimizer__ema_decay": 1.0}, "config.optimizer.ema_decay is 1.0; it must be below 1"),
        ({"loss__kl": float("nan")}, "config.loss.kl is nan; it must be at least 0"),
        (
            {"optimizer__learning_rate": float("nan")},
            "config.optimizer.learning_rate is nan; it must be above 0",
        ),
        ({"stage_two__tau": 0.0}, "config.stage_two.tau is 0.0; it must be above 0"),
        ({"optimizer__clip_norm": 0.0}, "config.optimizer.clip_norm is 0.0; it must be above 0"),
        (
            {"stage_two__learning_rate": -1.0},
            "config.stage_two.learning_rate is -1.0; it must be above 0",
        ),
        *(
            (
                {"stage_two__query": query} | NO_CONTRAST | change,
                f"config.stage_two.query is '{query}' and reads no text: set stage_two.latent and "
                "stage_two.visual to 0",
            )
            for query in ("id", "heads", "none")
            for change in (
                {"stage_two__latent": 0.1},
                {"stage_two__visual": 0.1},
            )
        ),
        (
            {"model__posterior_input": "all"},
            "config.stage_two.latent needs a posterior that sees one mask: set it to 0, or set "
            "model.posterior_input to 'single'",
        ),
    ],
)
def test_an_invalid_value_is_refused_by_field(changes, message):
    with pytest.raises(InputError) as fault:
        limits.check(_config(**changes))
    assert str(fault.value) == message


@pytest.mark.parametrize("query", ["id", "heads", "none"])
def test_a_query_without_text_or_contrast_passes(query):
    limits.check(_config(stage_two__query=query, **NO_CONTRAST))
    limits.check(_config(model__posterior_input="all", stage_two__latent=0.0))


@pytest.mark.parametrize(
    ("changes", "query", "alignment"),
    [
        # 4 vectors, 6 latent dimensions; 3 times 16 pooled features.
        ({}, 4 * 6, 2 * 5 * 128 + 7 * 128 + 49 * 128 + 129 * 128 + 2),
        # 384 inputs, 128 hidden
        (
            {"prompts__degree_reader": ""},
            385 * 128 + 129 * 6,
            2 * 129 * 128 + 7 * 128 + 49 * 128 + 129 * 128 + 2,
        ),
        ({"stage_two__query": "id"} | NO_CONTRAST, 4 * 6, 0),
        (
            {"stage_two__query": "heads"} | NO_CONTRAST,
            # 3x3 convolutions 16-32-32, 32-16-16, 16-6-6 in each of four heads
            4 * (145 * 32 + 289 * 32 + 289 * 16 + 145 * 16 + 145 * 6 + 55 * 6),
            0,
        ),
    ],
)
def test_parameter_counts_of_the_second_stage(changes, query, alignment):
    config = lidc.get_config()
    with config.unlocked():
        config.update_from_flattened_dict(
            {name.replace("__", "."): value for name, value in changes.items()}
        )
    dim = 1 if config.prompts.degree_reader else 384
    params = jax.eval_shape(
        lambda: stage_two.initialise(
            build.prompter(config, 4), jax.random.key(0), build.model(config),
            image_shape=(128, 128, 1), styles=4,
            text_dim=dim if second_stages.of(config).reads_text else None,
        )
    )["params"]  # fmt: skip
    count = lambda name: sum(x.size for x in jax.tree.leaves(params.get(name, {})))  # noqa: E731
    assert (count("query"), count("alignment")) == (query, alignment)
    assert set(params) <= {"query", "alignment"}


def test_the_network_has_the_values_of_the_config():
    network = build.model(_config(model__dtype="bfloat16", model__norm="none"))
    assert (network.channels, network.convs_per_scale, network.norm) == ((4, 8), 1, "none")
    assert (network.latent_dim, network.fcomb_layers) == (6, 4)
    assert network.dtype == jnp.bfloat16


def test_only_evaluation_mirrors_images_and_only_if_the_config_says_so():
    config = _config()
    assert not build.model(config).mirrored
    assert build.evaluated_model(config) == build.model(config).clone(mirrored=True)
    assert build.evaluated_model(_config(evaluate__mirror=False)) == build.model(config)


def _moves(gradients, **changes):
    """Returns the change of a bias in each step; for equal gradients it is Adam's rate."""
    tx = build.optimizer(_config(**changes))
    params = {"bias": jnp.zeros(1)}
    state = tx.init(params)
    moves = []
    for gradient in gradients:
        updates, state = tx.update({"bias": jnp.full(1, gradient)}, state, params)
        moves.append(-float(updates["bias"][0]))
    return moves


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (4, 10)])
def test_the_rate_rises_linearly_and_falls_as_a_cosine_to_zero(warmup, steps):
    """With equal gradients and corrected moments, the step of Adam equals the rate."""
    rates = _moves(
        [0.5] * (steps + 1),
        steps=steps,
        optimizer__warmup_steps=warmup,
        optimizer__learning_rate=0.01,
    )
    assert rates[0] == pytest.approx(0.0 if warmup else 0.01, rel=1e-4)
    assert rates[warmup // 2] == pytest.approx(0.005 if warmup else 0.01, rel=1e-4)
    assert rates[warmup] == pytest.approx(0.01, rel=1e-4)
    assert rates[(warmup + steps) // 2] == pytest.approx(0.005, rel=1e-4)
    last = 0.01 * 0.5 * (1 + np.cos(np.pi * (steps - 1 - warmup) / (steps - warmup)))
    assert rates[steps - 1] == pytest.approx(last, rel=1e-4)
    assert rates[steps] == pytest.approx(0.0, abs=1e-7)


def test_the_rate_of_the_second_stage_is_its_own_and_falls_from_the_first_step():
    config = _config(stage_two__steps=8, stage_two__learning_rate=0.02, optimizer__warmup_steps=3)
    tx = build.optimizer_of_stage_two(config)
    params = {"bias": jnp.zeros(1)}
    state, moves = tx.init(params), []
    for _ in range(9):
        updates, state = tx.update({"bias": jnp.full(1, 0.5)}, state, params)
        moves.append(-float(updates["bias"][0]))
    expected = 0.02 * 0.5 * (1 + np.cos(np.pi * np.arange(9) / 8))
    np.testing.assert_allclose(moves, expected, rtol=1e-4, atol=1e-8)


def test_gradients_are_clipped_by_their_global_norm():
    """Adam's first step ignores the scale; the second one depends on the clipped first gradient."""
    schedule = {"steps": 1000, "optimizer__learning_rate": 0.01}
    clipped = _moves([300.0, 2.0], optimizer__clip_norm=5.0, **schedule)
    assert clipped == pytest.approx(_moves([5.0, 2.0], optimizer__clip_norm=5.0, **schedule))
    assert clipped[1] != pytest.approx(
        _moves([300.0, 2.0], optimizer__clip_norm=1e9, **schedule)[1]
    )


def test_weight_decay_shrinks_kernels_alone():
    tx = build.optimizer(_config(optimizer__weight_decay=0.1, optimizer__learning_rate=0.01))
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(still, tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.01 * 0.1 * 3.0, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0.0)
