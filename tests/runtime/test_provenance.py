"""Provenance: the commit of the package's files, its mark for changed files, and versions."""

import importlib.metadata
import json
import subprocess

import prosona_jax
from prosona_jax.runtime import provenance


def _git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    result = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return result.stdout.strip()


def test_commit_marks_changed_files(tmp_path):
    assert provenance.commit_of(tmp_path) is None
    _git(tmp_path, "init", "--quiet")
    file = tmp_path / "a.py"
    file.write_text("one")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")[:12]
    assert provenance.commit_of(tmp_path) == commit
    (tmp_path / "untracked.log").write_text("a result, not the source")
    assert provenance.commit_of(tmp_path) == commit
    file.write_text("two")
    assert provenance.commit_of(tmp_path) == f"{commit}+"


def test_an_installed_package_has_no_commit_of_the_clone_around_it(tmp_path):
    _git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text(".venv")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "one")
    package = tmp_path / ".venv" / "package"
    package.mkdir(parents=True)
    (package / "a.py").write_text("one")
    assert provenance.commit_of(package) is None


def test_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/main.py", "--workdir=runs/a b", "--mode=eval"])
    command = provenance.describe()["command"]
    assert command.startswith("python -m ")
    assert command.endswith("'--workdir=runs/a b' --mode=eval")


def test_versions_are_those_of_the_running_packages():
    described = json.loads(json.dumps(provenance.describe()))
    assert described["versions"]["prosona_jax"] == prosona_jax.__version__
    assert described["versions"]["jax"] == importlib.metadata.version("jax")
    assert described["hardware"].startswith("4 x cpu")
