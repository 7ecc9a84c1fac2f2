"""The styles that a model can draw by name, and the profiles of users, as queries."""

import pathlib
from typing import NamedTuple

import numpy as np

from prosona_jax.experiments import inputs
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.prediction.drawing import Drawer, Encoded
from prosona_jax.prediction.profile import Profile
from prosona_jax.runtime.workdir import Run
from prosona_jax.text.degrees import LIMIT
from prosona_jax.types import InputError

_DEGREES = 41  # from -2 to 2, in steps of 0.1


class Style(NamedTuple):
    """A style that a model was trained on."""

    name: str
    sentences: tuple[str, ...]  # of its training; empty if the model reads no text


def name_of(style: str | Profile) -> str:
    """Returns the name of a style or of a profile."""
    return style.name if isinstance(style, Profile) else style


def caveats_of(style: str | Profile) -> list[str]:
    """Returns what a user must know about the contours of a style or of a profile."""
    if not isinstance(style, Profile) or style.helped:
        return []
    return [f"Profile without gain: {style.verdict}."]


class Styles:
    """The styles of a model, and their queries.

    Attributes:
        all: the styles in order; an empty list if no second stage was trained.
    """

    def __init__(
        self, folder: pathlib.Path, run: Run, second: StageTwo | None, drawer: Drawer
    ) -> None:
        """Takes the model's folder, its run, and the steps that compute a query."""
        self._folder, self._second, self._drawer = folder, second, drawer
        self._projection = run.config["stage_two"]["projection"]
        self.all: list[Style] = []
        if second is not None:
            names = inputs.style_names(run.prompts, run.raters)
            known = run.prompts["styles"] if run.prompts else [{"train": ()}] * len(names)
            self.all = [Style(n, tuple(s["train"])) for n, s in zip(names, known, strict=True)]

    def find(self, style: str) -> int:
        """Returns the place of a style; InputError if the model has none of this name."""
        names = [each.name for each in self.all]
        if style not in names:
            remedy = (
                f"choose one of {', '.join(names)}" if names else "it has no styles, draw samples"
            )
            raise InputError(f"{self._folder}: has no style {style!r}; {remedy}")
        return names.index(style)

    def query(self, encoded: Encoded, style: str | Profile) -> np.ndarray:
        """Returns the query f32 [1, d] of a style on an image, or of a profile on any image.

        Raises:
            InputError: the style is unknown, or the profile belongs to another model.
        """
        if not isinstance(style, Profile):
            return self._of(encoded, self.find(style))
        self.check(style)
        return np.array([style.query], np.float32)

    def check(self, style: str | Profile) -> None:
        """Raises InputError if the style is unknown, or the profile belongs to another model."""
        if not isinstance(style, Profile):
            self.find(style)
        elif style.model_sha256 != self._drawer.sha256:
            raise InputError(
                f"{self._folder}: the profile {style.name!r} was fitted with another model; name "
                "that model, or fit the profile again with this one"
            )

    def queries(self, encoded: Encoded) -> np.ndarray:
        """Returns the queries f32 [K, d] of all styles on an image; InputError if K is 0."""
        if not self.all:
            raise InputError(
                f"{self._folder}: has no styles to start a fit from; name a run with a second stage"
            )
        return np.concatenate([self._of(encoded, k) for k in range(len(self.all))])

    def check_strength(self, strength: float) -> None:
        """Raises InputError if a query cannot be multiplied by `strength`."""
        if not np.isfinite(strength):
            raise InputError(f"strength is {strength}; give a finite number, 1 for the style")
        if strength != 1 and self._projection != "analytic":
            raise InputError(
                f"{self._folder}: strength {strength:g} needs the analytic projection, but this "
                "model uses a bank of samples; leave it at 1"
            )

    def vocabulary(self) -> tuple[np.ndarray, list[float] | list[str]]:
        """Returns what the second stage can be told, f32 [s, e], and what it means.

        These are the degrees from -2 to 2 or, if it reads embeddings, the training sentences; or
        nothing if it reads no text.
        """
        if self._second is None or not self._second.text:
            return np.zeros((0, 0), np.float32), []
        if "degree_reader" in self._second.text:
            degrees = np.linspace(-LIMIT, LIMIT, _DEGREES).round(2).tolist()
            return np.array(degrees, np.float32)[:, None], degrees
        text = self._second.text["train"]  # [k, p, e]; shorter lists are repeated
        sentences = [
            s.sentences[n % len(s.sentences)] for s in self.all for n in range(text.shape[1])
        ]
        return text.reshape(-1, text.shape[2]), sentences

    def _of(self, encoded: Encoded, k: int) -> np.ndarray:
        """Returns a style's query f32 [1, d]: its own, or the mean query of its sentences."""
        assert self._second is not None
        if not self._second.text:
            return self._drawer.queries(encoded, None)[k : k + 1]
        queries = self._drawer.queries(encoded, self._second.text["train"][k])
        return queries.mean(axis=0, keepdims=True)
