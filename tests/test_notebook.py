"""The notebooks as committed: what they hold and import, and their first cell in Colab."""

import ast
import sys
import types

import nbformat
import pytest

from tests.notebooks import NAMES, code_of, committed

SHARED = ("install", "model")  # ids of the cells that both notebooks have
LIBRARIES = {
    "prosona_jax",
    "numpy",
    "matplotlib",
    "ipywidgets",
    *sys.stdlib_module_names,
}


def _cell(notebook, name):
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    return cell


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_valid_and_carries_no_outputs(name):
    notebook = committed()[name]
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = code_of(notebook)
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_quickstart_is_short():
    assert len(committed()["quickstart"].cells) <= 14


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_no_inner_module(name):
    imported = set()
    for cell in code_of(committed()[name]):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    assert {module.partition(".")[0] for module in imported} <= LIBRARIES
    ours = {module for module in imported if module.startswith(("prosona_jax", "data_pipelines"))}
    assert ours == {"prosona_jax"}


def test_what_both_notebooks_have_is_the_same():
    for name in SHARED:
        assert len({_cell(notebook, name).source for notebook in committed().values()}) == 1
    helpers = [
        [ast.unparse(node) for node in ast.parse(_cell(notebook, "helpers").source).body]
        for notebook in committed().values()
    ]
    imports = ("import", "from")
    one, other = ([line for line in lines if not line.startswith(imports)] for lines in helpers)
    assert one == other
    assert len([line for line in one if line.startswith("def ")]) == 3


@pytest.fixture
def colab(monkeypatch):
    """Runs the first code cell as in Colab, and returns the commands that it gives."""
    source = code_of(committed()["quickstart"])[0].source
    commands = []

    def install(repository, device):
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
        monkeypatch.setattr("glob.glob", lambda pattern: [device] if device in pattern else [])
        monkeypatch.setattr("subprocess.run", lambda command, **_: commands.append(command))
        monkeypatch.setattr(sys, "path", list(sys.path))
        exec(source.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}"), {})
        return [" ".join(command) for command in commands]

    return install


@pytest.mark.parametrize(
    ("device", "extra"), [("none", "."), ("nvidia", ".[cuda]"), ("accel", ".[tpu]")]
)
def test_colab_gets_the_repository_and_what_its_accelerator_needs(colab, device, extra):
    clone, package, wheels = colab("https://example.org/copy.git", device)
    assert clone == "git clone --depth=1 https://example.org/copy.git /content/prosona_jax"
    assert package.endswith(f"-m pip install --quiet -e {extra}")
    assert wheels.endswith("--no-deps -r requirements-nodeps.txt")
    assert sys.path[0] == "/content/prosona_jax"


def test_colab_is_told_to_name_a_repository(colab):
    with pytest.raises(SystemExit, match="Set REPOSITORY above"):
        colab("", "none")


@pytest.mark.parametrize("name", NAMES)
def test_elsewhere_the_first_cell_does_nothing(monkeypatch, name):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("nothing is to be run"))
    first = code_of(committed()[name])[0]
    assert first.id == "install"
    exec(first.source, {})
