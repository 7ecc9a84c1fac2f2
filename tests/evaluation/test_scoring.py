"""Scoring a set of records: the rows, their content, and what is left out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.evaluation import calibration, contours, metrics, packed, scoring
from prosona_jax.evaluation.calibration import Bins
from prosona_jax.evaluation.contours import InMm
from prosona_jax.evaluation.sample_steps import Prediction
from prosona_jax.evaluation.style_steps import Personalised
from prosona_jax.runtime import parallel
from prosona_jax.types import Batch

SAMPLES, RATERS, SIZE = 5, 3, 8


def _host_batch(first, count, padding=0):
    """Returns records first, first + 1, ...; the padding repeats the last one."""
    generator = np.random.default_rng(first)
    pad = lambda x: np.concatenate([x, np.repeat(x[-1:], padding, axis=0)])  # noqa: E731
    return Batch(
        image=pad(generator.normal(size=(count, SIZE, SIZE, 1)).astype(np.float32)),
        masks=pad((generator.random((count, RATERS, SIZE, SIZE)) > 0.5).astype(np.uint8)),
        rater_valid=pad(np.ones((count, RATERS), bool)),
        index=pad(np.arange(first, first + count, dtype=np.int32)),
        valid=np.array([1.0] * count + [0.0] * padding, np.float32),
    )


def _predict_step(params, batch, root):
    """Draws sample s from the image plus s, so that the batch determines the predictions."""
    del root
    image = batch.image[..., 0]
    shift = np.arange(SAMPLES, dtype=np.float32)[None, :, None, None]
    kl = params * batch.index[:, None] * np.array([[1.0, 0.0]], np.float32)
    samples = jax.nn.sigmoid(4 * image[:, None] + shift - 2)
    prior_mean = jnp.repeat(jax.nn.sigmoid(4 * image)[:, None], RATERS, axis=1)
    count = lambda probs: metrics.count_overlaps(probs, batch.masks, batch.rater_valid)  # noqa: E731
    correlated = batch.index[:, None] + np.array([[0.25, 0.75]], np.float32)
    drawn = count(samples), count(prior_mean)
    return Prediction(*drawn, correlated, kl.astype(np.float32), samples)


def _predict(*batches):
    devices = parallel.create("mesh")
    return list(
        scoring.predict(
            np.float32(0.01),
            batches,
            eval_step=devices.eval_step(_predict_step),
            parallel=devices,
            root=jax.random.key(0),
        )
    )


@pytest.fixture(scope="module")
def predictions():
    """Six records in two batches on four devices, the second one half padding."""
    assert jax.device_count() == 4
    return _predict(_host_batch(10, 4), _host_batch(14, 2, padding=2))


@pytest.fixture(scope="module")
def result(predictions):
    return scoring.evaluate(predictions)


def _of(rows, method, name):
    return [row[name] for row in rows if row["method"] == method]


def test_padding_is_left_out_of_batch_and_prediction(predictions):
    assert [batch.index.tolist() for batch, _ in predictions] == [[10, 11, 12, 13], [14, 15]]
    assert [len(prediction.samples.pairs) for _, prediction in predictions] == [4, 2]
    for batch, prediction in predictions:
        expected = 1 / (1 + np.exp(2 - 4 * batch.image[..., 0]))
        np.testing.assert_allclose(prediction.probs[:, 0], expected, atol=1e-6)


def test_every_record_has_one_row_of_each_method(result):
    found = [(row["index"], row["method"]) for row in result.rows]
    methods = ("samples", "prior_mean", "raters")
    assert len(found) == len(set(found))
    assert set(found) == {(index, method) for index in range(10, 16) for method in methods}
    assert all(isinstance(row["index"], int) for row in result.rows)
    assert not any({"kl", "bins"} & row.keys() for row in result.rows)


def test_rows_hold_the_metrics_of_their_record(predictions, result):
    batch, prediction = predictions[1]
    overlaps = metrics.count_overlaps(prediction.probs, batch.masks, batch.rater_valid)
    scores = metrics.score_batch(overlaps, batch.rater_valid)
    held_out = metrics.samples_leave_one_out(overlaps, batch.rater_valid)
    raters = metrics.raters_leave_one_out(overlaps, batch.rater_valid)
    rows = {(row["index"], row["method"]): row for row in result.rows}
    for i, index in enumerate((14, 15)):
        of_samples = rows[index, "samples"]
        assert of_samples["ged"] == pytest.approx(scores["ged"][i])
        assert of_samples["dice_match"] == pytest.approx(scores["dice_match"][i])
        assert of_samples["s_ncc"] == index + 0.25
        assert rows[index, "prior_mean"]["s_ncc"] == index + 0.75
        assert of_samples["loo_ged"] == pytest.approx(held_out["ged"][i])
        assert rows[index, "raters"]["loo_ged"] == pytest.approx(raters["ged"][i])
        assert "ged" not in rows[index, "raters"]


def test_the_prior_mean_scores_as_a_single_sample(predictions, result):
    single = []
    for batch, _ in predictions:
        alone = 1 / (1 + np.exp(-4 * batch.image[:, None, ..., 0]))
        overlaps = metrics.count_overlaps(alone, batch.masks, batch.rater_valid)
        single.append(metrics.score_batch(overlaps, batch.rater_valid))
    for name in ("ged", "ged_dpersona", "dice_soft", "dice_max_samples_per_rater"):
        expected = np.concatenate([scores[name] for scores in single])
        assert _of(result.rows, "prior_mean", name) == pytest.approx(expected, abs=1e-9), name


def test_the_latent_kl_is_the_mean_over_records_without_padding(result):
    np.testing.assert_allclose(result.latent_kl, [0.01 * np.mean(range(10, 16)), 0.0], rtol=1e-6)


def test_the_bins_hold_the_pixels_of_all_records_without_padding(predictions, result):
    found = [calibration.bins(p.samples.votes, b.rater_valid) for b, p in predictions]
    for name in Bins._fields:
        expected = sum(getattr(bins, name).sum(axis=0) for bins in found)
        np.testing.assert_allclose(getattr(result.bins, name), expected)
    assert result.bins.pixels.sum() == 6 * SIZE * SIZE
    assert 0 < result.bins.ece_all() < 1


def test_a_validation_logs_means_of_the_samples(result):
    summary = scoring.summarise(result)
    assert list(summary) == ["ged", "dice_match", "dice_soft", "active_units", "kl_z0", "kl_z1"]
    for name in ("ged", "dice_match", "dice_soft"):
        assert summary[name] == pytest.approx(np.mean(_of(result.rows, "samples", name)))
    assert summary["active_units"] == 1.0
    assert (summary["kl_z0"], summary["kl_z1"]) == pytest.approx((0.125, 0.0))


def test_batching_does_not_change_a_score(result):
    whole = [_host_batch(10, 4), _host_batch(14, 2)]
    joined = Batch(*(np.concatenate(pair) for pair in zip(*whole, strict=True)))
    padded = Batch(*(np.concatenate([x, x[-1:], x[-1:]]) for x in joined))
    padded.valid[-2:] = 0.0
    other = scoring.evaluate(_predict(padded))
    by_record = lambda rows: sorted(rows, key=lambda r: (r["index"], r["method"]))  # noqa: E731
    for mine, theirs in zip(by_record(other.rows), by_record(result.rows), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)


def _ranked(*geds):
    rows = [{"index": i, "method": "samples", "ged": ged} for i, ged in enumerate(geds)]
    return rows + [{"index": i, "method": "raters", "loo_ged": math.nan} for i in range(len(geds))]


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [3]), (2, [3, 1]), (3, [3, 4, 1]), (5, [3, 2, 4, 0, 1]), (9, 5)]
)
def test_panels_are_spread_from_the_lowest_to_the_highest_ged(count, chosen):
    found = scoring.spread_by_score(_ranked(0.6, 0.9, 0.2, 0.1, 0.4), count)
    assert found == ([3, 2, 4, 0, 1] if chosen == 5 else chosen)


def _personalise(params, batch, root):
    """Draws two sets of prompts; the results of retrieval depend on the record's index."""
    del root
    image = batch.image[..., 0]
    shift = np.arange(RATERS, dtype=np.float32)[None, None, :, None, None]
    scale = np.array([1.0, 4.0], np.float32)[None, :, None, None, None]
    probs = jax.nn.sigmoid(params * scale * (image[:, None, None] + shift - 1))
    even = (batch.index % 2 == 0).astype(jnp.float32)[:, None, None, None]
    first = np.array([[[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]] * 2], np.float32)  # [1, p, levels, k]
    missing = jnp.where(batch.rater_valid, 0.0, jnp.nan)[:, None, None, :]
    count = lambda own: metrics.count_overlaps(own, batch.masks, batch.rater_valid)  # noqa: E731
    overlaps = jax.vmap(count, in_axes=1, out_axes=1)(probs)
    own = packed.pack(probs[:, :1])
    found = Personalised(overlaps, probs, None, first * even + missing, 1 - first * even + missing)
    return found, found._replace(overlaps=jax.tree.map(jnp.ones_like, overlaps), packed=own)


