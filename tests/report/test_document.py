"""A report shows its content, needs no other file, and is written completely or not at all."""

import base64
import csv
import html.parser
import json
import pathlib

import numpy as np
import pytest

from prosona_jax.report import charts, document, figures
from prosona_jax.types import InputError

HOSTILE = '<script>alert("x")</script> & [a](http://b) | *c* `d|<e>` _f_ g_h'
FILES = ["figures", "report.html", "report.json", "report.md", "rows.csv", "tables.tex"]


@pytest.fixture(scope="module")
def png():
    bars = charts.threshold_bars(np.array([1.0, 0.1]), threshold=0.5, label="y", prefix="x")
    return figures.png(bars)


@pytest.fixture
def content(png):
    return document.Document(
        title=f"Title {HOSTILE}",
        subtitle="What it is",
        warnings=["The CT is simulated: no evidence."],
        sections=[
            document.Section(
                "One", [document.Text(HOSTILE), document.Facts([("GED", "0.1", "low")])]
            ),
            document.Section(
                "Two",
                [
                    document.Table(
                        ("Name", "Value"), [("a|b", "0.25"), (HOSTILE, "−1")], "lr", "N"
                    ),
                    document.Figure("one", png, f"alt {HOSTILE}", "caption"),
                    document.Listing("Config", '{"a": "<b>"}\n\n```'),
                ],
            ),
        ],
    )


DATA = {
    "nan": float("nan"),
    "f32": np.float32(0.5),
    "array": np.array([[1.0, np.inf], [2.0, 3.0]]),
    "nested": {"tuple": (1, None, "ü"), 3: True},
    "path": pathlib.Path("a/b"),
}
ROWS = [
    {"record_id": "r,1", "ged": 0.1 + 0.2, "dice": np.float64(1 / 3)},
    {"record_id": 'r"2', "ged": float("nan"), "loo": 1e-17},
]


