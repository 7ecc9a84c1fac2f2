"""Translates Hugging Face's configs and tensor names for the encoders of `network.py`."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from prosona_jax.text.network import ACTIVATIONS, SentenceEncoder, TextConfig

MODEL_TYPES = ("bert", "clip", "clip_text_model")

# Linen module -> module in the checkpoint. The character # stands for the number of the layer.
_MODULES = {
    "bert": {
        "tower/tokens": "embeddings.word_embeddings",
        "tower/positions": "embeddings.position_embeddings",
        "tower/token_types": "embeddings.token_type_embeddings",
        "tower/norm": "embeddings.LayerNorm",
        "tower/attention_#/query": "encoder.layer.#.attention.self.query",
        "tower/attention_#/key": "encoder.layer.#.attention.self.key",
        "tower/attention_#/value": "encoder.layer.#.attention.self.value",
        "tower/attention_#/out": "encoder.layer.#.attention.output.dense",
        "tower/attention_norm_#": "encoder.layer.#.attention.output.LayerNorm",
        "tower/mlp_#/wide": "encoder.layer.#.intermediate.dense",
        "tower/mlp_#/out": "encoder.layer.#.output.dense",
        "tower/mlp_norm_#": "encoder.layer.#.output.LayerNorm",
    },
    "clip": {
        "tower/tokens": "text_model.embeddings.token_embedding",
        "tower/positions": "text_model.embeddings.position_embedding",
        "tower/norm": "text_model.final_layer_norm",
        "tower/attention_#/query": "text_model.encoder.layers.#.self_attn.q_proj",
        "tower/attention_#/key": "text_model.encoder.layers.#.self_attn.k_proj",
        "tower/attention_#/value": "text_model.encoder.layers.#.self_attn.v_proj",
        "tower/attention_#/out": "text_model.encoder.layers.#.self_attn.out_proj",
        "tower/attention_norm_#": "text_model.encoder.layers.#.layer_norm1",
        "tower/mlp_#/wide": "text_model.encoder.layers.#.mlp.fc1",
        "tower/mlp_#/out": "text_model.encoder.layers.#.mlp.fc2",
        "tower/mlp_norm_#": "text_model.encoder.layers.#.layer_norm2",
        "projection": "text_projection",
    },
}
_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}

# Tensors that are not used: position buffers, BERT's pooler and heads, CLIP's vision tower.
_OTHERS = {
    "bert": ("embeddings.position_ids", "pooler.", "cls."),
    "clip": (
        "text_model.embeddings.position_ids",
        *("vision_model.", "visual_projection.", "logit_scale"),
    ),
}


def read_config(values: Mapping[str, Any]) -> TextConfig:
    """Returns the network's sizes from a complete config, such as `AutoConfig`'s `to_dict()`.

    The pooling is the mean of the tokens for BERT, and the last token for CLIP.

    Raises:
        ValueError: the config has another architecture.
    """
    kind = values["model_type"]
    if kind not in MODEL_TYPES:
        raise ValueError(f"model_type is {kind!r}; take one of {', '.join(MODEL_TYPES)}")
    bert = kind == "bert"
    if kind == "clip":
        values = {**values["text_config"], "projection_dim": values["projection_dim"]}
    if values["hidden_act"] not in ACTIVATIONS:
        raise ValueError(
            f"hidden_act is {values['hidden_act']!r}; take one of {', '.join(ACTIVATIONS)}"
        )
    return TextConfig(
        family="bert" if bert else "clip",
        vocabulary=values["vocab_size"],
        positions=values["max_position_embeddings"],
        token_types=values["type_vocab_size"] if bert else 0,
        width=values["hidden_size"],
        layers=values["num_hidden_layers"],
        heads=values["num_attention_heads"],
        mlp_width=values["intermediate_size"],
        activation=values["hidden_act"],
        epsilon=values["layer_norm_eps"],
        projection=0 if bert else values["projection_dim"],
        pooling="mean" if bert else "last",
    )


def read_params(config: TextConfig, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the parameters of `SentenceEncoder` from all tensors of a checkpoint.

    Names may have the prefix ``bert.``. Layer norms may have the names of the first BERT, gamma and
    beta. Position buffers, BERT's pooler and heads, and CLIP's vision tower are not read.

    Raises:
        ValueError: a tensor is missing or unknown, or its shape differs from that in the config.
    """
    found = {
        name: tensor
        for name, tensor in ((_current_name(name), tensor) for name, tensor in tensors.items())
        if not name.startswith(_OTHERS[config.family])
    }
    ids, valid = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)
    shapes = jax.eval_shape(SentenceEncoder(config).init, jax.random.key(0), ids, valid)["params"]
    likes = {path: like.shape for path, like in flatten_dict(shapes, sep="/").items()}
    names = {path: _name(config.family, path) for path in likes}
    for fault, faulty in (
        ("missing", set(names.values()) - set(found)),
        ("unknown", set(found) - set(names.values())),
    ):
        if faulty:
            raise ValueError(f"tensor {min(faulty)} is {fault} (and {len(faulty) - 1} others)")
    params = {}
    for path, shape in likes.items():
        tensor = found[names[path]]
        if path.endswith("/kernel"):
            tensor = tensor.T  # PyTorch stores a linear map as [out, in].
        if tensor.shape != shape:
            raise ValueError(
                f"tensor {names[path]} is {list(found[names[path]].shape)}, "
                "which differs from config.json"
            )
        params[path] = jnp.asarray(tensor, jnp.float32)
    return unflatten_dict(params, sep="/")


def _current_name(name: str) -> str:
    """Returns the current name of a BERT tensor; other names do not change."""
    name = name.removeprefix("bert.")
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")


def _name(family: str, path: str) -> str:
    """Returns the name, in the checkpoint, of a linen parameter such as tower/mlp_3/wide/kernel."""
    module, _, leaf = path.rpartition("/")
    number = "".join(re.findall(r"\d+", module))
    pattern = _MODULES[family][re.sub(r"\d+", "#", module)]
    return f"{pattern.replace('#', number)}.{_LEAVES[leaf]}"
