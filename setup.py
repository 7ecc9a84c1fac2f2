"""Packaging. Dependencies come from requirements*.txt, the version from the package itself."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).resolve().parent


def requirements() -> dict[str, list[str]]:
    """Returns the requirements by part: "" is the package, the others are the extras' names."""
    parts: dict[str, list[str]] = {"": []}
    part = ""
    files = (ROOT / name for name in ("requirements.txt", "requirements-beam.txt"))
    for line in "\n".join(file.read_text(encoding="utf-8") for file in files).splitlines():
        if heading := re.fullmatch(r"# \[(\w+)\]", line):
            part = heading[1]
            parts[part] = []
        elif requirement := line.partition("#")[0].strip():
            parts[part].append(requirement)
    return parts


def version() -> str:
    """Reads `__version__` without importing the package."""
    source = (ROOT / "prosona_jax" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)[1]


parts = requirements()
setuptools.setup(
    name="prosona_jax",
    version=version(),
    description="Segmentation that learns all raters' styles, in JAX and Flax",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["prosona_jax*", "data_pipelines*", "configs*"]),
    package_data={
        "prosona_jax": ["pretrained/*/*"],
        "prosona_jax.report": ["templates/*"],
        "configs": ["prompts/*", "prompts/*/*"],
        "data_pipelines.examples": ["*.npz", "*.nii.gz"],
    },
    install_requires=parts.pop(""),
    # JAX's accelerator builds exclude one another, so no list installs them together. "cuda" takes
    # the CUDA line that the installed JAX prefers.
    extras_require={**parts, "cuda": ["jax[cuda]"], "tpu": ["jax[tpu]"]},
)
