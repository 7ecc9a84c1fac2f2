"""Litter in folders is ignored, and links are followed once."""

import collections
import pickle

import numpy as np
import pytest
from PIL import Image

from data_pipelines import folders, prepared, sources
from prosona_jax.types import InputError, Record

LITTER = ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "Desktop.ini", ".hidden.dcm")


def test_litter_is_ignored(tmp_path):
    for name in ("a.png", "b", *LITTER):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_bytes(b"")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"")
    expected = [tmp_path / "a.png", tmp_path / "b"]
    assert folders.files(tmp_path) == expected
    assert folders.entries(tmp_path) == expected


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "a.dcm").write_bytes(b"")
    (tmp_path / "data" / "first").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "second").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "file.dcm").symlink_to(tmp_path / "elsewhere" / "deep" / "a.dcm")
    (tmp_path / "data" / "broken.dcm").symlink_to(tmp_path / "absent")
    assert folders.files(tmp_path / "data") == [
        tmp_path / "data" / "file.dcm",
        tmp_path / "data" / "first" / "deep" / "a.dcm",
    ]


def test_distinct_folders_are_real_ones_before_links(tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "b")
    found = [tmp_path / name for name in ("c", "a", "b")]
    assert folders.distinct(found) == [tmp_path / "b", tmp_path / "c"]
    (tmp_path / "also").symlink_to(tmp_path)
    assert folders.distinct([tmp_path / "also" / "c", tmp_path / "c"]) == [tmp_path / "c"]


def disc(radius):
    rows, columns = np.mgrid[:20, :20] - 10
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def make_crops(folder):
    for kind, names in {"images": ["z-1.0_c0"], "gt": ["z-1.0_c0_l0", "z-1.0_c0_l1"]}.items():
        place = folder / kind / "p1"
        place.mkdir(parents=True)
        for k, name in enumerate(names):
            pixels = np.arange(400).reshape(20, 20) % 256 if kind == "images" else 255 * disc(3 + k)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{name}.png")
            (place / f"._{name}.png").write_bytes(b"\0\5\x16\7 Mac OS X")
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (folder / ".DS_Store").write_bytes(b"")


def make_pickles(folder):
    folder.mkdir()
    item = {"image": np.eye(20), "masks": [disc(3), disc(4)], "series_uid": "s_1"}
    (folder / "a.pickle").write_bytes(pickle.dumps({"r": item}))
    (folder / "._a.pickle").write_bytes(b"\0\5\x16\7 Mac OS X")


@pytest.mark.parametrize(("source", "make"), [("crops", make_crops), ("pickled", make_pickles)])
def test_no_source_stops_at_litter(tmp_path, make_settings, source, make):
    make(tmp_path / "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    for name in ("real", "linked"):
        settings = make_settings(tmp_path / name, source=source)
        items = list(sources.records(settings, collections.Counter()))
        assert [type(item) for item in items] == [Record], items
        assert not any(isinstance(item, InputError) for item in items)
        assert items[0].masks.sum(axis=(1, 2)).tolist() == [disc(3).sum(), disc(4).sum()]


def test_a_prepared_data_set_does_not_depend_on_litter(tmp_path, make_settings):
    make_crops(tmp_path / "tree")
    settings = make_settings(tmp_path / "tree", source="crops")
    before = prepared._key(settings)
    (tmp_path / "tree" / "images" / ".DS_Store").write_bytes(b"")
    assert prepared._key(settings) == before
    (tmp_path / "tree" / "images" / "new.png").write_bytes(b"")
    assert prepared._key(settings) != before
