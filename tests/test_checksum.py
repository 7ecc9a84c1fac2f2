"""A checksum detects every change of the content, and nothing else."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.checksum import ChecksumError, seal, unseal

CONTENT = {"window_hu": [-1000.0, 400.0], "name": "größer", "best": None, "at": {"next": 12}}
ARRAYS = (("a", np.arange(6, dtype=np.float32).reshape(2, 3)), ("b", np.zeros((), np.int32)))


def test_sealed_content_is_returned_without_its_checksum():
    sealed = seal(CONTENT, ARRAYS)
    assert sealed == CONTENT | {"sha256": sealed["sha256"]}
    assert unseal(json.loads(json.dumps(sealed)), ARRAYS) == CONTENT


def test_the_checksum_is_that_of_the_content_as_sorted_json():
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # SHA-256 of "{}"
    assert seal({}) == {"sha256": digest}


def test_changes_by_json_do_not_count():
    content = {"size": (1, 2), 10: 0.1, 9: float("nan")}
    read = unseal(json.loads(json.dumps(seal(content))))
    assert list(read) == ["size", "10", "9"]
    assert read["size"] == [1, 2]


def test_the_storage_of_an_array_does_not_count():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    stored = seal({}, [("a", values)])
    for same in (jnp.asarray(values), np.asfortranarray(values)):
        assert unseal(stored, [("a", same)]) == {}


@pytest.mark.parametrize(
    "arrays",
    [
        (("c", ARRAYS[0][1]), ARRAYS[1]),
        (("a", ARRAYS[0][1].view(np.int32)), ARRAYS[1]),
        (("a", ARRAYS[0][1].reshape(3, 2)), ARRAYS[1]),
        (("a", np.nextafter(ARRAYS[0][1], np.float32(9))), ARRAYS[1]),
        ARRAYS[::-1],
        ARRAYS[:1],
    ],
    ids=["name", "type", "shape", "values", "order", "number"],
)
def test_other_arrays_are_detected(arrays):
    with pytest.raises(ChecksumError, match=r"^damaged or edited: its checksum differs$"):
        unseal(seal(CONTENT, ARRAYS), arrays)


def test_every_flipped_bit_is_detected_or_changes_nothing():
    text, refused = json.dumps(seal(CONTENT)).encode(), 0
    for place in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[place // 8] ^= 1 << place % 8
        try:
            assert unseal(json.loads(bytes(flipped))) == CONTENT
        except ValueError:  # not JSON, or another checksum
            refused += 1
    assert refused > 7 * len(text)


@pytest.mark.parametrize("stored", [CONTENT, {}, [], 3, None])
def test_content_without_a_checksum_is_refused(stored):
    with pytest.raises(ChecksumError) as fault:
        unseal(stored)
    assert str(fault.value) == "no checksum: damaged, or written by an earlier version"
