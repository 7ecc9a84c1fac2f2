"""The style of one user, fitted to a few of their own contours, and its file."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from prosona_jax import checksum, files
from prosona_jax.experiments.sentences import in_words
from prosona_jax.types import InputError, first_line

SUFFIX = ".json"


class Profile(NamedTuple):
    """A user's style; it is used wherever the name of a style is.

    Each image is scored by a fit to the other images, because a fit to the image itself would
    always look good. The three tuples of Dice have one number per image, in the order given.
    """

    name: str
    query: tuple[float, ...]  # d numbers
    model_sha256: str  # of the model that it belongs to
    dice: tuple[float, ...]  # of the user's contour and the fit to the other images
    dice_best_style: tuple[float, ...]  # of the style with the highest Dice on the other images
    dice_prior_mean: tuple[float, ...]  # of the contour at the prior's mean
    best_style: str  # the existing style with the highest Dice on all images
    like: str  # between which existing styles the user draws, in words
    degree: float | None  # the nearest degree, -2..2; None: the model reads none
    sentence: str | None  # the nearest training sentence; None: the model reads degrees or no text
    caveats: tuple[str, ...]  # of the images that it was fitted on

    @property
    def helped(self) -> bool:
        """Whether the fit has a higher mean Dice than the best style and than the prior's mean."""
        return bool(np.mean(self.dice) > max(*self._before))

    @property
    def verdict(self) -> str:
        """What the scores say of the profile, in one sentence."""
        style, mean = self._before
        before, other = style, "the best style, chosen likewise,"
        remedy = f"use style {self.best_style!r} instead"
        if mean > style:
            before, other, remedy = mean, "the prior's mean", "use any style at strength 0 instead"
        scores = (
            f"on {len(self.dice)} images, each left out of the fit, its Dice is "
            f"{np.mean(self.dice):.3f}, and that of {other} is {before:.3f}"
        )
        if self.helped:
            return f"the profile {self.name!r} helped: {scores}"
        return f"the profile {self.name!r} did not help: {scores}; {remedy}"

    @property
    def understood(self) -> str:
        """How the user draws, in words."""
        if self.degree is not None:
            return f"{self.like}: {in_words(self.degree)}, degree {self.degree:+z.1f} of -2 to 2"
        return self.like + (f", as in {self.sentence!r}" if self.sentence else "")

    @property
    def _before(self) -> tuple[float, float]:
        return float(np.mean(self.dice_best_style)), float(np.mean(self.dice_prior_mean))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile as JSON with a checksum, completely or not at all.

            >>> profile.save("anna.json")  # doctest: +SKIP

        Raises:
            InputError: the file cannot be written, or it exists and is no profile.
        """
        path = files.check(path)
        if path.exists():
            self.load(path)  # an earlier profile may be replaced, but no other file
        text = json.dumps(checksum.seal(self._asdict()), indent=1, ensure_ascii=False)
        files.write_whole(path, f"{text}\n".encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Profile":
        """Reads a profile that `save` wrote.

            >>> model.segment(image, style=pj.Profile.load("anna.json"))  # doctest: +SKIP

        Raises:
            InputError: the file is missing, damaged, edited, or no profile.
        """
        path = pathlib.Path(path).expanduser()
        try:
            content = checksum.unseal(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputError(
                f"{path}: no such file; fit a profile with python -m prosona_jax.fit_style"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: not a readable profile ({first_line(error)}); restore it from a copy, or "
                "fit it again under another name"
            ) from None
        if set(content) != set(cls._fields):
            raise InputError(f"{path}: is not a profile; name a file that fit_style wrote")
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**fields)
