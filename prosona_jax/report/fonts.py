"""Finds the installed fonts that have the letters of a text, and breaks the text into lines.

Matplotlib takes a list of fonts; the first font that has a letter draws it. For a letter that no
font has, Matplotlib warns and draws a box. It joins and orders letters as their script requires,
also from right to left. It cannot draw glyphs that are coloured pictures, as in most emoji fonts.
"""

import functools
import logging
from collections.abc import Sequence

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font, LoadFlags

from prosona_jax import unicode

_BASE = "DejaVu Sans"  # comes with Matplotlib
_LAST_RESORT = "Last Resort"  # also comes with Matplotlib; it has a box for every letter
_REGULAR = 400  # weight
_DPI = 200
_SLACK = 1.02  # a line may be wider by this factor at another resolution

_LOG = logging.getLogger(__name__)


def set_lines(texts: Sequence[str], *, size: float, inches: float) -> tuple[list[str], list[str]]:
    """Returns the texts, broken into lines, and the fonts that can draw them.

    A letter that no installed font has is replaced by an escape, and a warning is logged.

    Args:
        texts: any texts, in any script.
        size: size of the letters, in points.
        inches: the maximum width of a line.

    Returns:
        The texts, and Matplotlib's `fontfamily`. Draw the texts with `parse_math=False`, because a
        dollar sign in them does not start a formula.
    """
    parts = [list(unicode.clusters(unicode.visible(text))) for text in texts]
    every = dict.fromkeys(cluster for text in parts for cluster in text)
    foreign = tuple(cluster for cluster in every if not cluster.isascii())
    known = _drawn(_BASE, foreign)
    lacking = tuple(cluster for cluster in foreign if cluster not in known)
    others = _choose(lacking)
    lost = set(lacking).difference(*(_drawn(family, lacking) for family in others))
    if lost:
        _warn(unicode.shorten(" ".join(cluster for cluster in lacking if cluster in lost), 40))
    shown = ["".join(unicode.spell(c) if c in lost else c for c in text) for text in parts]
    family = [_BASE, *others]
    width = functools.partial(_inches, size=size, family=tuple(family))
    return ["\n".join(unicode.wrap(text, width, inches / _SLACK)) for text in shown], family


@functools.cache
def _warn(lost: str) -> None:
    """Warns once per set of letters: the figures of a report have the same names."""
    _LOG.warning(
        "figures write %s as escapes, because no installed font has these letters; install a font "
        "of their script, such as Noto",
        lost,
    )


@functools.cache
def _scratch() -> Figure:
    figure = Figure(dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def _inches(line: str, *, size: float, family: Sequence[str]) -> float:
    figure = _scratch()
    text = figure.text(0, 0, line, fontsize=size, fontfamily=list(family), parse_math=False)
    width = text.get_window_extent().width / _DPI
    text.remove()
    return width


@functools.lru_cache(64)
def _choose(lacking: tuple[str, ...]) -> tuple[str, ...]:
    """Returns families that together draw as many clusters as possible, the most useful first."""
    if not lacking:
        return ()
    offers = {family: _drawn(family, lacking) for family in _families()}
    chosen: list[str] = []
    left = set(lacking)
    while offers:
        best = max(offers, key=lambda family: _use(offers[family] & left, family))
        if not offers[best] & left:
            break
        chosen.append(best)
        left -= offers[best]
    return tuple(chosen)


def _use(drawn: frozenset[str], family: str) -> tuple[int, bool]:
    return len(drawn), "sans" in family.lower()  # prefers a font that looks like the base font


@functools.cache
def _families() -> list[str]:
    """Returns the names of this machine's upright regular fonts, in Matplotlib's order."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    # Matplotlib caches its list of fonts, so fonts that were installed later are added here.
    for path in sorted({*font_manager.findSystemFonts()} - known):
        try:
            manager.addfont(path)
        except Exception as error:  # a damaged file may raise any error
            _LOG.debug("%s: cannot be used as a font (%s)", path, error)
    names = (
        entry.name
        for entry in manager.ttflist
        if (entry.style, entry.weight) == ("normal", _REGULAR)
    )
    return [name for name in dict.fromkeys(names) if not name.startswith((_LAST_RESORT, "."))]


@functools.lru_cache(1024)
def _drawn(family: str, clusters: tuple[str, ...]) -> frozenset[str]:
    """Returns the clusters that a family can draw; none if its file cannot be read."""
    try:
        path = font_manager.findfont(FontProperties(family=family), fallback_to_default=False)
        font = FT2Font(path, face_index=path.face_index)
        font.set_size(10, 72)
        return frozenset(cluster for cluster in clusters if _has(font, cluster))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _has(font: FT2Font, cluster: str) -> bool:
    for character in unicode.bare(cluster):
        if not font.get_char_index(ord(character)):
            return False
        if not character.isprintable():
            continue  # a format character is invisible
        left, low, right, high = font.load_char(ord(character), LoadFlags.NO_HINTING).bbox
        if not character.isspace() and (left == right or low == high):
            return False  # a glyph without an outline is a coloured picture
    return True
