"""Volumes are scored as numpy scores the stacked slices, in any order, with what slices share."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.evaluation import metrics, scoring, surfaces, volume_latents, volumes
from prosona_jax.evaluation.volume_latents import Slice
from prosona_jax.evaluation.volume_steps import OWN, Drawn, Located, Placed
from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian
from prosona_jax.types import Batch

S, R, H, W, D, P = 5, 3, 6, 7, 4, 2
SPACING = np.array([2.0, 0.5, 0.7], np.float32)
# Records of three volumes in no order, one of them a single slice; slice 1 of "b" is no record.
PLACES = {
    7: Slice("a", 1, SPACING), 3: Slice("b", 2, SPACING), 5: Slice("a", 0, SPACING),
    1: Slice("c", 0, SPACING), 4: Slice("b", 0, SPACING), 6: Slice("a", 2, SPACING),
}  # fmt: skip
VALID = {"a": [True, True, True], "b": [True, False, True], "c": [True, True, True]}


def slice_of(index):
    """Returns probabilities of samples, prior mean and styles, and the raters' masks."""
    rng = np.random.default_rng(index)
    middle = np.zeros((H, W))
    middle[1:5, 2:6] = 0.5
    random = lambda *shape: np.float32((rng.random((*shape, H, W)) + middle) / 1.5)  # noqa: E731
    return random(S), random(1), random(P, R), (random(R) > 0.5).astype(np.uint8)


def prediction(indices, places=PLACES):
    valid = np.array([VALID[places[i].volume] for i in indices])
    samples, mean, styles, masks = map(np.stack, zip(*map(slice_of, indices), strict=True))
    count = lambda probs: jax.device_get(metrics.count_overlaps(probs, masks, valid))  # noqa: E731
    of_sets = [count(styles[:, p]) for p in range(P)]
    drawn = np.concatenate([mean, styles[:, 0]], axis=1).reshape(len(indices), 1 + R, -1) > 0.5
    found = Drawn(
        samples=count(samples),
        prior_mean=count(np.repeat(mean, R, axis=1)),
        s_ncc=None,
        styles={
            "prompts_train": jax.tree.map(lambda *x: np.stack(x, axis=1), *of_sets),
            OWN: jax.tree.map(lambda x: x[:, None], of_sets[0]),
        },
        packed=np.packbits(drawn, axis=-1),
    )
    batch = Batch(
        image=np.zeros((len(indices), H, W, 1), np.float32),
        masks=masks,
        rater_valid=valid,
        index=np.array(indices, np.int32),
        valid=np.ones(len(indices), np.float32),
    )
    located = Located(Gaussian(np.zeros((1, 2)), np.zeros((1, 2))), {})
    return Placed(batch.index, batch.valid, batch, located), found


def rows_of(*batches, places=PLACES, by_area=True):
    found = volumes.evaluate(
        [prediction(batch, places) for batch in batches], places, by_area=by_area
    )
    return {(row["volume"], row["method"]): row for row in found}


def stacked(volume):
    """Returns the probabilities and masks of a volume as if it were one tall image."""
    own = sorted((i for i in PLACES if PLACES[i].volume == volume), key=lambda i: PLACES[i].number)
    parts = [np.concatenate(x, axis=-2) for x in zip(*map(slice_of, own), strict=True)]
    return [x[None] for x in parts], np.array([VALID[volume]])


ORDERED = [5, 7, 6, 4, 3, 1]


def test_slices_are_put_in_order_whatever_the_order_of_the_records():
    for indices in itertools.permutations(PLACES):
        assert volume_latents.order(indices, PLACES) == ORDERED


@pytest.mark.parametrize("volume", "abc")
def test_scores_equal_those_of_the_stacked_arrays(volume):
    rows = rows_of(ORDERED[:4], ORDERED[4:])
    (samples, mean, styles, masks), valid = stacked(volume)
    expected = metrics.score_batch(metrics.count_overlaps(samples, masks, valid), valid)
    names = ("ged", "ged_dpersona", "dice_match", "iou_match", "dice_soft", "ece_10_all")
    for name in (*names, "dice_max_samples_per_rater"):
        assert rows[volume, "samples"][name] == pytest.approx(expected[name][0], abs=1e-12)
    overlaps = metrics.count_overlaps(np.repeat(mean, R, axis=1), masks, valid)
    others = metrics.raters_leave_one_out(overlaps, valid)
    assert rows[volume, "raters"]["loo_dice"] == pytest.approx(others["dice"][0])
    for method, sets in ((OWN, [0]), ("prompts_train", [0, 1])):
        table = np.mean([
            metrics.style_scores(metrics.count_overlaps(styles[:, p], masks, valid), valid)[
                "dice_table"
            ][0]
            for p in sets
        ], axis=0)  # fmt: skip
        for i, j in itertools.product(range(R), repeat=2):
            np.testing.assert_allclose(
                rows[volume, method][f"dice_{i + 1}_{j + 1}"], table[i, j], atol=1e-12
            )


