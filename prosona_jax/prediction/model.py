"""A trained model in use: what it draws on an image for a sentence, a style, or at random."""

import collections
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from data_pipelines import images, transforms
from data_pipelines.images.picture import Picture
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax.experiments import inputs, predictions
from prosona_jax.prediction import caveats, sentences
from prosona_jax.prediction.drawing import Drawer, Encoded
from prosona_jax.prediction.segmentation import Segmentation, Style
from prosona_jax.prediction.sentences import Reading
from prosona_jax.runtime import workdir
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.types import InputError, Params

_IMAGES_KEPT = 8  # whose features stay in memory


class _Seen(NamedTuple):
    """What is kept of an image."""

    picture: Picture
    encoded: Encoded
    placement: Placement
    shown: np.ndarray  # f32 [H, W]
    caveats: tuple[str, ...]


class Model:
    """A trained run: what it draws on an image for a sentence, a style, or at random.

    Features and prior of an image are computed once, and kept for the images that were asked last.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        run: workdir.Run,
        stage_one: Params,
        second: predictions.StageTwo | None,
        *,
        steps: dict[str, int],
        encoder: str | None = None,
    ) -> None:
        """Takes what `load` reads; `encoder` is where the text encoder lies, if elsewhere."""
        self.folder, self.run = folder, run
        self.config = ml_collections.ConfigDict(run.config)
        self._encoder_place = encoder
        self._second = second
        self._steps = steps
        self._drawer = Drawer(self.config, stage_one, second and second.params)
        self._seen: collections.OrderedDict[Hashable, _Seen] = collections.OrderedDict()

    @property
    def styles(self) -> list[Style]:
        """The styles in order, the first one first; none where no second stage was trained."""
        if self._second is None:
            return []
        names = inputs.style_names(self.run.prompts, self.run.raters)
        said = self.run.prompts["styles"] if self.run.prompts else [{"train": ()}] * len(names)
        return [Style(name, tuple(each["train"])) for name, each in zip(names, said, strict=True)]

    @functools.cached_property
    def encoder(self) -> TextEncoder:
        """The encoder of the training sentences; InputError if the one found is another."""
        if self.run.prompts is None or self._second is None:
            query = self.run.config["stage_two"]["query"]
            raise InputError(
                f"{self.folder}: was trained with config.stage_two.query = {query!r}, which reads "
                "no text; ask for a style or for samples, or name a workdir trained with 'text'"
            )
        return sentences.find_encoder(
            self.folder, self.run.prompts, self._second, self._encoder_place
        )

    def segment(
        self,
        image: Picture | list[Picture],
        prompts: str | Sequence[str] | None = None,
        *,
        style: str | None = None,
        strength: float = 1.0,
    ) -> Any:
        """Draws what sentences, or a style, ask for.

            >>> import prosona_jax as pj
            >>> model = pj.load("runs/demo")  # doctest: +SKIP
            >>> image = pj.read_image("crop.png")  # doctest: +SKIP
            >>> tight, wide = model.segment(image, ["hug the core", "leave a margin"])
            ... # doctest: +SKIP
            >>> model.segment(image, style="core").mask.sum()  # doctest: +SKIP

        Args:
            image: one, or several.
            prompts: a sentence, or several.
            style: the name of a style, in place of sentences: its own contour, by the mean query of
                the sentences that trained it.
            strength: factor on the way from the prior's mean to the style, 1 at the style: beyond
                it above 1, short of it below. For the analytic projection.

        Returns:
            A `Segmentation` for one sentence or style, a list of them for several; for several
            images, a list of those.

        Raises:
            InputError: nothing or an empty sentence is asked, an unknown style, an image of other
                channels, or a strength that the projection does not have.
        """
        if isinstance(image, list):
            return [self.segment(each, prompts, style=style, strength=strength) for each in image]
        if (prompts is None) == (style is None):
            raise InputError("nothing or two things are asked: give sentences, or a style's name")
        strength = self._checked_strength(strength)
        seen = self._see(image)
        if style is not None:
            probs = self._drawer.draw(seen.encoded, strength * self._style_query(seen, style))
            return self._segmentations(seen, probs, [style])[0]
        asked = sentences.check([prompts] if isinstance(prompts, str) else prompts or ())
        text = self.encoder.embed(asked)  # InputError where there is no second stage to read it
        second, described = self._second, self.run.prompts
        assert second is not None
        assert described is not None
        readings = sentences.read(
            asked, text, second=second, described=described, encoder=self.encoder
        )
        query = strength * self._drawer.queries(seen.encoded, text)
        probs = self._drawer.draw(seen.encoded, query)
        drawn = self._segmentations(seen, probs, asked, readings)
        return drawn[0] if isinstance(prompts, str) else drawn

    def sample(self, image: Picture, count: int = 16, *, seed: int | None = None) -> list[Any]:
        """Draws samples of the prior p(z|x): plausible contours, without any prompt.

            >>> samples = model.sample(image, 16)  # doctest: +SKIP

        Args:
            image: what to draw on.
            count: how many, above 0.
            seed: of the draws; None takes the run's, so that they are those of its evaluation.
        """
        if count < 1:
            raise InputError(f"{count} samples are asked for; ask for at least one")
        seen = self._see(image)
        probs = self._drawer.sample(seen.encoded, count, seed)
        return self._segmentations(seen, probs, [f"sample {n}" for n in range(1, count + 1)])

    def interpolate(
        self, image: Picture, start: str, end: str, *, steps: int = 20
    ) -> list[Segmentation]:
        """Walks in a straight line from one query to another.

            >>> path = model.interpolate(image, "hug the core", "leave a margin", steps=20)
            ... # doctest: +SKIP

        Args:
            image: what to draw on.
            start: a sentence, or the name of a style.
            end: likewise.
            steps: contours in all, both ends included; at least 2.
        """
        if steps < 2:
            raise InputError(f"{steps} steps are asked for; a walk has at least 2")
        seen = self._see(image)
        ends = []
        for asked in (start, end):
            if asked in (style.name for style in self.styles):
                ends.append(self._style_query(seen, asked))
            else:
                text = self.encoder.embed(sentences.check([asked]))
                ends.append(self._drawer.queries(seen.encoded, text))
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        probs = self._drawer.draw(seen.encoded, (1 - share) * ends[0] + share * ends[1])
        names = [f"{start} → {end}, {part:.0%}" for part in share[:, 0]]
        return self._segmentations(seen, probs, names)

    def _checked_strength(self, strength: float) -> float:
        if not np.isfinite(strength):
            raise InputError(f"strength is {strength}; give a finite number, 1 for the style")
        if strength != 1 and self.config.stage_two.projection != "analytic":
            raise InputError(
                f"{self.folder}: strength {strength:g} needs the analytic projection, and this "
                "model chooses among samples (bank); leave it at 1"
            )
        return strength

    def _see(self, image: Picture) -> _Seen:
        """Returns what is computed of an image once."""
        # By its bytes: an array may be changed in its place, and NaN equals nothing.
        content = (np.ascontiguousarray(image.image), image.spacing_mm)
        digests = (hashlib.blake2b(part.tobytes(), digest_size=16).digest() for part in content)
        told = image.point, image.intensity_unit, image.caveats  # two files may share their pixels
        key = (*digests, image.image.shape, *told)
        if key in self._seen:
            self._seen.move_to_end(key)
            return self._seen[key]
        if image.image.shape[-1] != self.run.channels:
            raise InputError(
                f"{image.path}: has {image.image.shape[-1]} channels, and the model of "
                f"{self.folder} was trained on {self.run.channels}; convert the image, or name "
                "another workdir"
            )
        crop, placement = images.to_model(image, self.settings)
        encoded = self._drawer.encode(crop)
        scaled = transforms.scale(
            image.image, image.intensity_unit, self.settings, where=str(image.path)
        )
        seen = _Seen(
            image,
            encoded,
            placement,
            scaled[..., 0],
            tuple(
                caveats.of_image(self.folder, self.run, image, placement, self.settings.spacing_mm)
            ),
        )
        self._seen[key] = seen
        while len(self._seen) > _IMAGES_KEPT:
            self._seen.popitem(last=False)
        return seen

    def _style_query(self, seen: _Seen, style: str) -> np.ndarray:
        """Returns a style's query f32 [1, d]: the mean of its sentences', or its own."""
        names = [each.name for each in self.styles]
        if style not in names:
            known = f"choose one of {', '.join(names)}" if names else "it has none: ask for samples"
            raise InputError(f"{self.folder}: has no style {style!r}; {known}")
        assert self._second is not None
        k = names.index(style)
        if self.run.prompts is None:
            return self._drawer.place_queries(seen.encoded, len(names))[k : k + 1]
        queries = self._drawer.queries(seen.encoded, self._second.text["train"][k])
        return queries.mean(axis=0, keepdims=True)

    def _segmentations(
        self,
        seen: _Seen,
        probs: np.ndarray,
        names: Sequence[str],
        readings: Sequence[Reading] | None = None,
    ) -> list[Segmentation]:
        """Returns probabilities f32 [s, size, size] of the model's grid on the image's own."""
        pixel_mm2 = float(np.prod(seen.picture.spacing_mm, dtype=float))
        own = images.from_model(probs, seen.placement)
        known: Sequence[Reading | None] = readings or [None] * len(names)
        return [
            Segmentation(
                name,
                probability,
                None if np.isnan(pixel_mm2) else pixel_mm2 * int((probability > 0.5).sum()),
                (
                    *seen.caveats,
                    *(sentences.caveats(name, reading, self.encoder) if reading else ()),
                ),
                reading,
                self.source,
                " ".join(caveats.of_every_contour(self.run)),
                seen.placement,
                seen.shown,
            )
            for name, probability, reading in zip(names, own, known, strict=True)
        ]

    @property
    def settings(self) -> Settings:
        """How an image is brought to the model: as training did, and no further.

        Where the pixels of the training images were of unknown size, nothing was resampled.
        """
        settings = Settings.from_config(self.config.data)
        if self.run.native_spacing_mm is None:
            return dataclasses.replace(settings, spacing_mm=0.0)
        return settings

    @property
    def source(self) -> dict[str, Any]:
        """The model's description, ready for JSON."""
        return {
            "workdir": str(self.folder),
            "checkpoint_steps": self._steps,
            "training_data_sha256": self.run.data_digest,
            "simulated_training_data": self.run.simulated,
            "encoder": self.run.prompts["encoder"] if self.run.prompts else None,
        }