class Page(html.parser.HTMLParser):
    """Parses a page into tags with attributes, and the text of each table cell."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.texts, self._open = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")
        self._open = tag

    def handle_data(self, data):
        self.texts.append(data)
        if self._open in ("td", "code") and self.cells:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self._open = "td" if tag == "code" else None


def _contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path, content):
    folder = tmp_path / "runs" / "report"
    document.write(folder, content, data=DATA, rows=ROWS)
    return folder


@pytest.fixture
def page(folder):
    return Page((folder / "report.html").read_text())


def test_files(folder, png):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "figures" / "one.png").read_bytes() == png


def test_html_is_one_file_without_scripts(page, png):
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "base", "form", "a"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not any(name.startswith("on") or name == "href" for name in attributes)
    (source,) = [attrs["src"] for _, attrs in page.tags if "src" in attrs]
    head, _, content = source.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content) == png
    style = page.texts[page.texts.index("\n") :]
    assert not any("url(" in text or "@import" in text for text in style)


def test_html_shows_text_as_given(page):
    assert page.cells == ["a|b", "0.25", HOSTILE.replace("`", ""), "−1"]
    assert dict(page.tags)["img"]["alt"] == f"alt {HOSTILE}"
    assert f"Title {HOSTILE}" in page.texts
    assert "d|<e>" in page.texts  # the code between backticks
    assert '{"a": "<b>"}\n\n```' in page.texts


def test_markdown_shows_text_as_given(folder):
    escaped = r'\<script>alert("x")\</script> \& [a\](http://b) \| \*c\* `d\|<e>` \_f\_ g_h'
    lines = (folder / "report.md").read_text().splitlines()
    assert lines[0] == f"# Title {escaped}"
    for line in (
        "> **Caution:** The CT is simulated: no evidence.",
        "- **GED: 0.1** (low)",
        "| Name | Value |",
        "| --- | ---: |",
        r"| a\|b | 0.25 |",
        f"| {escaped} | −1 |",
        "*N*",
        f"![alt {escaped}](figures/one.png)",
        "<details><summary>Config</summary>",
        '    {"a": "<b>"}',
        "    ```",
    ):
        assert line in lines


def test_json_holds_the_data_with_null_for_numbers_that_are_not_finite(folder, content):
    stored = json.loads((folder / "report.json").read_text())
    assert stored == {
        "nan": None,
        "f32": 0.5,
        "array": [[1.0, None], [2.0, 3.0]],
        "nested": {"tuple": [1, None, "ü"], "3": True},
        "path": "a/b",
    }
    assert document.write(folder, content, data=DATA, rows=ROWS) == stored


def test_csv_round_trip(folder):
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["record_id"] for row in rows] == ["r,1", 'r"2']
    assert float(rows[0]["ged"]) == 0.1 + 0.2
    assert float(rows[0]["dice"]) == 1 / 3
    assert float(rows[1]["loo"]) == 1e-17
    assert [rows[0]["loo"], rows[1]["ged"], rows[1]["dice"]] == ["", "", ""]


def test_same_input_gives_the_same_bytes(folder, content):
    before = _contents(folder)
    document.write(folder, content, data=DATA, rows=ROWS)
    assert _contents(folder) == before


def test_invisible_characters_and_bytes_that_are_not_utf_8_are_escaped(tmp_path):
    odd = "a\u202eb\x07 caf\udce9"
    content = document.Document(odd, "", (), (document.Section(odd, (document.Text(odd),)),))
    read = document.write(tmp_path / "r", content, data={"id": odd}, rows=[{"id": odd}])
    assert read == {"id": odd}
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert r"<h2>a\u202eb\x07 caf\udce9</h2>" in page
    assert "\u202e" not in page
    assert r"a\\u202eb\\x07" in (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert r"caf\udce9" in (tmp_path / "r" / "rows.csv").read_text(encoding="utf-8")


def test_a_new_report_replaces_the_old_one_and_leftovers_of_a_killed_call(folder, content):
    leftover = folder.with_name(".report.new")
    leftover.mkdir()
    (leftover / "half").touch()
    document.write(folder, content._replace(sections=[]), data={}, rows=[])
    assert [path.name for path in folder.parent.iterdir()] == ["report"]
    assert sorted(path.name for path in folder.iterdir()) == [n for n in FILES if n != "figures"]
    assert json.loads((folder / "report.json").read_text()) == {}


@pytest.mark.parametrize("earlier", [True, False])
def test_a_failing_write_changes_nothing(tmp_path, content, monkeypatch, earlier):
    folder = tmp_path / "report"
    if earlier:
        document.write(folder, content, data={"old": 1}, rows=ROWS)
    before = _contents(tmp_path)
    write_bytes = pathlib.Path.write_bytes

    def fail_late(path, content):
        if path.name == "rows.csv":
            raise OSError("disk full")
        return write_bytes(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail_late)
    with pytest.raises(OSError, match="disk full"):
        document.write(folder, content, data={"new": 1}, rows=ROWS)
    assert _contents(tmp_path) == before
    assert folder.exists() == earlier
    assert not folder.with_name(".report.new").exists()


def test_a_folder_with_other_files_is_not_replaced(tmp_path, content):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(InputError) as error:
        document.write(tmp_path, content, data={}, rows=[])
    assert str(error.value) == (
        f"{tmp_path}: 'thesis.tex' is not part of a report, and writing one replaces the whole "
        "folder; choose another folder or move that file away"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_report_of_other_data_is_not_replaced(tmp_path, content):
    scored = {"split": "test", "dice": float("nan"), "shape": (4, 4)}
    document.write(tmp_path / "eval", content, data={"data": scored}, rows=[])
    document.check(tmp_path / "eval", scored)
    document.check(tmp_path / "eval")
    with pytest.raises(InputError, match="/eval: holds the report of another data set or split"):
        document.check(tmp_path / "eval", scored | {"split": "all"})


def test_check_names_a_folder_that_cannot_be_written(tmp_path):
    document.check(tmp_path / "new" / "report")
    assert not (tmp_path / "new" / "report").exists()
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "report"):
        with pytest.raises(InputError, match=f"^{folder}: no report can be written here"):
            document.check(folder)


def test_entries_flatten_nested_mappings():
    mapping = {"a_b": {"c": 1, "d": {"e": [0.123456, "x"]}}, "f": None, "g": [], "h": float("nan")}
    assert document.entries(mapping) == [
        ("a b, c", "1"), ("a b, d, e", "0.1235, x"), ("f", "unknown"), ("g", "none"),
        ("h", "unknown"),
    ]  # fmt: skip


def test_tables_of_numbers_are_written_for_latex(content, tmp_path):
    document.write(tmp_path / "report", content, data={}, rows=[])
    lines = (tmp_path / "report" / "tables.tex").read_text().splitlines()
    hostile = (
        r"\textless{}script\textgreater{}alert(\"x\")\textless{}/script\textgreater{} \& "
        r"{[}a](http://b) | *c* \texttt{d|\textless{}e\textgreater{}} \_f\_ g\_h"
    ).replace(r"\"", '"')
    assert lines == [
        r"% \usepackage{booktabs}",
        "",
        r"\begin{table}",
        r"\centering",
        r"\caption{Two. N}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"Name & Value \\",
        r"\midrule",
        r"a|b & 0.25 \\",
        rf"{hostile} & $-$1 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