def _styled(*batches):
    devices = parallel.create("mesh")
    step = devices.eval_step(_personalise)
    return list(
        scoring.predict(
            np.float32(1.0), batches, eval_step=step, parallel=devices, root=jax.random.key(0)
        )
    )


@pytest.fixture(scope="module")
def styled():
    """Six records and padding on four devices; record 14 lacks its second rater."""
    second = _host_batch(14, 2, padding=2)
    second.rater_valid[0, 1] = False
    return _styled(_host_batch(10, 4), second)


@pytest.fixture(scope="module")
def style_rows(styled):
    return scoring.evaluate_styles(styled, ("prompts_train", "other"), by_area=True)[:6]


def test_style_rows_are_one_per_record_and_method_without_padding(styled):
    rows = scoring.evaluate_styles(styled, ("prompts_train", "other"), by_area=True)
    assert [row["index"] for row in rows] == [10, 11, 12, 13, 14, 15] * 2
    assert [row["method"] for row in rows] == ["prompts_train"] * 6 + ["other"] * 6
    assert [row["area_1"] == 1 for row in rows] == [False] * 6 + [True] * 6
    assert all(isinstance(row["index"], int) for row in rows)


def test_style_rows_are_means_over_the_sets_of_prompts(styled, style_rows):
    records = [(b, found, i) for b, (found, _) in styled for i in range(len(b.index))]
    for row, (batch, prediction, i) in zip(style_rows, records, strict=True):
        sets = []
        for prompts in range(2):
            seen = prediction.probs[:, prompts], batch.masks, batch.rater_valid
            overlaps = metrics.count_overlaps(*seen)
            scores = metrics.score_batch(overlaps, batch.rater_valid)
            sets.append(scores | metrics.style_scores(overlaps, batch.rater_valid))
        mean = {name: np.mean([scores[name][i] for scores in sets], axis=0) for name in sets[0]}
        for name in ("ged", "dice_match", "dice_mean", "dice_others", "style_gain", "own_best"):
            assert row[name] == pytest.approx(mean[name]), name
        for a in range(RATERS):
            assert row[f"area_{a + 1}"] == pytest.approx(mean["area"][a])
            for b in range(RATERS):
                expected = pytest.approx(mean["dice_table"][a, b], nan_ok=True)
                assert row[f"dice_{a + 1}_{b + 1}"] == expected
        assert not {"dice_style", "dice_table", "area"} & row.keys()
    assert math.isnan(style_rows[4]["dice_1_2"])
    assert style_rows[4]["dice_mean"] == pytest.approx(
        (style_rows[4]["dice_1_1"] + style_rows[4]["dice_3_3"]) / 2
    )


