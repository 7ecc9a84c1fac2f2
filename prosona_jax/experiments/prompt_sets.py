"""The prompts of a run: their sentences, and the numbers that an encoder makes of them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from prosona_jax import unicode
from prosona_jax.experiments import second_stages
from prosona_jax.experiments.build import Config
from prosona_jax.text import degree_reader, encoder, habit_reader, prompts
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.habit_reader import HabitReader
from prosona_jax.text.habits import Scale
from prosona_jax.types import InputError

_ROOT = pathlib.Path(__file__).resolve().parents[2]  # where configs/ lies


class Prompts(NamedTuple):
    """The sentences of K styles and their embeddings, which the checkpoints carry."""

    styles: tuple[prompts.Style, ...]
    caveat: str | None  # of the prompt file
    encoder: dict[str, Any]  # name, digest of its weights, dim
    train: np.ndarray  # f32 [k, p, e]; styles with fewer sentences repeat theirs
    held_out: np.ndarray  # f32 [k, q, e]
    degree_reader: np.ndarray | None  # its trained numbers, f32 [n]; None: the encoder's embeddings
    scale: Scale | None = None  # of the raters' habits; None: they were not measured
    habit_reader: np.ndarray | None = None  # its weights, f32 [e, a]; None: no habits are read

    def describe(self) -> dict[str, Any]:
        """Returns the description that run.json holds."""
        styles = [prompts.describe(style) for style in self.styles]
        caveat = {"caveat": self.caveat} if self.caveat else {}
        scale = {"scale": self.scale.describe()} if self.scale else {}
        return {"encoder": self.encoder, "styles": styles} | caveat | scale

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what a checkpoint carries: embeddings by split, and the reader."""
        arrays = {"train": self.train, "held_out": self.held_out}
        readers = {"degree_reader": self.degree_reader, "habit_reader": self.habit_reader}
        return arrays | {name: own for name, own in readers.items() if own is not None}


def load(config: Config, raters: int, measured: prompts.Written | None = None) -> Prompts | None:
    """Reads and embeds the prompts of the config; None where the query reads no text.

    A relative path is looked up in the working directory, then in the folder of ``configs/``.

    Args:
        config: names the file, the encoder and the reader.
        raters: the masks of a record.
        measured: the content of measured cards, which replaces the file.
    """
    if not second_stages.of(config).reads_text:
        return None
    if config.prompts.merge and measured is None:
        raise InputError(
            "config.prompts.merge is True, but prompts are not measured: set it to False, or "
            "prompts.path to 'measured'"
        )
    written = measured or read(config.prompts.path)
    prompts.check_count(written.styles, raters, str(find(config.prompts.path)))
    network = encoder.load(config.prompts.encoder)
    described = {"name": network.name, "digest": network.digest, "dim": network.dim}
    if second_stages.of(config).reads_habits:
        if written.scale is None:
            raise InputError(
                f"{find(config.prompts.path)}: has no `scale`, but stage_two.query is 'habits': "
                "name measured cards in prompts.path, or 'measured', or set stage_two.query to "
                "'text'"
            )
        habits = habit_reader.fit(network, written.scale)
        described |= {"dim": habits.dim, "habit_reader": habits.describe()}
        return _embed(written, described, habits)._replace(habit_reader=habits.weights)
    if not config.prompts.degree_reader:
        return _embed(written, described, network)
    reader = degree_reader.load(find(config.prompts.degree_reader), network)
    described |= {"dim": reader.dim, "degree_reader": reader.describe()}
    return _embed(written, described, reader)._replace(degree_reader=reader.flat)


def read(path: str) -> prompts.Written:
    """Returns the content of a prompt file, which is looked up as in `find`."""
    found = find(path)
    try:
        content = found.read_bytes()
    except OSError as error:
        raise InputError(f"{found}: cannot be read ({error}); set prompts.path") from None
    return prompts.parse(unicode.decode(content, str(found)), str(found))


def find(path: str) -> pathlib.Path:
    """Returns a path in the working directory, or else in the folder of ``configs/``."""
    here = pathlib.Path(path).expanduser()
    return _ROOT / here if not here.exists() and (_ROOT / here).exists() else here


def _embed(
    written: prompts.Written,
    described: Mapping[str, Any],
    reader: TextEncoder | DegreeReader | HabitReader,
) -> Prompts:
    def stack(sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns f32 [k, p, e], where p is the largest number of sentences of a style."""
        most = max(map(len, sentences))
        return np.stack([np.resize(reader.embed(own), (most, reader.dim)) for own in sentences])

    train, held_out = (
        stack([getattr(style, split) for style in written.styles])
        for split in ("train", "held_out")
    )
    return Prompts(
        written.styles, written.caveat, dict(described), train, held_out, None, written.scale
    )
