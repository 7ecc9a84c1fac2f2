"""A trained model in use: what it draws on an image for a sentence, a style, or at random."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from data_pipelines import images
from data_pipelines.images.picture import Picture
from prosona_jax.experiments import inputs, predictions
from prosona_jax.prediction import caveats, sentences
from prosona_jax.prediction.drawing import Drawer
from prosona_jax.prediction.seen import Images, Seen, on_crop
from prosona_jax.prediction.segmentation import Segmentation, Style
from prosona_jax.prediction.sentences import Reading
from prosona_jax.runtime import workdir
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.types import InputError, Params


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
        self._drawer = Drawer(self.config, stage_one, second)
        self._images = Images(folder, run, self._drawer)

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
        seen = self._images.see(image)
        if style is not None:
            probs = self._drawer.draw(seen.encoded, strength * self._style_query(seen, style))
            return self._segmentations(seen, probs, [style])[0]
        asked, text = self._embed([prompts] if isinstance(prompts, str) else prompts or ())
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
        seen = self._images.see(image)
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
        seen = self._images.see(image)
        ends = []
        for asked in (start, end):
            if asked in (style.name for style in self.styles):
                ends.append(self._style_query(seen, asked))
            else:
                ends.append(self._drawer.queries(seen.encoded, self._embed([asked])[1]))
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        probs = self._drawer.draw(seen.encoded, (1 - share) * ends[0] + share * ends[1])
        names = [f"{start} → {end}, {part:.0%}" for part in share[:, 0]]
        return self._segmentations(seen, probs, names)

    def latent(
        self,
        image: Picture,
        prompts: Sequence[str] | None = None,
        *,
        style: str | None = None,
        masks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns where sentences, a style, or raters' masks lie in the image's latent space.

            >>> model.latent(image, ["hug the core", "leave a margin"])  # doctest: +SKIP
            >>> model.latent(image, style="core").shape  # doctest: +SKIP

        The latent z is given as (z - mu) / sigma, with mean and standard deviation of the prior
        p(z|x): 0 is the prior's mean, and a sample of the prior is standard normal.

        Args:
            image: whose prior is meant.
            prompts: n sentences.
            style: the name of a style, in their place; n is 1.
            masks: u8 {0, 1} [n, H, W] on the image's own grid, in their place: the mean of the
                posterior that sees the image and one mask. A model whose posterior was trained on
                all raters' masks at once (`model.posterior_input`) sees all n together.

        Returns:
            f32 [n, d] for d latent dimensions.

        Raises:
            InputError: as in `segment`, or the masks have another grid.
        """
        if sum(asked is not None for asked in (prompts, style, masks)) != 1:
            raise InputError("give one of: sentences, a style's name, masks")
        seen = self._images.see(image)
        if masks is not None:
            return self._drawer.posterior(seen.encoded, seen.crop, on_crop(masks, seen))
        if style is not None:
            return self._drawer.project(seen.encoded, self._style_query(seen, style))
        query = self._drawer.queries(seen.encoded, self._embed(prompts or ())[1])
        return self._drawer.project(seen.encoded, query)

    def decode(self, image: Picture, latent: np.ndarray) -> list[Segmentation]:
        """Draws the contours of points in the image's latent space.

            >>> walk = np.linspace(model.latent(image, style="core")[0], 0, 10)  # doctest: +SKIP
            >>> [drawn.mask.sum() for drawn in model.decode(image, walk)]  # doctest: +SKIP

        Args:
            image: what to draw on.
            latent: f32 [n, d], (z - mu) / sigma as in `latent`.
        """
        latent, d = np.asarray(latent, np.float32), self.config.model.latent_dim
        if latent.ndim != 2 or latent.shape[1] != d or not len(latent):
            raise InputError(f"latent is {list(latent.shape)}; this model decodes [n, {d}]")
        if not np.isfinite(latent).all():
            raise InputError("latent holds NaN or infinity; give finite numbers")
        seen = self._images.see(image)
        names = [f"z = ({', '.join(f'{number:.2g}' for number in point)})" for point in latent]
        return self._segmentations(seen, self._drawer.decode(seen.encoded, latent), names)

    def _embed(self, prompts: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Returns checked sentences and their embeddings; InputError if no text is read."""
        asked = sentences.check(prompts)
        return asked, self.encoder.embed(asked)

    def _checked_strength(self, strength: float) -> float:
        if not np.isfinite(strength):
            raise InputError(f"strength is {strength}; give a finite number, 1 for the style")
        if strength != 1 and self.config.stage_two.projection != "analytic":
            raise InputError(
                f"{self.folder}: strength {strength:g} needs the analytic projection, and this "
                "model chooses among samples (bank); leave it at 1"
            )
        return strength

    def _style_query(self, seen: Seen, style: str) -> np.ndarray:
        """Returns a style's query f32 [1, d]: the mean of its sentences', or its own."""
        names = [each.name for each in self.styles]
        if style not in names:
            known = f"choose one of {', '.join(names)}" if names else "it has none: ask for samples"
            raise InputError(f"{self.folder}: has no style {style!r}; {known}")
        assert self._second is not None
        k = names.index(style)
        if not self._second.text:
            return self._drawer.queries(seen.encoded, None)[k : k + 1]
        queries = self._drawer.queries(seen.encoded, self._second.text["train"][k])
        return queries.mean(axis=0, keepdims=True)

    def _segmentations(
        self,
        seen: Seen,
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
    def source(self) -> dict[str, Any]:
        """The model's description, ready for JSON."""
        return {
            "workdir": str(self.folder),
            "checkpoint_steps": self._steps,
            "training_data_sha256": self.run.data_digest,
            "simulated_training_data": self.run.simulated,
            "encoder": self.run.prompts["encoder"] if self.run.prompts else None,
        }
