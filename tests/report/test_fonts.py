"""Every text is drawn without a warning, whatever fonts the machine has."""

import logging

import pytest
from matplotlib.figure import Figure

from prosona_jax.report import figures, fonts

SCRIPTS = {
    "japanese": "固い芯をぎりぎりに囲んで描いてください。" * 15,
    "arabic": "ارسم حدودًا ضيقة حول النواة الصلبة فقط " * 8,
    "hebrew": "שלום עולם",
    "hindi": "ठोस कोर को कसकर घेरें, अनिश्चित क्षेत्र छोड़ दें",
    "emoji": "core \U0001f602 \U0001f469\u200d\u2695\ufe0f \u2764\ufe0f \U0001f1ef\U0001f1f5",
    "german": "Zeichne großzügig über die Ränder hinaus, süß",
    "long": "outline generously " * 16,
    "word": "W" * 200,
    "mathtext": "$x^2 a_b \\alpha % $",
    "controls": "a\x07b\u202ec\u2066\udce9\x00",
    "marks": "Z" + "\u0301\u0302\u0303" * 30,
    "private": "\ue000\U000f0000\u0378",
    "underscore": "_hidden",
}


@pytest.fixture
def no_fonts(monkeypatch):
    """Simulates a machine that has only the fonts that the test names."""

    def only(*families):
        fonts._choose.cache_clear()
        monkeypatch.setattr(fonts, "_families", lambda: list(families))

    yield only
    fonts._choose.cache_clear()


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("machine", ["this", "bare"])
def test_lines_of_any_script_are_drawn_within_the_maximum_width(name, machine, no_fonts):
    if machine == "bare":
        no_fonts()
    (shown,), family = fonts.set_lines([SCRIPTS[name]], size=8.0, inches=3.0)
    figure = Figure(figsize=(4, 2), dpi=figures.DPI)
    text = figure.text(0, 0, shown, fontsize=8, fontfamily=family, parse_math=False)
    assert figures.png(figure).startswith(b"\x89PNG")  # no glyph is missing
    assert 0 < text.get_window_extent().width / figure.dpi <= 3.0


def test_a_font_is_chosen_that_has_the_letters(no_fonts):
    """One of Matplotlib's fonts has the arc, U+2312, and its default font lacks it."""
    no_fonts("DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral")
    assert fonts.set_lines(["an \u2312"], size=8.0, inches=3.0) == (
        ["an \u2312"],
        ["DejaVu Sans", "DejaVu Sans Mono"],
    )
    assert fonts.set_lines(["größer"], size=8.0, inches=3.0) == (["größer"], ["DejaVu Sans"])


def test_letters_without_a_font_are_escaped_with_a_warning(no_fonts, caplog):
    no_fonts("no such family")
    with caplog.at_level(logging.WARNING):
        shown, family = fonts.set_lines(["手 \U0001fac1 é", "a 手"], size=8.0, inches=3.0)
    assert (shown, family) == ([r"\u624b [lungs] é", r"a \u624b"], ["DejaVu Sans"])
    assert (
        "figures write 手 \U0001fac1 as escapes, because no installed font has these letters; "
        "install a font of their script, such as Noto"
    ) in caplog.messages


def test_boxes_and_blank_glyphs_do_not_count_as_letters():
    assert not [family for family in fonts._families() if family.startswith("Last Resort")]
    assert fonts._drawn("DejaVu Sans", ("a", "é", "\u2800", "手")) == {"a", "é"}
