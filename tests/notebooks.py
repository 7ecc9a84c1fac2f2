"""The notebooks of the repository and their cells."""

import functools
import pathlib

import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("latent_interpolation", "quickstart")


@functools.cache
def committed():
    """Returns the notebooks by name, as they are in the repository."""
    return {name: nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4) for name in NAMES}


def code_of(notebook):
    """Returns the cells of code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
