"""The picture of several raters' contours: which are drawn, how, and what is said of them."""

import numpy as np
from matplotlib.colors import to_hex

from prosona_jax.report import figures, raters
from tests.report.test_overlay import contours

NAMES = ["Ann_1", "Bo", "Cy"]


def shown(title, valid=(True, True, True), size=0.5):
    masks = np.zeros((3, 40, 60), np.uint8)
    for k in range(3):
        masks[k, 10 : 20 + k, 30:40] = valid[k]
    image = np.linspace(-1, 1, 2400, dtype=np.float32).reshape(40, 60)
    spacing = np.full(2, size, np.float32)
    return raters.Shown(title, image, masks, np.array(valid), spacing)


def test_each_case_has_the_contours_of_its_raters():
    figure = raters.draw([shown("c1"), shown("c2", (True, False, True))], NAMES)
    one, other = (ax for ax in figure.axes if ax.images)
    assert [ax.get_title() for ax in (one, other)] == ["c1", "c2\nwithout Bo"]
    for ax, drawn in ((one, (0, 1, 2)), (other, (0, 2))):
        lines = contours(ax)
        assert [to_hex(line.get_color()).upper() for line in lines] == [
            figures.RATERS[k] for k in drawn
        ]
    for k, line in enumerate(contours(one)):
        assert np.ptp(line.get_ydata()) == 10 + k
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == NAMES
    assert figures.png(figure).startswith(b"\x89PNG")


def test_places_without_a_case_are_empty():
    figure = raters.draw([shown(f"c{k}", size=np.nan) for k in range(4)], NAMES)
    assert [bool(ax.images) for ax in figure.axes] == [True] * 4 + [False] * 2
    assert not any(ax.axison for ax in figure.axes)
