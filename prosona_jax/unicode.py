"""Decodes, shortens, wraps and escapes text that users write in any script.

Lengths are in characters. A cut never separates a letter from its marks, or the parts of a joined
emoji: see `clusters`.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterator

from prosona_jax.types import InputError

_MARKS = (  # UTF-32 before UTF-16, since its mark starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)
_JOINER = "\N{ZERO WIDTH JOINER}"
# Joiners and variation selectors.
_VARIANTS = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# These are invisible, but some scripts need them. Other format characters may reverse the text.
_HARMLESS = {*"\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060"}
_VIRAMA = 9  # combining class of the sign that joins two consonants of an Indic script
_LONGEST = 16  # most characters of a cluster, so that a long pile of marks can be cut
_MORE = " ..."


def decode(content: bytes, source: str) -> str:
    """Returns the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        InputError: the file has another encoding or is not text; the message names the likely
            encoding and a remedy.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(name)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{source}: starts as {name} and is damaged at byte "
                    f"{len(mark) + error.start + 1}; copy it again, or save it as UTF-8"
                ) from None
    if b"\0" in content:
        raise InputError(f"{source}: {_why_nul(content)}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{source}: line {line}: the byte 0x{content[error.start]:02X} is not UTF-8; "
            f"{_why_not_utf8(content, error)}"
        ) from None


def _why_nul(content: bytes) -> str:
    for _, name in _MARKS:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        if any(map(str.isascii, text)) and all(c.isprintable() or c.isspace() for c in text):
            return f"is probably {name} without a byte order mark; {_remedy(name)}"
    line = content.count(b"\n", 0, content.index(0)) + 1
    return f"line {line}: holds the byte 0x00, so the file is damaged or not text; save it as UTF-8"


def _why_not_utf8(content: bytes, error: UnicodeDecodeError) -> str:
    if error.reason == "unexpected end of data":
        return "the file ends within a character; copy it again"
    read = sum(not c.isascii() for c in content.decode("utf-8", errors="ignore"))
    faults = content.decode("utf-8", errors="replace").count("\N{REPLACEMENT CHARACTER}")
    if read > faults:
        return "other lines are UTF-8, so type this line again"
    runs = re.findall(
        rb"[\x80-\xff]+", content
    )  # Latin letters mostly give runs of one or two bytes
    if sum(len(run) > 2 for run in runs) > len(runs) / 2:
        return (
            "the file is probably in an older encoding, such as Shift JIS, GBK or Windows-1251; "
            + _remedy("ITS-ENCODING")
        )
    return "the file is probably Latin-1 or Windows-1252, as Excel and Notepad save it; " + _remedy(
        "WINDOWS-1252" if re.search(rb"[\x80-\x9f]", content) else "LATIN1"
    )


def _remedy(encoding: str) -> str:
    return f"save it as UTF-8, or run: iconv -f {encoding} -t UTF-8 FILE > NEW_FILE"


def clusters(text: str) -> Iterator[str]:
    """Yields what people see as one character: a letter with its marks, or a joined emoji.

    These are nearly Unicode's extended grapheme clusters (UAX 29), at most 16 characters long.
    """
    cluster = ""
    for character in text:
        if cluster and (len(cluster) == _LONGEST or not _belongs(cluster, character)):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _belongs(cluster: str, character: str) -> bool:
    last = cluster[-1]
    return (
        unicodedata.category(character)[0] == "M"
        or character in "\u200c\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin
        or "\U000e0020" <= character <= "\U000e007f"  # tags of a flag
        or "\u1160" <= character <= "\u11ff"  # later parts of a Korean syllable
        or (last == _JOINER and not character.isspace())
        or (unicodedata.combining(last) == _VIRAMA and character.isalpha())
        or (_of_flag(character) and _of_flag(last) and len(cluster) == 1)
    )


def _of_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def start(text: str, most: int, size: Callable[[str], int] = len) -> str:
    """Returns the longest start of the text, in whole clusters, whose size is at most `most`.

    `size` returns the size of a cluster, such as its number of bytes; a text's size is the sum.
    """
    kept, remaining = [], most
    for cluster in clusters(text):
        remaining -= size(cluster)
        if remaining < 0:
            break
        kept.append(cluster)
    return "".join(kept)


def shorten(text: str, most: int) -> str:
    """Returns the text with single blanks, cut to `most` characters with ' ...' if it is longer.

    The cut is after a word, unless this loses more than half of the text: some scripts have no
    blanks.
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    kept = start(text, most - len(_MORE))
    words = kept if text[len(kept)] == " " else kept.rpartition(" ")[0]
    return (words if len(words) > len(kept) / 2 else kept).rstrip() + _MORE


def is_utf8(text: str) -> bool:
    """Returns whether UTF-8 can encode the text; it cannot encode half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible(text: str) -> str:
    r"""Returns the text in one line, with invisible characters as escapes, such as \x07.

    Escaped, too, are format characters that reverse the rest of the line, marks without a letter,
    and excess marks on one letter, which would cover the lines above.
    """
    return "".join(map(_visible, clusters(" ".join(text.split()))))


def _visible(cluster: str) -> str:
    if unicodedata.category(cluster[0])[0] == "M":
        return escape(cluster)
    return "".join(escape(c) if _is_hidden(c) else c for c in cluster)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character)[0] == "C" and character not in _HARMLESS


def bare(text: str) -> str:
    """Returns the text without joiners and variation selectors."""
    return _VARIANTS.sub("", text)


def escape(text: str) -> str:
    r"""Returns the text with each character as its code point, such as \u624b."""
    return text.encode("unicode_escape", errors="surrogatepass").decode()


def spell(cluster: str) -> str:
    r"""Returns a replacement for a cluster that no font has.

    A symbol becomes its name, such as [face with tears of joy], a letter its code point, \u624b.
    """
    names = [unicodedata.name(character, "") for character in bare(cluster)]
    if all(names) and unicodedata.category(cluster[0])[0] == "S":
        return f"[{', '.join(names).lower()}]"
    return escape(cluster)


def wrap(text: str, width: Callable[[str], float], most: float) -> list[str]:
    """Breaks a text into lines of a width of at most `most`, as measured by `width`.

    A line may end at a blank, beside a wide character such as a Chinese one, or before a backslash.
    A word that is too wide for a line is broken between any two clusters.
    """
    lines, line = [], ""
    for piece in _pieces(text):
        if line and width((line + piece).strip()) > most:
            lines.append(line)
            line = ""
        if width(piece.strip()) <= most:
            line += piece
            continue
        for cluster in clusters(piece):
            if line and width(line + cluster) > most:
                lines.append(line)
                line = ""
            line += cluster
    return [line.strip() for line in (*lines, line) if line.strip()]


def _pieces(text: str) -> list[str]:
    """Returns the parts of a text between which a line may end."""
    pieces: list[str] = []
    was_wide = False
    for cluster in clusters(text):
        wide = unicodedata.east_asian_width(cluster[0]) in "WF"
        # A full stop or a closing bracket must not start a line.
        ends = unicodedata.category(cluster[0]) in {"Pe", "Pf", "Po"} and cluster != "\\"
        begins = wide or was_wide or cluster == "\\"
        if pieces and not pieces[-1][-1].isspace() and (ends or not begins):
            pieces[-1] += cluster
        else:
            pieces.append(cluster)
        was_wide = wide
    return pieces
