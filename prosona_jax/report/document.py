"""Writes sections of text, tables and figures to a folder, as HTML, Markdown, JSON and CSV.

    report.html   one file that contains its figures; it has no scripts and fetches nothing
    report.md     the same sections, with figures/*.png beside it
    report.json   the numbers
    tables.tex    the tables that have columns of numbers, for LaTeX with the package booktabs
    rows.csv      one row per record and method
    rows_volumes.csv  one row per volume and method, if there are volumes

In a text, words between backticks are shown as code. All other characters are literal.
"""

import base64
import csv
import io
import json
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape

from prosona_jax import bundle
from prosona_jax.report import latex
from prosona_jax.types import InputError
from prosona_jax.unicode import visible

_DATA = "report.json"
_FILES = {
    *("report.html", "report.md", _DATA, "tables.tex", "rows.csv", "rows_volumes.csv", "figures")
}


class Text(NamedTuple):
    """A paragraph."""

    body: str


class Facts(NamedTuple):
    """The few most important numbers, each as (label, value, remark)."""

    items: Sequence[tuple[str, str, str]]


class Table(NamedTuple):
    """Cells as they are shown; `align` has one letter per column, l or r."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    caption: str = ""


class Figure(NamedTuple):
    """A PNG file, `figures/<name>.png`; `alt` describes it for people who cannot see it."""

    name: str
    png: bytes
    alt: str
    caption: str


class Listing(NamedTuple):
    """Preformatted text, collapsed under its title."""

    title: str
    body: str


Block = Text | Facts | Table | Figure | Listing


class Section(NamedTuple):
    """A heading and its content."""

    title: str
    blocks: Sequence[Block]


class Document(NamedTuple):
    """A title, a subtitle and sections; `warnings` are shown in a box above the sections."""

    title: str
    subtitle: str
    warnings: Sequence[str]
    sections: Sequence[Section]


def write(
    folder: str | os.PathLike[str],
    document: Document,
    *,
    data: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    volume_rows: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Writes the report to `folder`, completely or not at all. It replaces an earlier report.

    Args:
        folder: created if absent; the folder holds the report and nothing else.
        document: content of report.html, report.md and tables.tex.
        data: content of report.json. Arrays become lists; numbers that are not finite become null.
        rows: content of rows.csv. Its columns are the union of the rows' keys. A cell is empty if
            its value is absent or not finite.
        volume_rows: content of rows_volumes.csv, which is not written without any.

    Returns:
        The content of report.json, as it is read back.

    Raises:
        InputError: as from :func:`check`.
    """
    check(folder)
    text = _json(data)
    pages = {
        "report.html": _html(document),
        "report.md": markdown(document),
        _DATA: f"{text}\n",
        "tables.tex": _latex(document),
        "rows.csv": _csv(rows),
    }
    if volume_rows:
        pages["rows_volumes.csv"] = _csv(volume_rows)
    # Bytes of a path that are not UTF-8 become escapes, which JSON can read back.
    files = {name: page.encode(errors="backslashreplace") for name, page in pages.items()}
    for figure in _figures(document):
        files[f"figures/{figure.name}.png"] = figure.png
    bundle.write(pathlib.Path(folder), files)
    return json.loads(text)


def check(folder: str | os.PathLike[str], data: Mapping[str, Any] | None = None) -> None:
    """Raises InputError if no report can or may be written to `folder`.

    Args:
        folder: as in :func:`write`. It must not hold other files than those of a report.
        data: if given, "data" of an earlier report in the folder must be equal to it, as JSON.
    """
    folder = pathlib.Path(folder).resolve()
    bundle.check(folder, _FILES, "report")
    if data is not None and (folder / _DATA).exists():
        before = json.loads((folder / _DATA).read_text(encoding="utf-8"))["data"]
        if before != json.loads(_json(data)):
            raise InputError(
                f"{folder}: holds the report of another data set or split; move it away, and run "
                "this again"
            )


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(_plain(data), indent=2, allow_nan=False, default=str, ensure_ascii=False)


def entries(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns rows (name, value) of a table; the name of a nested value has all its keys."""
    listed = []
    for key, value in mapping.items():
        name = prefix + str(key).replace("_", " ")
        if isinstance(value, Mapping):
            listed += entries(value, f"{name}, ")
        else:
            listed.append((name, _readable(value)))
    return listed


def origin(provenance: Mapping[str, Any]) -> Section:
    """Returns the section on where the numbers come from; "config", if present, is collapsed."""
    items = {key: value for key, value in provenance.items() if key != "config"}
    if "versions" in items:
        items["versions"] = [f"{name} {version}" for name, version in items["versions"].items()]
    blocks: list[Block] = [Table(("Item", "Value"), entries(items), "ll")]
    if "config" in provenance:
        config = json.dumps(provenance["config"], indent=2, default=str)
        blocks.append(Listing("Configuration", config))
    return Section("Provenance", blocks)


def footnote(caveats: Sequence[str], citation: str) -> str:
    """Returns the footnote of each figure: the claims of the caveats, and the data's citation."""
    claims = [f"{caveat.partition(': ')[0].rstrip('.')}." for caveat in caveats]
    return " ".join([*claims, *([f"Data: {citation}"] if citation else [])])


def _figures(document: Document) -> list[Figure]:
    blocks = [block for section in document.sections for block in section.blocks]
    return [block for block in blocks if isinstance(block, Figure)]


def _plain(value: Any) -> Any:
    """Returns the value in JSON's types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, restval=None, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _readable(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "unknown" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_readable, value)) or "none"
    return "unknown" if value is None or value == "" else str(value)


def _html(document: Document) -> str:
    def code(text: str) -> Markup:
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(visible(text)))))

    def width(png: bytes) -> int:
        return int.from_bytes(png[16:20], "big") // 2  # two pixels of the PNG per pixel of the page

    environment = _environment(autoescape=True)
    environment.filters |= {
        "inline": code,
        "base64": lambda content: base64.b64encode(content).decode(),
        "width": width,
    }
    return environment.get_template("report.html.j2").render(document=document)


def markdown(document: Document) -> str:
    """Returns the content of report.md; figures lie beside it in figures/."""

    def literal(text: str) -> str:
        parts = re.split(r"(`[^`]+`)", visible(text))
        special = r"[\\`*<&~]|\](?=[(\[:])|(?<!\w)_|_(?!\w)"
        parts[::2] = [re.sub(special, r"\\\g<0>", part) for part in parts[::2]]
        return "".join(parts).replace("|", r"\|")  # a bar ends a table's cell, even in code

    environment = _environment(autoescape=False)
    environment.filters |= {"inline": literal}
    return environment.get_template("report.md.j2").render(document=document)


def _latex(document: Document) -> str:
    """Returns the content of tables.tex."""
    environment = _environment(
        autoescape=False,  # the filter does it, since jinja2 knows HTML alone
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
    )
    environment.filters["inline"] = latex.escape
    return environment.get_template("tables.tex.j2").render(document=document)


def _environment(*, autoescape: bool, **syntax: Any) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("prosona_jax.report"),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **syntax,
    )
    environment.filters["visible"] = visible
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment
