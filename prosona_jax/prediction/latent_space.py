"""What a trained model understands, and the points of its latent space on one image."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from data_pipelines.images.picture import Picture
from prosona_jax.experiments import sentences
from prosona_jax.experiments.sentences import Reading
from prosona_jax.prediction import caveats, styles
from prosona_jax.prediction.drawing import Drawer, Encoded
from prosona_jax.prediction.profile import Profile
from prosona_jax.prediction.seen import Images, Seen, on_crop
from prosona_jax.prediction.segmentation import Segmentation, contours
from prosona_jax.prediction.styles import Style, Styles
from prosona_jax.prediction.trained import Trained
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.habit_reader import HabitReader
from prosona_jax.types import InputError


class Queries(NamedTuple):
    """Sentences or a style, ready to be drawn on any image."""

    names: Sequence[str]
    on: Callable[[Encoded], np.ndarray]  # f32 [s, d] on an image, a row for each name
    caveats: list[list[str]]  # of each name
    readings: list[Reading] | None  # of sentences


class LatentSpace:
    """A trained model's latent space: what sentences and styles are in it, and what lies there."""

    def __init__(
        self, folder: pathlib.Path, trained: Trained, *, encoder: str | None = None
    ) -> None:
        """Takes what `load` reads; `encoder` is the text encoder's folder or name, if it moved."""
        self.folder, self.run, self.caveats = folder, trained.run, trained.caveats()
        self.config = ml_collections.ConfigDict(self.run.config)
        self._encoder_name = encoder
        self._second = trained.second
        self._steps = trained.steps()
        self._drawer = Drawer(self.config, trained.stage_one, self._second)
        self._images = Images(folder, self.run, self._drawer, self.caveats, trained.in_distribution)
        self._styles = Styles(folder, self.run, self._second, self._drawer)

    @property
    def styles(self) -> list[Style]:
        """The styles in order; an empty list if no second stage was trained."""
        return list(self._styles.all)

    @functools.cached_property
    def _reader(self) -> TextEncoder | DegreeReader | HabitReader:
        """What read the training sentences; InputError if the encoder found differs from it."""
        if self.run.prompts is None or self._second is None:
            query = self.run.config["stage_two"]["query"]
            raise InputError(
                f"{self.folder}: was trained with config.stage_two.query = {query!r}, which reads "
                "no text; draw a style or samples, or name a model trained with 'text'"
            )
        return sentences.find_reader(
            self.folder, self.run.prompts, self._second, self._encoder_name
        )

    def interpolate(
        self, image: Picture, start: str | Profile, end: str | Profile, *, steps: int = 20
    ) -> list[Segmentation]:
        """Walks in a straight line from one query to another.

            >>> path = model.interpolate(image, "hug the core", "leave a margin", steps=20)
            ... # doctest: +SKIP

        Args:
            image: the image to draw on.
            start: a sentence, the name of a style, or a profile.
            end: likewise.
            steps: number of contours, with both ends; at least 2.
        """
        if steps < 2:
            raise InputError(f"the number of steps is {steps}; it must be at least 2")
        seen = self._images.see(image)
        ends = []
        for prompt in (start, end):
            if isinstance(prompt, Profile) or prompt in (style.name for style in self.styles):
                ends.append(self._styles.query(seen.encoded, prompt))
            else:
                ends.append(self._drawer.queries(seen.encoded, self._read([prompt])[1]))
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        probs = self._drawer.draw(seen.encoded, (1 - share) * ends[0] + share * ends[1])
        way = f"{styles.name_of(start)} → {styles.name_of(end)}"
        names = [f"{way}, {part:.0%}" for part in share[:, 0]]
        known = [styles.caveats_of(start) + styles.caveats_of(end)] * steps
        return self._segmentations(seen, probs, names, known)

    def latent(
        self,
        image: Picture,
        prompts: Sequence[str] | None = None,
        *,
        style: str | Profile | None = None,
        masks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the latents of sentences, of a style, or of raters' masks for an image.

            >>> model.latent(image, ["hug the core", "leave a margin"])  # doctest: +SKIP
            >>> model.latent(image, style="core").shape  # doctest: +SKIP

        A latent z is given as (z - mu) / sigma, with the mean and the standard deviation of the
        image's prior p(z|x). So 0 is the prior's mean, and samples of the prior are standard
        normal.

        Args:
            image: the image.
            prompts: n sentences.
            style: the name of a style, or a profile, in place of sentences; n is 1.
            masks: u8 {0, 1} [n, H, W] on the image's own grid, in place of sentences. A mask's
                latent is the mean of the posterior that sees the image and this mask. If
                `model.posterior_input` is "all", the posterior sees all n masks together.

        Returns:
            f32 [n, d] for d latent dimensions.

        Raises:
            InputError: as in `segment`, or the masks are not on the image's grid.
        """
        if sum(given is not None for given in (prompts, style, masks)) != 1:
            raise InputError("give one of: sentences, the name of a style, masks")
        seen = self._images.see(image)
        if masks is not None:
            return self._drawer.posterior(seen.encoded, seen.crop, on_crop(masks, seen))
        if style is not None:
            return self._drawer.project(seen.encoded, self._styles.query(seen.encoded, style))
        query = self._drawer.queries(seen.encoded, self._read(prompts or ())[1])
        return self._drawer.project(seen.encoded, query)

    def decode(self, image: Picture, latent: np.ndarray) -> list[Segmentation]:
        """Draws the contours of latents.

            >>> walk = np.linspace(model.latent(image, style="core")[0], 0, 10)  # doctest: +SKIP
            >>> [drawn.mask.sum() for drawn in model.decode(image, walk)]  # doctest: +SKIP

        Args:
            image: the image to draw on.
            latent: f32 [n, d], given as (z - mu) / sigma, as `latent` returns them.
        """
        latent, d = np.asarray(latent, np.float32), self.config.model.latent_dim
        if latent.ndim != 2 or latent.shape[1] != d or not len(latent):
            raise InputError(f"latent is {list(latent.shape)}; this model decodes [n, {d}]")
        if not np.isfinite(latent).all():
            raise InputError("latent holds NaN or infinity; give finite numbers")
        seen = self._images.see(image)
        names = [f"z = ({', '.join(f'{number:.2g}' for number in point)})" for point in latent]
        return self._segmentations(seen, self._drawer.decode(seen.encoded, latent), names)

    def read(self, prompts: Sequence[str]) -> list[Reading]:
        """Returns how the model understands sentences; no image is needed.

            >>> model.read(["not too tight, please"])[0].understood  # doctest: +SKIP
            'somewhat outside the usual outline, degree +0.8 of -2 to 2'

        Raises:
            InputError: there is no sentence, one is empty, or the model reads no text.
        """
        return self._read(prompts)[2]

    def check_style(self, style: str | Profile, strength: float = 1.0) -> None:
        """Raises InputError if the model cannot draw a style or a profile; no image is needed."""
        self._styles.check(style)
        self._styles.check_strength(strength)

    def _read(self, prompts: Sequence[str]) -> tuple[list[str], np.ndarray, list[Reading]]:
        """Returns checked sentences, what the second stage gets of them, and their readings."""
        checked, reader = sentences.check(prompts), self._reader
        assert self._second is not None
        text, readings = sentences.read(checked, run=self.run, second=self._second, reader=reader)
        return checked, text, readings

    def _ask(
        self, prompts: str | Sequence[str] | None, style: str | Profile | None, strength: float
    ) -> Queries:
        """Returns what is asked for; InputError unless it is sentences or a style."""
        if (prompts is None) == (style is None):
            raise InputError("give either sentences or the name of a style")
        self._styles.check_strength(strength)
        if style is not None:
            return Queries(
                names=[styles.name_of(style)],
                on=lambda encoded: strength * self._styles.query(encoded, style),
                caveats=[styles.caveats_of(style)],
                readings=None,
            )
        several = [prompts] if isinstance(prompts, str) else prompts or ()
        names, text, readings = self._read(several)
        known = [
            sentences.caveats(name, reading, self._reader.max_tokens)
            for name, reading in zip(names, readings, strict=True)
        ]
        return Queries(
            names=names,
            on=lambda encoded: strength * self._drawer.queries(encoded, text),
            caveats=known,
            readings=readings,
        )

    def _segmentations(
        self,
        seen: Seen,
        probs: np.ndarray,
        names: Sequence[str],
        known: Sequence[Sequence[str]] = (),
        readings: Sequence[Reading] | None = None,
        *,
        margin_mm: float = 0.0,
    ) -> list[Segmentation]:
        """Returns contours on the image's grid from probabilities f32 [s, size, size].

        `known` holds the caveats of each prompt.
        """
        return contours(
            seen, probs, names, readings, known,
            margin_mm=margin_mm, source=self.source, note=self._note(),
        )  # fmt: skip

    def _note(self) -> str:
        return " ".join(caveats.of_every_contour(self.run))

    @property
    def source(self) -> dict[str, Any]:
        """The model's description, ready for JSON."""
        return {
            "model": str(self.folder),
            "model_sha256": self._drawer.sha256,
            "checkpoint_steps": self._steps,
            "training_data_sha256": self.run.data_digest,
            "simulated_training_data": self.run.simulated,
            "encoder": self.run.prompts["encoder"] if self.run.prompts else None,
        }
