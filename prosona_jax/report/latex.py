"""Escapes text for LaTeX."""

import re

from prosona_jax.unicode import visible

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after a line break, a bare bracket would be its argument
    "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "“": "``",
    "”": "''",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def escape(text: str) -> str:
    r"""Returns literal text; words between backticks become \texttt.

    >>> escape("GED of `dpersona_id`, % of 2 mm²")
    'GED of \\texttt{dpersona\\_id}, \\% of 2 mm\\textsuperscript{2}'
    """
    parts = re.split(r"`([^`]+)`", visible(text))
    escaped = ["".join(_ESCAPES.get(letter, letter) for letter in part) for part in parts]
    escaped[1::2] = [rf"\texttt{{{part}}}" for part in escaped[1::2]]
    return "".join(escaped)
