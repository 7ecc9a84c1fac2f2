"""What settings must say of a folder: unit, labels, patterns and layout."""

import pytest

from prosona_jax.types import InputError
from tests.data.folder_files import VOLUMES, listed, picture_folder, volume_folder


def test_the_unit_is_asked_for_once(read_folder, tmp_path):
    root = volume_folder(tmp_path / "data")
    (line,) = listed(read_folder, layout="plain")
    assert line.startswith(f"{root / 'images' / 'c1.nii.gz'}: states no unit of its values; set")
    assert line.endswith("(2 others state none)")
    (line,) = listed(read_folder, layout="plain", on_error="skip")
    assert "case 'c1' states no unit of its values; set data.unit" in line


def test_a_label_that_no_mask_holds_is_a_fault(read_folder, tmp_path):
    volume_folder(tmp_path / "data")
    (line,) = listed(read_folder, **VOLUMES, label=(3,))
    assert "no mask holds one of data.label=(3,); the masks hold 1" in line


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({}, "give data.images and data.masks"),
        ({"images": "{case}.png"}, "give data.images and data.masks"),
        ({"images": "a.png", "masks": "{case}/{rater}.png"}, r"has no \{case\}"),
        ({"images": "{case}.png", "masks": "{case}.png"}, r"has no \{rater\}"),
        ({"images": "{case}{ward}.png", "masks": "{case}/{rater}.png"}, r"\{ward\} is unknown"),
        ({"images": "{case}.png", "masks": "m/{case}/{rater}.png"}, "no image fits the pattern"),
        ({"images": "images/{case}.png", "masks": "m/{case}/{rater}.png"}, "no mask fits the"),
        (
            {"layout": "scgm", "masks": "{site}-{case}-mask-r{rater}.txt"},
            "masks in text files are not read; .* gives its masks also as .nii.gz: use data.layout",
        ),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(read_folder, tmp_path, asked, fault):
    picture_folder(tmp_path / "data")
    with pytest.raises(InputError, match=fault):
        read_folder(**asked)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"layout": "quibq"}, "data.layout='quibq' is unknown"),
        ({"unit": "hu"}, "data.unit='hu' is unknown"),
        ({"label": (0,)}, r"data.label=\(0,\): give the values"),
    ],
)
def test_a_wrong_field_is_refused(make_settings, changes, fault):
    with pytest.raises(InputError, match=fault):
        make_settings("x", source="folder", **changes)
