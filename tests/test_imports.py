"""A table of the imports that each folder and top module of the package may have."""

import ast
import builtins
import functools
import pathlib
from collections.abc import Iterator, Mapping

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOUNS = "types rng unicode checksum files bundle hub"  # modules that all may import
PARTS = f"{NOUNS} models text runtime training evaluation report"
COMMANDS = {
    "main",
    "compare",
    "predict",
    "fit_style",
    "export",
    "score",
    "probe",
    "prompts",
    "cards",
    "train_reader",
    "cli",
}  # only they may use flags
MAY_IMPORT = {  # {unit: units that it may import, besides itself}
    "types": "",
    "rng": "",
    "unicode": "types",
    "checksum": "types",
    "files": "types",
    "bundle": "types",
    "hub": "",
    "models": "types rng",
    "text": "types unicode hub",
    "runtime": "types checksum files __version__",
    "training": "types rng models text runtime",
    "evaluation": "types rng models runtime",
    "report": "types unicode bundle evaluation",
    "experiments": f"{PARTS} data_pipelines configs",
    "prediction": f"{PARTS} experiments data_pipelines __version__",
    "cli": "types",
    **dict.fromkeys(
        COMMANDS - {"cli"},
        f"{PARTS} experiments prediction cli data_pipelines configs",
    ),
}
CONFIGS = {"experiments", "prediction", *COMMANDS}  # only they may use configs
# only they may access files or log
FILES = {*("text", "runtime", "report", "checksum", "files", "bundle", "hub"), *CONFIGS}
FILES_AND_LOGS = {
    *("absl", "glob", "io", "logging", "os", "pathlib", "shutil", "tempfile", "tqdm"),
    *("open", "print"),
}
DEVICES = {"flax", "jax", "optax", "orbax"}


def within(name: str, parents: set[str]) -> bool:
    """Returns whether a dotted name is one of `parents` or inside one."""
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
    """Returns the fault of a name used in `prosona_jax.<unit>`, "" if it has none."""
    if unit == "__init__":
        return "the package must import light" if within(name, DEVICES) else ""
    if unit not in MAY_IMPORT:
        return f"prosona_jax.{unit} is in no line of MAY_IMPORT; give it one"
    package, _, rest = name.partition(".")
    target = rest.partition(".")[0] if package == "prosona_jax" else package
    ours = package in {"prosona_jax", "data_pipelines", "configs"}
    if ours and target != unit and target not in MAY_IMPORT[unit].split():
        return f"{unit} may import {MAY_IMPORT[unit] or 'nothing of the package'}"
    if within(name, {"absl.app", "absl.flags"}) and unit not in COMMANDS:
        return "a flag outside of the commands"
    if within(name, {"ml_collections"}) and unit not in CONFIGS:
        return "a config below the experiments"
    if within(name, FILES_AND_LOGS) and unit not in FILES:
        return "a log or a file in a pure folder"
    return ""


def data_fault(unit: str, name: str) -> str:
    """Returns the fault of a name used in `data_pipelines.<unit>`, "" if it has none."""
    if within(name, DEVICES):
        return "data pipelines run without JAX"
    if within(name, {"configs"}):
        return "a config reaches the data pipelines as plain settings"
    known = {
        f"prosona_jax.{noun}" for noun in ("types", "unicode", "checksum", "files", "__version__")
    }
    known |= {"prosona_jax.cli"} if unit in ("prepare", "inspect") else set()  # the commands
    known |= {"prosona_jax.bundle", "prosona_jax.report"} if unit == "inspect" else set()
    if within(name, {"prosona_jax"}) and not within(name, known):
        return "of the package, data pipelines know the nouns alone"
    return ""


def config_fault(name: str) -> str:
    """Returns the fault of a name used in `configs`, "" if it has none."""
    plain = within(name, {"configs", "ml_collections"}) or hasattr(builtins, name)
    return "" if plain else "configs hold values, not code"


