"""Identifiers of patients, series and records as text: the same one must read the same everywhere.

A patient whose identifier comes in two spellings is two patients to a split: one may be trained on,
and the other tested.
"""

import math
import unicodedata
from typing import Any

import numpy as np

from prosona_jax import unicode
from prosona_jax.types import InputError


def text(value: Any, where: str, name: str) -> str:
    """Returns an identifier as text, without what nobody sees at its ends: blanks, NULs, marks.

    Text stays, but for one spelling of letters with accents (NFC). Bytes are decoded as UTF-8, and
    of numbers 7 and 7.0 are one.

    Args:
        value: what a file holds.
        where: file and record, the start of an error's line.
        name: what the field is called.

    Raises:
        InputError: it is neither text nor a number, bytes or text that UTF-8 cannot hold, or a
            float so large that the next integer is the same one.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{where}: {name} is {_short(value)}, bytes that are no UTF-8; store it as text"
            ) from None
    if isinstance(value, str) and unicode.is_utf8(value):
        try:
            unseen = "".join(filter(_unseen, set(value)))
        except SystemError:  # a damaged array: characters beyond the last one of Unicode
            raise InputError(f"{where}: {name} is damaged; write it again") from None
        return unicodedata.normalize("NFC", value).strip(unseen)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | np.floating) and math.isfinite(value):
        if abs(float(value)) >= 2.0 ** (np.finfo(type(value)).nmant + 1):
            raise InputError(
                f"{where}: {name} is {_short(value)}, a float that is one number with its "
                "neighbours; store it as text or as an integer"
            )
        return str(int(value)) if value == int(value) else str(float(value))
    raise InputError(f"{where}: {name} is {_short(value)}; store it as text")


def _unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")


def _short(value: Any) -> str:
    shown = repr(value.item() if isinstance(value, np.floating) else value)
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."
