"""One workdir: the smoke config, trained on small synthetic discs until its styles differ."""

import functools
import pathlib

import ml_collections
import nibabel
import numpy as np
import pytest
import yaml

from configs import lidc
from data_pipelines import images
from prosona_jax.experiments import inputs, prompt_sets, stages
from prosona_jax.prediction.exporting import export
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.saving import save
from prosona_jax.runtime import workdir
from prosona_jax.types import InputError
from tests.programs import PATIENTS, ROOT, SIZE, write_discs

SLICES, MIDDLE = 11, (5, 18.0, 22.0)  # of the ball
SENTENCES = ("Draw a very small contour.", "Draw a very large contour.", "hug the solid core")


def write_prompts(path, whole):
    """Writes a part of the project's own prompts, because embedding all of them takes too long."""
    content = yaml.safe_load((pathlib.Path(ROOT) / whole).read_text(encoding="utf-8"))
    for style in content["styles"]:
        style["train"], style["held_out"] = style["train"][:40], style["held_out"][:20]
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def _configure(folder):
    config = lidc.get_config("smoke")
    config.data.update(source="npz", path=str(folder / "discs.npz"), folds=3)
    config.data.update(cache_dir=str(folder / "cache"), validation_share=0.3)
    config.prompts.degree_reader = ""
    config.prompts.path = str(folder / "prompts.yaml")
    config.steps = config.stage_two.steps = 300
    config.evaluate.every_steps = config.checkpoint_every_steps = 300
    config.log_every_steps = 300
    config.optimizer.learning_rate = config.stage_two.learning_rate = 1e-2
    return config


def _load(config):
    return inputs.load_data(config, needed=("train", "validation", "test"))


@pytest.fixture(scope="session")
def trained(made_once):
    """A workdir, and the data set on which it was trained."""

    def make(folder):
        write_discs(folder / "discs.npz", PATIENTS, seed=0, radii=(3, 11), simulated=True)
        write_prompts(folder / "prompts.yaml", lidc.get_config("smoke").prompts.path)
        config = _configure(folder)
        data = _load(config)
        prompts = prompt_sets.load(config, data.raters)
        workdir.claim(folder / "run", inputs.run_of(config, data, prompts))
        stages.fit(config, folder / "run", data, prompts)

    folder = made_once("predict", make)
    return folder / "run", _load(_configure(folder))


@pytest.fixture(scope="session")
def reads_degrees(trained, made_once):
    """A second stage on the same first stage, which reads degrees; styles as in lidc.yaml."""
    first, data = trained

    def make(folder):
        run, own = workdir.read(first), folder / "run"
        config = ml_collections.ConfigDict(run.config)
        config.prompts.degree_reader = lidc.get_config("smoke").prompts.degree_reader
        prompts = prompt_sets.load(config, data.raters)
        workdir.claim(own, inputs.run_of(config, data, prompts))
        (own / "stage_one").symlink_to(first / "stage_one")
        _, params, _ = stages.read_stages(first, run)
        stages.fit_stage_two(config, own / "stage_two", data, params, prompts)

    return made_once("degrees", make) / "run"


@pytest.fixture(scope="session")
def model_folder(trained, tmp_path_factory):
    """The workdir as a model folder; whoever changes it, copies it before."""
    return export(trained[0], tmp_path_factory.mktemp("exported") / "model")


loaded = functools.cache(load)  # a workdir does not change within a test


def draw(folder, image, sentences, output, *, encoder=None, **options):
    """Draws on an image file and saves the contours, as the command does."""
    picture = images.read(image, **options)
    model = loaded(folder, encoder=encoder)
    return save(model.segment(picture, sentences), picture, output)


def refusal(call, *arguments, **named):
    """Returns the line with which a function refuses what it is given."""
    with pytest.raises(InputError) as error:
        call(*arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def ask(trained, tmp_path):
    """Predicts on a disc, or on another image; returns `prediction.json` and the files' paths."""
    folder, _ = trained

    def predicted(sentences=SENTENCES, image=None, name="out", **arguments):
        if image is None:
            image, arguments = folder.parent / "discs.npz", {"slice_index": 0, **arguments}
        record = draw(folder, image, sentences, tmp_path / name, **arguments)
        return record, [tmp_path / name / file for file in record["files"]]

    return predicted


@pytest.fixture
def disc():
    """An image of a disc, with values from 0 to 1."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - 18, columns - 22)
    grey = np.mean([distance < radius for radius in (4, 6, 8, 10)], axis=0)
    return np.clip(0.1 + 0.7 * grey + np.random.default_rng(1).normal(0, 0.05, grey.shape), 0, 1)


@pytest.fixture(scope="session")
def ball():
    """A ball whose radius differs by rater, f32 [slice, row, column] of 3 x 1 x 1 mm, 0 to 1."""
    grid = np.moveaxis(np.indices((SLICES, SIZE, SIZE)), 0, -1).astype(float)
    apart = np.linalg.norm((grid - MIDDLE) * (3, 1, 1), axis=-1)
    volume = np.random.default_rng(1).normal(0.1, 0.03, apart.shape)
    volume += 0.7 * np.mean([apart < radius for radius in (4, 6, 8, 10)], axis=0)
    return np.clip(volume, 0, 1).astype(np.float32)


@pytest.fixture
def ball_file(ball, tmp_path):
    """The ball as a NIfTI volume, placed in the patient."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    nibabel.save(nibabel.Nifti1Image(ball.transpose(2, 1, 0), affine), tmp_path / "ball.nii")
    return tmp_path / "ball.nii"
