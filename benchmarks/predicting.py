"""Milliseconds per contour of a loaded model: first call, later calls, 100 sentences, samples.

    python -m benchmarks.predicting

The model has the size of `configs/lidc.py:crops64` and random parameters. Its contours mean
nothing, but take as long as those of a trained model.
"""

import pathlib
import tempfile
from collections.abc import Callable

import jax
import numpy as np

from benchmarks.common import seconds
from configs import lidc
from data_pipelines.images.picture import Picture
from prosona_jax.experiments import build, predictions, prompt_sets
from prosona_jax.prediction.model import Model
from prosona_jax.prediction.trained import Trained
from prosona_jax.runtime.workdir import Run
from prosona_jax.text import degree_reader, encoder
from prosona_jax.training import stage_two

STYLES = ("tight", "normal", "wide", "very wide")
SENTENCES = [f"Draw it {style}, number {k}." for k in range(25) for style in STYLES]


def make_model(folder: pathlib.Path) -> Model:
    """Returns a model with random parameters that accepts sentences."""
    config = lidc.get_config("crops64")
    root, size = jax.random.key(0), config.data.size
    network = build.model(config)
    one = build.initialise(config, network, root, (size, size, 1), len(STYLES))
    network_of_text = encoder.load(config.prompts.encoder)
    read = degree_reader.load(prompt_sets.find(config.prompts.degree_reader), network_of_text)
    text = np.stack([read.embed([f"Draw it {style}."]) for style in STYLES])  # [k, 1, e]
    two = stage_two.initialise(
        build.prompter(config, len(STYLES)),
        root,
        network,
        image_shape=(size, size, 1),
        styles=len(STYLES),
        text_dim=read.dim,
    )
    styles = [
        {"name": style, "train": [f"Draw it {style}."], "held_out": [f"Draw it {style}."]}
        for style in STYLES
    ]
    described = {"name": read.name, "digest": read.digest, "dim": read.dim}
    described |= {"degree_reader": read.describe()}
    run = Run(
        config=config.to_dict(),
        data_digest="",
        patients={},
        channels=1,
        raters=len(STYLES),
        prompts={"encoder": described, "styles": styles},
        intensity_unit="HU",
        native_spacing_mm=[[0.7, 0.7], [0.7, 0.7]],
        simulated=False,
    )
    second = predictions.StageTwo(
        0, two, len(STYLES), {"train": text, "held_out": text, "degree_reader": read.flat}
    )
    return Model(folder, Trained(run, 0, one, second, []))


def main() -> None:
    """Prints the table."""
    rng = np.random.default_rng(0)
    crops = rng.normal(-500, 300, (500, 64, 64, 1)).astype(np.float32)
    spacing = np.full(2, 0.7, np.float32)
    images = [Picture(x, "HU", spacing, pathlib.Path("x"), "npz", None) for x in crops]
    image, others = images[0], iter(images[1:])
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(pathlib.Path(folder))
        again = iter(SENTENCES * 1000)
        cases: dict[str, Callable[[], object]] = {
            "one sentence, another each time": lambda: model.segment(image, next(again)),
            "another image each time": lambda: model.segment(next(others), SENTENCES[0]),
            "100 sentences on one image": lambda: model.segment(image, SENTENCES),
            "16 samples": lambda: model.sample(image, 16),
            "a walk of 20 steps": lambda: model.interpolate(image, "tight", "wide"),
        }
        print("| 64x64 pixels, ms | first call, compiles | later calls |")
        print("|---|---|---|")
        for name, call in cases.items():
            first = seconds(call, least=0.0)
            print(f"| {name} | {1e3 * first:.0f} | {1e3 * seconds(call):.1f} |", flush=True)


if __name__ == "__main__":
    main()
