"""Identifiers of patients, series and records as text: the same one must read the same everywhere.

A patient whose identifier comes in two spellings is two patients to a split: one may be trained on,
and the other tested.
"""

import math
from typing import Any

import numpy as np

from prosona_jax import unicode
from prosona_jax.types import InputError


def text(value: Any, where: str, name: str) -> str:
    """Returns an identifier as text, without the blanks and NULs that formats pad with.

    Text stays, bytes are decoded as UTF-8, and of numbers 7 and 7.0 are one.

    Args:
        value: what a file holds.
        where: file and record, the start of an error's line.
        name: what the field is called.

    Raises:
        InputError: it is neither text nor a number, or bytes or text that UTF-8 cannot hold.
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
        return value.strip(" \t\r\n\0")
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | np.floating) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(float(value))
    raise InputError(f"{where}: {name} is {_short(value)}; store it as text")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."
