"""Where a number comes from: versions, commit, hardware and command, for every report."""

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
    """Returns the commit of a folder's clone, "+" added if tracked files differ.

    None outside of one, or where the clone around it does not track the folder: an installed
    package lies in whatever project has the environment.
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
