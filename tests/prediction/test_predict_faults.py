"""Faulty input of a prediction gives an error of one line and leaves no files."""

import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from prosona_jax.runtime import workdir
from prosona_jax.text import encoder as text_encoder
from prosona_jax.types import InputError
from tests.prediction.conftest import SENTENCES, draw, loaded

ROOT = pathlib.Path(__file__).resolve().parents[2]


def refusal(ask, tmp_path, *arguments, **named):
    """Returns the message of an InputError, which must have one line and leave no files."""
    with pytest.raises(InputError) as error:
        ask(*arguments, **named)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    return str(error.value)


def test_faulty_prompts_and_images(ask, disc, make_nifti, tmp_path):
    line = lambda *arguments, **named: refusal(ask, tmp_path, *arguments, **named)  # noqa: E731
    assert line([]).startswith("no prompt: say what to draw")
    assert line([SENTENCES[0], " \t"]) == "prompt 2 is empty; say what to draw"
    assert line(["\u200b \x07"]) == "prompt 1 is empty; say what to draw"
    assert line([SENTENCES[0], os.fsdecode(b"caf\xe9")]) == (
        r"prompt 2, 'caf\udce9', is not valid UTF-8; set the terminal to UTF-8, or save the script "
        "that gives the prompt as UTF-8"
    )
    np.savez(tmp_path / "x.npz", image=np.stack([disc] * 3, axis=-1)[None])
    colour = {"image": tmp_path / "x.npz", "slice_index": 0, "unit": "unit"}
    assert "has 3 channels, but the model of" in line(**colour)
    assert line(point=(3.0, 40.0)).endswith(
        "the point (3, 40) is outside of the image; give (row, column) within 0..39 and 0..39"
    )
    assert line(slice_index=24).endswith("counted from 0: choose another")
    flat = make_nifti(disc.astype(np.float32))
    assert "give the unit, one of" in line(image=flat)
    assert "choose one of" in line(image=flat, unit="hounsfield")
    assert line(image=tmp_path / "no.png").endswith("no such file; give the path of an image")


def test_an_output_that_cannot_be_written(ask, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: cannot be written .*; choose another"):
        ask(name="file/out")
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_an_image_that_a_file_would_replace(ask, disc, tmp_path):
    Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "overlay.png")
    before = (tmp_path / "overlay.png").read_bytes()
    with pytest.raises(InputError, match="would be replaced; choose another folder"):
        ask(image=tmp_path / "overlay.png", name=".")
    assert (tmp_path / "overlay.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["overlay.png"]


def test_workdirs_that_cannot_draw(trained, tmp_path):
    folder, _ = trained
    image = str(folder.parent / "discs.npz")

    def line(name, change=None, without=None):
        copy = tmp_path / name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(without or "", "last"))
        if change:
            run = workdir.read(copy)._asdict()
            change(run)
            workdir.write(copy, workdir.Run(**run))
        with pytest.raises(InputError) as error:
            draw(copy, image, SENTENCES, str(tmp_path / "out"), slice_index=0)
        return str(error.value).replace(str(tmp_path), "")

    assert line("one", without="stage_two") == (
        "/one/stage_two/checkpoints/best: no checkpoint here; train first, or restore the folder "
        "from a copy"
    )

    def without_text(run):
        run["config"]["stage_two"]["query"], run["prompts"] = "none", None

    assert line("none", without_text) == (
        "/none: was trained with config.stage_two.query = 'none', which reads no text; draw a "
        "style or samples, or name a model trained with 'text'"
    )
    digest = workdir.read(folder).prompts["encoder"]["digest"]
    assert line("other", lambda run: run["prompts"]["encoder"].update(digest="0" * 16)) == (
        f"/other: was trained with the text encoder 'all-MiniLM-L6-v2' of digest {'0' * 16}, "
        f"but the one found here has digest {digest}; install the encoder of the training, name "
        "its folder as the encoder, or train again with the one found"
    )
    assert line("moved", lambda run: run["prompts"]["encoder"].update(name="/moved/encoder")) == (
        "text encoder '/moved/encoder': no such folder; as the encoder, name the folder that now "
        "holds its config.json, tokenizer.json and model.safetensors"
    )
    with pytest.raises(InputError, match="no run was trained in this workdir"):
        draw(tmp_path / "never", image, SENTENCES, str(tmp_path / "out"), slice_index=0)
    assert not (tmp_path / "out").exists()


def test_a_moved_text_encoder_is_accepted_only_with_its_own_pooling(ask, tmp_path):
    wheel = importlib.metadata.distribution(text_encoder.WHEEL)
    original = pathlib.Path(str(wheel.locate_file(text_encoder.WHEEL_FOLDER)))
    shutil.copytree(original, tmp_path / "moved", copy_function=os.symlink)
    _, files = ask(name="here")
    _, moved = ask(name="there", encoder=str(tmp_path / "moved"))
    assert moved[0].read_bytes() == files[0].read_bytes()
    pooling = tmp_path / "moved" / "1_Pooling" / "config.json"
    pooling.unlink()
    pooling.write_text('{"pooling_mode_cls_token": true}')
    loaded.cache_clear()  # the folder has changed
    assert refusal(ask, tmp_path, encoder=str(tmp_path / "moved")).endswith(
        "; install it with its own tokenizer and pooling"
    )


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "prosona_jax.predict", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_command(trained, ask, disc, tmp_path):
    """It writes the same masks as this process; faulty input gives status 2 and one line."""
    Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "crop.png")
    common = (
        f"--model={trained[0]}", f"--image={tmp_path / 'crop.png'}",
        *(f"--prompt={sentence}" for sentence in SENTENCES),
    )  # fmt: skip
    good = start(*common, f"--output={tmp_path / 'good'}", "--point=20,20")
    bad = start(*common, f"--output={tmp_path / 'bad'}", "--point=20")
    log = good.communicate(timeout=300)[1]
    assert good.returncode == 0, log
    assert "Research use only, no clinical evidence." in log
    error = bad.communicate(timeout=300)[1]
    assert (bad.returncode, error) == (2, "--point=20: give row,col, such as 120,87\n")
    assert not (tmp_path / "bad").exists()
    record, files = ask(SENTENCES, image=tmp_path / "crop.png")
    for file in files[:2]:
        assert file.read_bytes() == (tmp_path / "good" / file.name).read_bytes()
    stored = json.loads((tmp_path / "good" / "prediction.json").read_text())
    assert stored["prompts"] == record["prompts"]
    assert stored["command"].startswith("python -m prosona_jax.predict --model=")
