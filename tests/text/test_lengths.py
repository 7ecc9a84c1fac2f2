"""Lengths in sentences."""

import pytest

from prosona_jax.text import lengths


@pytest.mark.parametrize(
    ("sentence", "mm"),
    [
        ("Go 2 mm outside the edge.", 2),
        ("take away 3mm all around", 3),
        ("0,4 mm drinnen", 0.4),
        ("go in .2 mm", 0.2),
        ("-0.3 mm", 0.3),
        ("half a centimetre of safety", 5),
        ("Add a quarter of a millimetre.", 0.25),
        ("three quarters of a millimeter less", 0.75),
        ("¾ mm inside", 0.75),
        ("two tenths of a millimetre more", 0.2),
        ("grow it by one and a half mm", 1.5),
        ("go in a millimetre and a half", 1.5),
        ("Pull it in by a full millimetre.", 1),
        ("twenty-five microns outside", 0.025),
        ("two hundred µm tighter", 0.2),
        ("1/4 inch of room", 6.35),
        ("a couple of millimetres more", 2),
        ("On this 12 mm nodule, go 0.5 mm outside.", 0.5),
    ],
)
def test_a_single_length_is_found(sentence, mm):
    assert lengths.find_mm(sentence) == pytest.approx(mm)


@pytest.mark.parametrize(
    "sentence",
    [
        "Draw the usual outline.",
        "20 % larger",
        "two pixels inside",  # their size is not known here
        "not more than 2 mm outside",
        "Don't go 2 mm out.",
        "between 2 and 3 mm outside",
        "2-3 mm outside",
        "Reduce the diameter by 2 mm.",
        "0.6 mm wider across, so 0.3 on each side",
        "Usually it is 80 mm² large.",
        "usually 80 mm2, now less",
        "on 2 mm slices, go outside",
        "erode twice by 0.3 mm",
        "half a millimetre more, that is a quarter on each side",
    ],
)
def test_what_is_not_certain_is_no_length(sentence):
    assert lengths.find_mm(sentence) is None
