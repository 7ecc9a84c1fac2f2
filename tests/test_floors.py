"""Imports go only downwards; docs/architecture.md draws the floors."""

import ast
import builtins
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAP = ROOT / "docs" / "architecture.md"
FLOORS = [  # a name keeps its place until it is written
    {"types", "rng", "texts", "checksum"},
    {"distributions", "prompts", "projection"},
    {"models", "augment", "losses", "metrics", "intervals"},
    {"step", "stage_one", "stage_two", "personalise"},
    {
        *("parallel", "checkpoint", "monitor", "provenance", "workdir", "text_encoder"),
        *("catalogue", "results", "fonts", "figures", "charts", "overlay", "report"),
    },
    {
        "build",
        "train",
        "evaluate",
        "freeze",
        "summary",
        "sample_summary",
        "style_summary",
        "comparison",
    },
    {
        "inputs",
        "unseen",
        "predictions",
        "experiment",
        "runs",
        "grid",
        "answers",
        "main",
        "compare",
        "predict",
        "score",
    },
]
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}
STEP, TOP = FLOOR["step"], FLOOR["main"]  # up to the step: pure; at the top: flags and data
FILES_AND_LOGS = {
    *("absl", "glob", "io", "logging", "os", "pathlib", "shutil", "tempfile", "tqdm"),
    *("open", "print"),
}
FLAGS = {"absl.app", "absl.flags", "ml_collections"}
DEVICES = {"flax", "jax", "optax", "orbax"}


def within(name: str, parents: set[str]) -> bool:
    """Whether a dotted name is one of `parents` or lies below one."""
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of each import, late ones too, and of each builtin called.

    `from a import b` is a.b, whether b is a module or not.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and hasattr(builtins, getattr(node.func, "id", "")):
            yield node.lineno, node.func.id


def package_fault(unit: str, name: str) -> str:
    """Says what is wrong with a name used in `prosona_jax.<unit>`, "" if nothing."""
    if unit == "__init__":
        return "the package must import light"
    if unit not in FLOOR:
        return f"prosona_jax.{unit} is on no floor; give it one here and in {MAP.name}"
    floor = FLOOR[unit]
    package, _, rest = name.partition(".")
    target = rest.partition(".")[0]
    if package == "prosona_jax" and target in FLOOR:
        if FLOOR[target] > floor:
            return f"upward, from floor {floor} to {FLOOR[target]}"
        if FLOOR[target] == floor == FLOOR["models"] and target != unit:
            return "sideways, on the floor of the pure functions"
    if package in {"configs", "data_pipelines"} and floor < TOP:
        return f"only floor {TOP} joins configs and data to the package"
    if within(name, FLAGS) and floor <= FLOOR["report"]:
        return "a flag or ConfigDict below the programs"
    if within(name, FILES_AND_LOGS) and floor <= STEP:
        return "a log or a file in a pure module"
    return ""


def data_fault(name: str) -> str:
    """Says what is wrong with a name used in `data_pipelines`, "" if nothing."""
    if within(name, DEVICES):
        return "data pipelines run without JAX"
    if within(name, {"configs"}):
        return "a config reaches the data pipelines as plain settings"
    known = {f"prosona_jax.{name}" for name in ("types", "texts", "checksum", "__version__")}
    if within(name, {"prosona_jax"}) and not within(name, known):
        return "of the package, data pipelines know types, texts, checksum and version alone"
    return ""


def config_fault(name: str) -> str:
    """Says what is wrong with a name used in `configs`, "" if nothing."""
    plain = within(name, {"configs", "ml_collections"}) or hasattr(builtins, name)
    return "" if plain else "configs hold values, not code"


def faults(sources: Mapping[str, str]) -> list[str]:
    """Returns one line for each breach of the floors in modules given as {path: source}."""
    found = []
    for path, source in sorted(sources.items()):
        package, unit = pathlib.PurePath(path).with_suffix("").parts[:2]
        fault_in = {
            "prosona_jax": functools.partial(package_fault, unit),
            "data_pipelines": data_fault,
            "configs": config_fault,
        }[package]
        for line, name in used(ast.parse(source)):
            fault = "write it from the root" if name.startswith(".") else fault_in(name)
            if fault:
                found.append(f"{path}:{line}: {name}: {fault}")
    return found


def test_the_project_keeps_to_its_floors():
    packages = ("prosona_jax", "data_pipelines", "configs")
    sources = {
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
        for package in packages
        for file in (ROOT / package).rglob("*.py")
    }
    assert {path.split("/")[0] for path in sources} == set(packages)
    assert not faults(sources), "\n".join(faults(sources))


def test_every_module_has_a_floor_and_the_map_in_the_docs_shows_it():
    written = {path.stem for path in (ROOT / "prosona_jax").iterdir()}
    assert written - {"__init__", "__pycache__", "templates"} <= set(FLOOR)
    rows = re.findall(r"^\| (\d) \|([^|]+)\|", MAP.read_text(encoding="utf-8"), re.MULTILINE)
    drawn = {int(floor): set(re.findall(r"`(\w+)/?`", units)) for floor, units in rows}
    assert drawn == {number: units & written for number, units in enumerate(FLOORS)}


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("prosona_jax/losses.py", "from prosona_jax import step", "upward, from floor 2 to 3"),
        ("prosona_jax/losses.py", "import prosona_jax.models.unet", "sideways"),
        ("prosona_jax/models/unet.py", "from prosona_jax.losses import dice", "sideways"),
        ("prosona_jax/rng.py", "def f():\n    from prosona_jax import main", "upward"),
        ("prosona_jax/metrics.py", "import pathlib", "a log or a file"),
        ("prosona_jax/metrics.py", "open('x')", "a log or a file"),
        ("prosona_jax/report.py", "from absl import flags", "a flag"),
        ("prosona_jax/monitor.py", "import ml_collections", "a flag"),
        ("prosona_jax/train.py", "from data_pipelines import settings", "only floor 6"),
        ("prosona_jax/train.py", "from . import step", "from the root"),
        ("prosona_jax/__init__.py", "import jax", "light"),
        ("prosona_jax/utils.py", "import math", "on no floor"),
        ("data_pipelines/splits.py", "import jax.numpy as jnp", "without JAX"),
        (
            "data_pipelines/splits.py",
            "from prosona_jax import rng",
            "types, texts, checksum and version alone",
        ),
        ("data_pipelines/splits.py", "from configs import lidc", "plain settings"),
        ("configs/lidc.py", "import numpy", "values, not code"),
    ],
)
def test_a_planted_import_is_found(path, source, fault):
    (found,) = faults({path: source})
    assert found.startswith(path)
    assert fault in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("prosona_jax/step.py", "from prosona_jax import losses, rng\nimport jax"),
        ("prosona_jax/models/prob_unet.py", "from prosona_jax.models import unet"),
        ("prosona_jax/report.py", "from prosona_jax import figures\nimport pathlib"),
        ("prosona_jax/main.py", "from data_pipelines import settings\nfrom absl import app, flags"),
        ("data_pipelines/images/dicom.py", "from prosona_jax import __version__, texts"),
        ("data_pipelines/splits.py", "import numpy\nfrom prosona_jax.types import Record"),
        ("configs/lidc.py", "import ml_collections\nfrom configs import base"),
    ],
)
def test_a_downward_import_is_allowed(path, source):
    assert faults({path: source}) == []
