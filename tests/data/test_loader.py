"""Batches: each record once per epoch, the same over any number of processes, resumable."""

import itertools
import json

import numpy as np
import pytest

from data_pipelines import loader, prepared
from prosona_jax.types import Batch, InputError

INDICES = np.array([0, 2, 3, 4, 6, 7, 8, 9, 10, 11])


@pytest.fixture
def dataset(make_npz, make_settings, cache):
    return prepared.prepare(make_settings(make_npz()), cache)


def train(dataset, process_index=0, process_count=1, **changes):
    options = {"batch_size": 4, "seed": 7, **changes}
    return loader.train_batches(
        loader.reader(dataset),
        INDICES,
        process_index=process_index,
        process_count=process_count,
        **options,
    )


def evaluate(dataset, indices=INDICES, process_index=0, process_count=1):
    return list(
        loader.eval_batches(
            loader.reader(dataset),
            indices,
            batch_size=4,
            process_index=process_index,
            process_count=process_count,
        )
    )


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


def test_a_batch_holds_the_records_that_its_index_names(dataset):
    batch = next(train(dataset))
    assert isinstance(batch, Batch)
    assert [array.dtype for array in batch] == [np.float32, np.uint8, bool, np.int32, np.float32]
    assert [array.shape for array in batch] == [(4, 20, 20, 1), (4, 3, 20, 20), (4, 3), (4,), (4,)]
    for i, position in enumerate(batch.index):
        np.testing.assert_array_equal(batch.image[i], dataset[position].image)
        np.testing.assert_array_equal(batch.masks[i], dataset[position].masks)
    assert batch.valid.all()


def test_every_epoch_has_each_record_once_in_a_new_order(dataset):
    seen = np.concatenate([batch.index for batch in take(train(dataset), 15)])
    epochs = seen.reshape(6, 10)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(INDICES, (6, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_order_depends_on_the_seed_alone(dataset):
    first, again, other = (
        np.concatenate([batch.index for batch in take(train(dataset, seed=seed), 3)])
        for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_saved_position_gives_the_identical_following_batches(dataset, count):
    iterator = train(dataset)
    take(iterator, count)
    position = json.loads(json.dumps(iterator.get_state()))
    expected = take(iterator, 4)
    fresh = train(dataset)
    take(fresh, 2)
    fresh.set_state(position)
    for a, b in zip(take(fresh, 4), expected, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("process_count", [2, 4])
def test_shares_of_all_processes_make_up_the_global_batch(dataset, process_count):
    shares = [take(train(dataset, p, process_count), 5) for p in range(process_count)]
    for whole, *parts in zip(take(train(dataset), 5), *shares, strict=True):
        assert_same(whole, [np.concatenate(arrays) for arrays in zip(*parts, strict=True)])


def test_evaluation_has_each_record_once_in_order_and_marks_padding(dataset):
    batches = evaluate(dataset)
    assert len(batches) == 3
    index, valid = (np.concatenate(arrays) for arrays in list(zip(*batches, strict=True))[3:])
    np.testing.assert_array_equal(index[valid == 1], INDICES)
    np.testing.assert_array_equal(valid, [1] * 10 + [0] * 2)
    np.testing.assert_array_equal(batches[-1].image[3], dataset[INDICES[-1]].image)


def test_every_process_evaluates_as_many_batches(dataset):
    few = INDICES[:5]  # in the last batch one process has only padding
    whole = evaluate(dataset, few)
    parts = [evaluate(dataset, few, p, 4) for p in range(4)]
    assert [len(part) for part in parts] == [2] * 4
    for n, batch in enumerate(whole):
        together = zip(*(part[n] for part in parts), strict=True)
        assert_same(batch, [np.concatenate(arrays) for arrays in together])


def test_a_batch_that_does_not_divide_among_processes_is_refused(dataset):
    with pytest.raises(
        InputError, match="batch_size=4 does not divide among 3 processes; choose a multiple of 3"
    ):
        train(dataset, 0, 3)
    with pytest.raises(InputError, match="does not divide among 3"):
        evaluate(dataset, INDICES, 0, 3)
