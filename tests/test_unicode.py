"""Text of any script is decoded, shortened, wrapped and escaped."""

import codecs

import pytest

from prosona_jax import unicode
from prosona_jax.types import InputError

TEXT = "styles: größer, 固い芯\n# ё\n"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # man, woman, girl, joined
JAPAN = "\U0001f1ef\U0001f1f5"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_encodings_with_a_byte_order_mark_and_utf8_are_decoded(mark, encoding):
    assert unicode.decode(mark + TEXT.encode(encoding), "p.yaml") == TEXT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "a: b\nc: größer".encode("latin-1"),
            "line 2: the byte 0xF6 is not UTF-8; the file is probably Latin-1 or Windows-1252, "
            "as Excel and Notepad save it; save it as UTF-8, or run: iconv -f LATIN1 -t UTF-8 "
            "FILE > NEW_FILE",
        ),
        (
            "a: “größer”".encode("cp1252"),
            "line 1: the byte 0x93 is not UTF-8; the file is probably Latin-1 or Windows-1252, "
            "as Excel and Notepad save it; save it as UTF-8, or run: iconv -f WINDOWS-1252 -t "
            "UTF-8 FILE > NEW_FILE",
        ),
        *(
            (
                text.encode(encoding),
                f"line 1: the byte 0x{byte} is not UTF-8; the file is probably in an older "
                "encoding, such as Shift JIS, GBK or Windows-1251; save it as UTF-8, or run: iconv "
                "-f ITS-ENCODING -t UTF-8 FILE > NEW_FILE",
            )
            for text, encoding, byte in (
                ("a: かたい芯をかこむ", "shift-jis", "82"),
                ("a: плотное ядро", "cp1251", "EF"),
            )
        ),
        (
            "größer, süß\n".encode() + b"gr\xf6\xdfer",
            "line 2: the byte 0xF6 is not UTF-8; other lines are UTF-8, so type this line again",
        ),
        (
            "größ".encode()[:-1],
            "line 1: the byte 0xC3 is not UTF-8; the file ends within a character; copy it again",
        ),
        *(
            (
                TEXT.encode(name),
                f"is probably {name} without a byte order mark; save it as UTF-8, or run: iconv -f "
                f"{name} -t UTF-8 FILE > NEW_FILE",
            )
            for name in ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")
        ),
        (
            b"PK\x03\x04\n\x00\x01",
            "line 2: holds the byte 0x00, so the file is damaged or not text; save it as UTF-8",
        ),
        (
            codecs.BOM_UTF16_LE + b"a\0b",
            "starts as UTF-16LE and is damaged at byte 5; copy it again, or save it as UTF-8",
        ),
    ],
)
def test_another_encoding_gives_a_guess_and_a_remedy(content, said):
    with pytest.raises(InputError) as fault:
        unicode.decode(content, "p.yaml")
    assert str(fault.value) == f"p.yaml: {said}"


@pytest.mark.parametrize(
    "whole",
    [
        *("a", "e\u0301", "か\u3099", "क्षि", FAMILY, JAPAN, "\u2764\ufe0f", "1\ufe0f\u20e3"),
        *("\U0001f44d\U0001f3fd", "\u1112\u1161\u11ab"),
    ],
)
def test_what_people_see_as_one_character_is_a_cluster(whole):
    assert list(unicode.clusters(f"x{whole}{whole} y")) == ["x", whole, whole, " ", "y"]
    assert unicode.start(f"{whole}{whole}", 2 * len(whole) - 1) == whole


def test_flags_are_pairs_and_a_pile_of_marks_is_cut():
    assert list(unicode.clusters(JAPAN * 2)) == [JAPAN, JAPAN]
    assert max(map(len, unicode.clusters("e" + "\u0301" * 100))) == 16


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        ("  hug \n the core ", "hug the core"),
        ("outline the core of the nodule", "outline the core ..."),
        ("outline the core, of it", "outline the ..."),
        ("固い芯をぎりぎりに囲んで描いてください。", "固い芯をぎりぎりに囲んで描いてください。"),
        ("固い芯をぎりぎりに囲んで描いてください。。", "固い芯をぎりぎりに囲んで描いてく ..."),
        ("W" * 21, "W" * 16 + " ..."),
        ("a " + "W" * 30, "a " + "W" * 14 + " ..."),
        ("x" * 14 + "e\u0301\u0302" + "y" * 9, "x" * 14 + " ..."),
        ("x" * 13 + FAMILY + "y" * 9, "x" * 13 + " ..."),
    ],
)
def test_texts_are_shortened_by_characters_between_words_or_whole_clusters(text, shortened):
    assert unicode.shorten(text, 20) == shortened
    assert len(shortened) <= 20


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\tb\nc\u2028d", "a b c d"),
        ("a\x07b\x1b[0m\x00", r"a\x07b\x1b[0m\x00"),
        ("a\u202eb\u2066c\ufeff", r"a\u202eb\u2066c\ufeff"),
        ("caf\udce9", r"caf\udce9"),
        ("می\u200cخواهم e\u0301 $x$", "می\u200cخواهم e\u0301 $x$"),
        ("\u0301a", r"\u0301a"),
        ("e" + "\u0301" * 17, "e" + "\u0301" * 15 + r"\u0301\u0301"),
    ],
)
def test_invisible_characters_are_escaped(text, seen):
    assert unicode.visible(text) == seen


@pytest.mark.parametrize(
    ("cluster", "spelled"),
    [
        ("手", r"\u624b"),
        ("か\u3099", r"\u304b\u3099"),
        ("\U0001f602", "[face with tears of joy]"),
        ("\u2764\ufe0f", "[heavy black heart]"),
        (FAMILY, "[man, woman, girl]"),
        ("\ue000", r"\ue000"),
    ],
)
def test_clusters_without_a_font_are_spelled(cluster, spelled):
    assert unicode.spell(cluster) == spelled


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("hug the solid core", ["hug the", "solid core"]),
        ("a " + "W" * 23, ["a", "W" * 10, "W" * 10, "WWW"]),
        ("固い芯をぎりぎりに囲んで、描いて", ["固い芯をぎりぎりに囲", "んで、描いて"]),
        ("あいうえおかきくけこ。さ", ["あいうえおかきくけ", "こ。さ"]),
        ("ab 固い芯をぎりぎりに", ["ab 固い芯をぎりぎ", "りに"]),
        (r"\u56fa\u3044", [r"\u56fa", r"\u3044"]),
        ("x" * 9 + "e\u0301\u0302z", ["x" * 9, "e\u0301\u0302z"]),
        ("", []),
    ],
)
def test_lines_are_no_wider_than_allowed(text, lines):
    assert unicode.wrap(text, lambda line: float(len(line)), 10.0) == lines
