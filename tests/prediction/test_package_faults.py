"""Model folders that are damaged, edited or of another format, and exports that are refused."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

import prosona_jax as pj
from prosona_jax.prediction import package
from prosona_jax.prediction.trained import read
from tests.prediction.conftest import refusal

AGAIN = "copy or download the whole model folder again"


@pytest.fixture
def copy(model_folder, tmp_path):
    return shutil.copytree(model_folder, tmp_path / "copy")


def seal(folder):
    """Writes SHA256SUMS anew, as an author of other files would."""
    names = [name for name in package.FILES if name != package.SUMS and (folder / name).exists()]
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / package.SUMS).write_text("".join(sums))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "prompts.safetensors"])
def test_a_damaged_or_missing_file_is_refused(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    if name != "config.json":  # where this byte is no JSON any more
        assert refusal(pj.load, copy) == (
            f"{path}: is damaged or edited: its checksum in SHA256SUMS differs; {AGAIN}"
        )
    else:
        assert refusal(pj.load, copy).startswith(f"{path}: is damaged (")
    path.unlink()
    assert refusal(pj.load, copy).startswith(f"{path}: ")
    assert refusal(pj.load, copy).endswith(AGAIN)


def test_edited_numbers_and_missing_sums_are_refused(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"channels": 1,', '"channels": 2,'))
    assert refusal(pj.load, copy) == (
        f"{path}: is damaged or edited: its checksum in SHA256SUMS differs; {AGAIN}"
    )
    (copy / "SHA256SUMS").unlink()
    assert refusal(pj.load, copy).startswith(f"{copy / 'SHA256SUMS'}: cannot be read (")


def test_the_card_may_be_edited(copy):
    (copy / "README.md").write_text("# My model\n")
    (copy / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    assert pj.load(copy).styles


def change_config(folder, change):
    described = json.loads((folder / "config.json").read_text())
    change(described)
    (folder / "config.json").write_text(json.dumps(described))
    seal(folder)


def test_formats_and_configs_that_are_not_known(copy):
    path = copy / "config.json"
    change_config(copy, lambda described: described.update(prosona_jax="9.1"))
    change_config(copy, lambda described: described["run"].update(colour="red"))
    said = refusal(pj.load, copy)
    assert said.startswith(f"{path}: cannot be used (")
    assert said.endswith("'colour'); install prosona_jax 9.1, which wrote it")
    change_config(copy, lambda described: described.update(format_version=2))
    assert refusal(pj.load, copy) == (
        f"{path}: has format_version 2, and this prosona_jax reads 1; install the newest "
        "prosona_jax"
    )
    change_config(copy, lambda described: described.update(format="bert"))
    assert refusal(pj.load, copy) == (
        f"{path}: is not of a model of prosona_jax; name a workdir, or a folder that python -m "
        "prosona_jax.export wrote"
    )


def test_names_and_shapes_must_fit_the_config(copy):
    path = copy / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    name = "stage_two/query/Dense_1/bias"
    for changed, fault in (
        (arrays | {name: np.zeros(5, np.float32)}, f"{name!r} has [5] and needs [6]"),
        (arrays | {"x/y": np.zeros(5)}, "'x/y' has [5] and needs no such array"),
        ({n: x for n, x in arrays.items() if n != name}, f"{name!r} has no such array and needs"),
    ):
        path.write_bytes(safetensors.numpy.save(changed))
        seal(copy)
        assert refusal(pj.load, copy).startswith(f"{path}: does not fit config.json: {fault}")
    path.write_bytes(safetensors.numpy.save(arrays))
    change_config(copy, lambda described: described["run"].update(channels=2))
    assert f"{path}: does not fit config.json: 'stage_one/" in refusal(pj.load, copy)
    path.write_bytes(b"no weights")
    seal(copy)
    assert refusal(pj.load, copy).startswith(f"{path}: is damaged (")


def test_another_text_encoder_is_refused(copy):
    change_config(copy, lambda d: d["run"]["prompts"]["encoder"].update(digest="0" * 16))
    assert f"{copy}: was trained with the text encoder 'all-MiniLM-L6-v2' of digest 0000" in (
        refusal(pj.load(copy).read, ["hug the core"])
    )


@pytest.mark.parametrize("name", ["thesis.tex", "README.md", "config.json"])
def test_a_folder_that_holds_something_else_is_not_replaced(trained, tmp_path, name):
    (tmp_path / name).write_text("{}")
    assert refusal(pj.export, trained[0], tmp_path) == (
        f"{tmp_path}: {name!r} is not part of a model, and writing one replaces the whole folder; "
        "choose another folder or move that file away"
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_number_beyond_float16_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "LARGE", 1)
    model = read(trained[0])
    params = model.second.params["params"]
    params["query"]["Dense_1"]["bias"] = np.full(6, 7e4, np.float32)
    assert refusal(package.write, tmp_path / "model", model, "") == (
        "the parameter 'stage_two/query/Dense_1/bias' holds a number beyond float16: the training "
        "has diverged; train again with a lower learning rate"
    )
    assert not any(tmp_path.iterdir())