def test_dice_and_ged_equal_numpy_on_the_volume():
    (samples, _, styles, masks), _ = stacked("a")
    a, b = samples[0] > 0.5, masks[0] > 0
    iou = lambda x, y: (x & y).sum() / (x | y).sum()  # noqa: E731
    mean = lambda one, other: np.mean([1 - iou(x, y) for x in one for y in other])  # noqa: E731
    ged = 2 * mean(a, b) - mean(a, a) - mean(b, b)
    row = rows_of(ORDERED)["a", "samples"]
    assert row["ged"] == pytest.approx(ged)
    dice = [
        2 * (x & y).sum() / (x.sum() + y.sum()) for x, y in zip(styles[0, 0] > 0.5, b, strict=True)
    ]
    own = rows_of(ORDERED)["a", OWN]
    assert own["dice_mean"] == pytest.approx(np.mean(dice))
    assert [own[f"dice_{k}_{k}"] for k in (1, 2, 3)] == pytest.approx(dice)
    assert [own[f"voxels_{k}"] for k in (1, 2, 3)] == (styles[0, 0] > 0.5).sum((1, 2)).tolist()


def test_a_volume_of_one_slice_scores_as_the_slice():
    rows, (placed, found) = rows_of(ORDERED), prediction([1])
    samples = scoring.sample_scores(
        found.samples, found.prior_mean, np.asarray(placed.batch.rater_valid)
    )
    for method, scores in samples.items():
        for name, value in scores.items():
            assert rows["c", method][name] == value[0]
    for method, overlaps in found.styles.items():
        scores = scoring.set_scores(overlaps, placed.batch.rater_valid)
        for name in ("dice_mean", "ged", "style_gain", "dice_1_2"):
            assert rows["c", method][name] == scores[name][0]


def test_how_slices_fall_into_batches_does_not_matter():
    whole = rows_of(ORDERED)
    for cuts in ((1,), (2, 3), (1, 2, 3, 4, 5)):
        parts = [part.tolist() for part in np.split(np.array(ORDERED), cuts)]
        assert str(rows_of(*parts)) == str(whole)  # NaN differs from itself


def test_a_slice_that_is_no_record_lies_between_its_neighbours():
    """Slices 0 and 2 of "b" are 4 mm apart: nothing of the one touches the other."""
    (_, mean, _, masks), _ = stacked("b")
    volume = np.zeros((2, 3, H, W), bool)
    volume[:, ::2] = np.stack([mean[0, 0] > 0.5, masks[0, 0] > 0]).reshape(2, 2, H, W)
    first = surfaces.between(*surfaces.of_masks(volume, SPACING))
    volume[1, ::2] = (masks[0, 2] > 0).reshape(2, H, W)
    third = surfaces.between(*surfaces.of_masks(volume, SPACING))
    row = rows_of(ORDERED)["b", "prior_mean"]  # rater 2 is missing
    assert row["hd95_max_mm"] == pytest.approx((first.hd95_max + third.hd95_max) / 2)
    assert row["assd_mm"] == pytest.approx((first.assd + third.assd) / 2)
    assert row["undefined"] == 0


def test_distances_and_volumes_of_each_style_and_their_means():
    (_, _, styles, masks), _ = stacked("a")
    row = rows_of(ORDERED)["a", OWN]
    for k in range(R):
        pair = np.stack([styles[0, 0, k] > 0.5, masks[0, k] > 0]).reshape(2, 3, H, W)
        apart = surfaces.between(*surfaces.of_masks(pair, SPACING))
        assert row[f"hd95_max_mm_{k + 1}"] == pytest.approx(apart.hd95_max)
        assert row[f"assd_mm_{k + 1}"] == pytest.approx(apart.assd)
        ml = (int(pair[0].sum()) - int(pair[1].sum())) * 2.0 * 0.5 * 0.7 / 1000
        assert row[f"bias_ml_{k + 1}"] == pytest.approx(ml)
        assert row[f"difference_ml_{k + 1}"] == pytest.approx(abs(ml))
    for name in ("hd95_max_mm", "assd_mm", "bias_ml", "difference_ml"):
        each = [row[f"{name}_{k}"] for k in (1, 2, 3)]
        assert row[name] == pytest.approx(np.mean(each))
    missing = rows_of(ORDERED)["b", OWN]
    assert np.isnan([missing[f"{name}_2"] for name in ("assd_mm", "bias_ml")]).all()
    assert missing["assd_mm"] == pytest.approx((missing["assd_mm_1"] + missing["assd_mm_3"]) / 2)
    assert "bias_ml" not in rows_of(ORDERED)["a", "raters"]