def faults(sources: Mapping[str, str]) -> list[str]:
    """Returns one line for each forbidden import in modules given as {path: source}."""
    found = []
    for path, source in sorted(sources.items()):
        package, unit = pathlib.PurePath(path).with_suffix("").parts[:2]
        fault_in = {
            "prosona_jax": functools.partial(package_fault, unit),
            "data_pipelines": functools.partial(data_fault, unit),
            "configs": config_fault,
        }[package]
        for line, name in used(ast.parse(source)):
            fault = "write it from the root" if name.startswith(".") else fault_in(name)
            if fault:
                found.append(f"{path}:{line}: {name}: {fault}")
    return found


def test_the_project_has_only_imports_of_the_table():
    packages = ("prosona_jax", "data_pipelines", "configs")
    sources = {
        str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
        for package in packages
        for file in (ROOT / package).rglob("*.py")
    }
    assert {path.split("/")[0] for path in sources} == set(packages)
    assert not faults(sources), "\n".join(faults(sources))


def test_the_table_and_the_docs_name_every_module():
    found = {path.stem for path in (ROOT / "prosona_jax").iterdir()} - {"__init__", "__pycache__"}
    written = found - {"pretrained"}  # a model, without code
    assert written == set(MAY_IMPORT)
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [unit for unit in sorted(written) if f"`{unit}" not in drawn] == []


def test_the_table_has_no_cycle():
    """A folder imports only folders of the lines above it."""
    above = {"data_pipelines", "configs", "__version__"}
    for unit, names in MAY_IMPORT.items():
        assert set(names.split()) <= above | {"cli"}, unit
        above.add(unit)


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("prosona_jax/training/losses.py", "from prosona_jax import experiments", "may import"),
        ("prosona_jax/training/step.py", "from prosona_jax.evaluation import metrics", "training"),
        ("prosona_jax/evaluation/metrics.py", "import prosona_jax.training.step", "evaluation may"),
        ("prosona_jax/report/figures.py", "from prosona_jax.models import unet", "report may"),
        ("prosona_jax/rng.py", "def f():\n    from prosona_jax import main", "nothing of the"),
        ("prosona_jax/evaluation/metrics.py", "import pathlib", "a log or a file"),
        ("prosona_jax/training/step.py", "open('x')", "a log or a file"),
        ("prosona_jax/report/charts.py", "from absl import flags", "a flag"),
        ("prosona_jax/runtime/monitor.py", "import ml_collections", "a config"),
        ("prosona_jax/training/loop.py", "from data_pipelines import settings", "may import"),
        ("prosona_jax/training/loop.py", "from . import step", "from the root"),
        ("prosona_jax/__init__.py", "import jax", "light"),
        ("prosona_jax/utils.py", "import math", "in no line"),
        ("data_pipelines/splits.py", "import jax.numpy as jnp", "without JAX"),
        ("data_pipelines/splits.py", "from prosona_jax import rng", "the nouns alone"),
        ("data_pipelines/splits.py", "from prosona_jax import cli", "the nouns alone"),
        ("data_pipelines/prepare.py", "from prosona_jax.report import figures", "the nouns alone"),
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
        ("prosona_jax/training/step.py", "from prosona_jax import rng\nimport jax"),
        ("prosona_jax/models/prob_unet.py", "from prosona_jax.models import unet"),
        ("prosona_jax/report/document.py", "from prosona_jax.report import figures\nimport os"),
        ("prosona_jax/main.py", "from prosona_jax import cli\nfrom absl import app, flags"),
        ("data_pipelines/prepare.py", "from prosona_jax import cli"),
        ("data_pipelines/inspect.py", "from prosona_jax.report import raters"),
        ("data_pipelines/images/dicom.py", "from prosona_jax import __version__"),
        ("data_pipelines/splits.py", "import numpy\nfrom prosona_jax.types import Record"),
        ("configs/lidc.py", "import ml_collections\nfrom configs import base"),
    ],
)
def test_an_import_of_the_table_is_allowed(path, source):
    assert faults({path: source}) == []
