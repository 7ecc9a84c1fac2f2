"""Describes where the numbers of a report come from: versions, commit, hardware and command."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

from prosona_jax import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def describe() -> dict[str, Any]:
    """Returns command, commit, versions and hardware of this process, ready for JSON."""
    devices = jax.devices()
    return {
        "command": shlex.join(["python", "-m", _program(), *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {"prosona_jax": __version__}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "hardware": f"{len(devices)} x {devices[0].device_kind}, {os.cpu_count()} CPU cores, "
        f"{jax.process_count()} process(es)",
        "platform": platform.platform(),
    }


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else pathlib.Path(sys.argv[0]).name


def commit() -> str | None:
    """Returns the commit of this code, as :func:`commit_of`."""
    return commit_of(pathlib.Path(__file__).parent)


def commit_of(folder: str | os.PathLike[str]) -> str | None:
    """Returns the commit of the Git clone that tracks a folder, with "+" if tracked files differ.

    Returns None outside of a clone, and if the clone does not track the folder. For example, an
    installed package may lie in an environment inside the clone of another project.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", ".")
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