def test_only_styles_own_contours_are_measured_in_mm_and_only_if_asked(styled, style_rows):
    """The second method's masks came back; pixels differ in size from record to record."""
    sizes = {index: np.float32([0.5, 0.1 * index]) for index in range(10, 15)}
    sizes[15] = np.full(2, np.nan, np.float32)
    methods = ("prompts_train", "other")
    rows = scoring.evaluate_styles(
        styled, methods, by_area=True, in_mm=InMm(sizes.__getitem__, 1.5)
    )
    bare = scoring.evaluate_styles(styled, methods, by_area=True)
    for row, own in zip(rows, bare, strict=True):
        added = row.keys() - own.keys()
        assert str({name: row[name] for name in own}) == str(own)  # NaN differs from itself
        areas = [row[f"area_mm2_{k}"] for k in (1, 2, 3)]
        expected = [row[f"area_{k}"] * 0.5 * 0.1 * row["index"] for k in (1, 2, 3)]
        unknown = row["index"] == 15
        np.testing.assert_allclose(areas, [np.nan] * 3 if unknown else expected, rtol=1e-6)
        assert (len(added) > 3) == (row["method"] == "other")
    measured = {row["index"]: row for row in rows if row["method"] == "other"}
    for batch, (_, own) in styled:
        for i, index in enumerate(batch.index.tolist()):
            seen = np.asarray(own.probs)[i, 0] > 0.5, batch.masks[i], batch.rater_valid[i]
            expected = contours.of_styles(*seen, sizes[index], 1.5)
            for name, value in expected.items():
                np.testing.assert_equal(measured[index][name], value)
    assert (measured[14]["undefined"], measured[15]["undefined"]) == (0, 3)


def test_retrieval_is_the_share_among_the_valid_raters(style_rows):
    names = [f"{a}_{b}" for b in ("text_to_visual", "visual_to_text") for a in ("latent", "visual")]
    shares = {row["index"]: [row[name] for name in names] for row in style_rows}
    for index in (10, 12):
        assert shares[index] == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3])
    for index in (11, 13, 15):
        assert shares[index] == pytest.approx([0, 0, 1, 1])
    assert shares[14] == pytest.approx([1, 1 / 2, 0, 1 / 2])  # raters 1 and 3 only


def test_a_validation_of_stage_two_logs_means(style_rows):
    summary = scoring.summarise_styles(style_rows)
    names = ["dice_mean", "ged", "dice_match", "style_gain", "own_best", "ordered"]
    assert list(summary)[:6] == names
    assert len(summary) == 10
    for name, value in summary.items():
        assert value == pytest.approx(np.mean([row[name] for row in style_rows])), name
    assert summary["latent_text_to_visual"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 6)


def test_retrieval_without_text_and_order_without_by_area_are_not_logged(styled):
    nothing = lambda x: {"text_to_visual": x * np.nan, "visual_to_text": x * np.nan}  # noqa: E731
    blind = [(b, [p._replace(**nothing(p.text_to_visual))]) for b, (p, _) in styled]
    rows = scoring.evaluate_styles(blind, ["prompts_train"], by_area=False)
    assert all(math.isnan(row["visual_visual_to_text"]) for row in rows)
    summary = scoring.summarise_styles(rows)
    assert list(summary) == ["dice_mean", "ged", "dice_match", "style_gain", "own_best"]
    assert all(math.isnan(row["ordered"] + row["rank_correlation"]) for row in rows)
