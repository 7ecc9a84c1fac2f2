"""A model by its name: a folder, the cache, the hub, or a name that nobody knows."""

import pathlib
import shutil

import huggingface_hub

import prosona_jax as pj
from prosona_jax.prediction import package
from tests.prediction.conftest import refusal


def test_a_model_of_the_hub(model_folder, tmp_path, monkeypatch):
    """A folder of that name comes first, then the cache, and then the hub, with a time limit."""
    asked = []

    def answer(repository, **options):
        asked.append((repository, options))
        return str(model_folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "model_info", answer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    assert pj.load("someone/model").folder == model_folder
    assert asked == [
        ("someone/model", {"timeout": 5.0}),
        ("someone/model", {"allow_patterns": list(package.FILES)}),
    ]
    shutil.copytree(model_folder, "cached")
    cached = str(tmp_path / "cached" / "SHA256SUMS")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: cached)
    assert pj.load("someone/model").folder == tmp_path / "cached"
    (tmp_path / "cached" / "prompts.safetensors").unlink()  # an interrupted download
    assert pj.load("someone/model").folder == model_folder
    shutil.copytree(model_folder, "someone/model")
    assert pj.load("someone/model").folder == pathlib.Path("someone/model")
    assert len(asked) == 4


def test_a_name_that_nobody_knows(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network\nmore")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    assert refusal(pj.load, "someone/model") == (
        "someone/model: no such folder, not in the Hugging Face cache, and the hub did not provide "
        "it (no network); name a workdir or a model folder, or fill the cache with: hf download "
        "someone/model"
    )
    for path in ("model", "a/b/c", "./a/b", str(tmp_path / "a"), pathlib.Path("a/b")):
        assert refusal(pj.load, path).endswith(
            "run.json is absent: no run was trained in this workdir"
        )
