"""Converts identifiers of patients, series and records to one spelling of text.

If the identifier of a patient had two spellings, the splits would count two patients, and one could
be trained on while the other is tested.
"""

import math
import unicodedata
from typing import Any

import numpy as np

from prosona_jax import unicode
from prosona_jax.types import InputError


def text(value: Any, where: str, name: str) -> str:
    """Returns an identifier as text, without blanks and other invisible characters at its ends.

    Letters with accents get one spelling (NFC); other text stays. Bytes are decoded as UTF-8. The
    numbers 7 and 7.0 become the same text.

    Args:
        value: the identifier as a file stores it.
        where: file and record; error messages start with it.
        name: name of the field.

    Raises:
        InputError: it is neither text, bytes nor a number, it is bytes or text that UTF-8 cannot
            represent, or a float so large that it cannot be told from the next integer.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{where}: {name} is {_short(value)}, bytes that are not UTF-8; store it as text"
            ) from None
    if isinstance(value, str) and unicode.is_utf8(value):
        try:
            unseen = "".join(filter(_unseen, set(value)))
        except SystemError:  # a damaged array holds characters beyond the last one of Unicode
            raise InputError(f"{where}: {name} is damaged; write it again") from None
        return unicodedata.normalize("NFC", value).strip(unseen)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | np.floating) and math.isfinite(value):
        if abs(float(value)) >= 2.0 ** (np.finfo(type(value)).nmant + 1):
            raise InputError(
                f"{where}: {name} is {_short(value)}, a float too large to differ from the "
                "next integer; store it as text or as an integer"
            )
        return str(int(value)) if value == int(value) else str(float(value))
    raise InputError(f"{where}: {name} is {_short(value)}; store it as text")


def _unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")


def _short(value: Any) -> str:
    shown = repr(value.item() if isinstance(value, np.floating) else value)
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."