def test_without_voxel_sizes_there_are_no_distances_but_all_overlaps():
    places = {
        i: place._replace(spacing_mm=np.float32([np.nan, 1, 1])) for i, place in PLACES.items()
    }
    rows, known = rows_of(ORDERED, places=places), rows_of(ORDERED)
    for key, row in rows.items():
        assert row.get("dice_mean", 0) == known[key].get("dice_mean", 0)
        if "assd_mm" in row:
            assert np.isnan([row["assd_mm"], row["difference_ml"]]).all()
            assert row["undefined"] == {"raters": 3, "prior_mean": 3, OWN: 3}[row["method"]] - (
                {"raters": 2, "prior_mean": 1, OWN: 1}[row["method"]] if row["volume"] == "b" else 0
            )


def test_an_order_of_areas_means_nothing_unless_masks_are_sorted():
    for by_area in (True, False):
        row = rows_of(ORDERED, by_area=by_area)["a", OWN]
        assert np.isnan(row["ordered"]) != by_area


def located():
    rng = np.random.default_rng(3)
    prior = Gaussian(*(rng.normal(0, 0.5, (6, D)).astype(np.float32) for _ in range(2)))
    return Located(prior, {OWN: rng.normal(size=(6, 1, R, D)).astype(np.float32)})


def drawn_latents(latent, indices=ORDERED):
    """Returns samples z [6, s, d] by volume_latents.share, as `make_draw_step` draws them."""
    place = volume_latents.share(located(), indices, PLACES, latent)
    placed = place(prediction(indices)[0].batch)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.asarray(placed.index))
    z = distributions.sample(placed.located.prior, keys, S)
    return np.asarray(z), np.asarray(distributions.whiten(placed.located.prior, z)), placed


def same(z):
    """Returns whether all slices of "a" and of "b" have the same latents."""
    return all(np.array_equal(z[i], z[j]) for i, j in ((0, 1), (0, 2), (3, 4)))


def test_one_latent_for_all_slices_of_a_volume():
    z, _, placed = drawn_latents("volume")
    assert same(z)
    assert same(placed.located.queries[OWN])
    assert not np.allclose(z[0], z[3])
    z, _, placed = drawn_latents("slice")
    assert not same(z)
    assert not np.allclose(z[0], z[1])


def test_one_draw_for_all_slices_of_a_volume_with_a_prior_for_each():
    z, whitened, placed = drawn_latents("draw")
    assert not same(z)
    np.testing.assert_allclose(whitened[0], whitened[2], atol=1e-5)
    np.testing.assert_allclose(whitened[3], whitened[4], atol=1e-5)
    np.testing.assert_array_equal(placed.located.prior.mu, located().prior.mu)


@pytest.mark.parametrize("latent", ["volume", "draw", "slice"])
def test_a_slice_draws_the_same_in_any_order_of_the_records(latent):
    _, _, placed = drawn_latents(latent)
    found = located()
    for indices in ([1, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 1]):
        rows = [ORDERED.index(i) for i in indices]
        moved = jax.tree.map(lambda x: x[rows], found)  # noqa: B023 - used at once
        again = volume_latents.share(moved, indices, PLACES, latent)(placed.batch)
        jax.tree.map(np.testing.assert_array_equal, again.index, placed.index)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), again.located, placed.located
        )


def test_a_single_slice_keeps_its_own_latent():
    found = located()
    z, _, placed = drawn_latents("volume")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[5], b[5]), placed.located, found)
    assert placed.index[5] == 1
    np.testing.assert_array_equal(z[5], drawn_latents("slice")[0][5])


def test_the_pooled_prior_has_the_least_mean_divergence_from_the_slices():
    found = located()
    _, _, placed = drawn_latents("volume")
    own = Gaussian(*(np.asarray(x[:3]) for x in found.prior))

    def divergence(mu, log_sigma):
        pooled = Gaussian(jnp.tile(mu, (3, 1)), jnp.tile(log_sigma, (3, 1)))
        return float(distributions.kl_divergence(pooled, own).sum())

    mu, log_sigma = (jnp.asarray(x[0]) for x in placed.located.prior)
    least = divergence(mu, log_sigma)
    for d in range(D):
        for step in (-0.05, 0.05):
            assert divergence(mu.at[d].add(step), log_sigma) > least
            assert divergence(mu, log_sigma.at[d].add(step)) > least
