"""A trained model: it draws contours on an image for a sentence, for a style, or at random."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np

from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from prosona_jax.experiments import sentences
from prosona_jax.experiments.sentences import Reading
from prosona_jax.prediction import caveats, fitting, margins, on_scan, styles
from prosona_jax.prediction.drawing import Drawer, Encoded
from prosona_jax.prediction.profile import Profile
from prosona_jax.prediction.seen import Images, Seen, on_crop
from prosona_jax.prediction.segmentation import Segmentation, contours
from prosona_jax.prediction.styles import Style, Styles
from prosona_jax.prediction.trained import Trained
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.types import InputError

Query = Callable[[Encoded], np.ndarray]  # f32 [s, d] on an image


def is_several(prompts: str | Sequence[str] | None) -> bool:
    """Returns whether a list of contours is asked for, and not one."""
    return prompts is not None and not isinstance(prompts, str)


class Model:
    """A trained run: it draws contours on an image for a sentence, for a style, or at random.

    Features and prior of an image are computed once and kept for the images that were used last.
    """

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
    def _reader(self) -> TextEncoder | DegreeReader:
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

    def segment(
        self,
        image: Picture | list[Picture],
        prompts: str | Sequence[str] | None = None,
        *,
        style: str | Profile | None = None,
        strength: float = 1.0,
        margin_mm: float = 0.0,
    ) -> Any:
        """Draws the contours of sentences, or of a style.

            >>> import prosona_jax as pj
            >>> model = pj.load("runs/demo")  # doctest: +SKIP
            >>> image = pj.read_image("crop.png")  # doctest: +SKIP
            >>> tight, wide = model.segment(image, ["hug the core", "leave a margin"])
            ... # doctest: +SKIP
            >>> model.segment(image, style="core").mask.sum()  # doctest: +SKIP

        Args:
            image: one image, or a list of them.
            prompts: a sentence, or several.
            style: the name of a style, in place of sentences. It draws the style's own contour, by
                the mean query of its training sentences. Or a profile, which draws as its user.
            strength: factor on the shift from the prior's mean to the style: 0 gives the mean, 1
                the style, and values above 1 go beyond the style. Other values than 1 need the
                analytic projection.
            margin_mm: exact margin to add to each contour; negative: to cut off. It is added by
                geometry, besides what a sentence asks for.

        Returns:
            A `Segmentation` for one sentence or style; a list of them for several sentences. For a
            list of images, a list of these results.

        Raises:
            InputError: there is no sentence, or an empty one; the style is unknown; the profile
                belongs to another model; the image has another number of channels; the strength
                needs another projection; or the margin needs the pixel size, which is unknown.
        """
        if isinstance(image, list):
            return [
                self.segment(each, prompts, style=style, strength=strength, margin_mm=margin_mm)
                for each in image
            ]
        margin_mm = margins.check(margin_mm, image.spacing_mm)
        names, query, known, readings = self._ask(prompts, style, strength)
        seen = self._images.see(image)
        probs = self._drawer.draw(seen.encoded, query(seen.encoded))
        drawn = self._segmentations(seen, probs, names, known, readings, margin_mm=margin_mm)
        return drawn if is_several(prompts) else drawn[0]

    def fit_style(
        self, images: Sequence[Picture], masks: Sequence[np.ndarray], *, name: str
    ) -> Profile:
        """Fits the style of one user to a few of their own contours; takes seconds.

            >>> anna = model.fit_style(images, masks, name="anna")  # doctest: +SKIP
            >>> anna.verdict  # doctest: +SKIP
            >>> model.segment(image, style=anna)  # doctest: +SKIP

        Only a query is fitted, and no parameter of the model changes.

        Args:
            images: n >= 3 different images; five to ten are enough.
            masks: what the user drew on each, {0, 1} [H, W] on the image's own grid.
            name: of the profile.

        Raises:
            InputError: there are fewer than 3 images, one occurs twice, a mask is empty or does not
                fit its image, the name is that of a style, or the model has no styles.
        """
        return fitting.fit(
            name, images, masks, images=self._images, drawer=self._drawer, styles=self._styles
        )

    def segment_scan(
        self,
        scan: Scan,
        point: tuple[int, float, float],
        prompts: str | Sequence[str] | None = None,
        *,
        style: str | Profile | None = None,
        strength: float = 1.0,
        margin_mm: float = 0.0,
        one_object: bool = True,
        fill_holes: bool = True,
    ) -> Any:
        """Draws the contours of sentences, or of a style, through all slices of one object.

            >>> scan = scans.read("LIDC-IDRI-0001/")  # doctest: +SKIP
            >>> drawn = model.segment_scan(scan, (7, 210, 143), "hug the core")  # doctest: +SKIP
            >>> drawn.volume_ml  # doctest: +SKIP

        Args:
            scan: a scan from `data_pipelines.scans.read`.
            point: (slice, row, column) in the object, as `data_pipelines.scans.locate` returns it.
            prompts: a sentence, or several.
            style: the name of a style, or a profile, in place of sentences.
            strength: as in `segment`.
            margin_mm: as in `segment`, in 3-D.
            one_object: keep only the part of each contour that is connected with the point.
            fill_holes: fill the holes of each slice.

        Returns:
            A `ScanSegmentation` for one sentence or style; a list of them for several sentences.

        Raises:
            InputError: as in `segment`, or a slice cannot be read.
        """
        margin_mm = margins.check(margin_mm, scan.spacing_mm)
        names, query, known, readings = self._ask(prompts, style, strength)
        asked = on_scan.Asked(
            names=names,
            draw=lambda encoded: self._drawer.draw(encoded, query(encoded)),
            readings=readings,
            caveats=known,
            margin_mm=margin_mm,
            one_object=one_object,
            fill_holes=fill_holes,
            source=self.source,
            note=self._note(),
        )
        drawn = on_scan.segment(scan, point, self._images, asked)
        return drawn if is_several(prompts) else drawn[0]

    def sample(self, image: Picture, count: int = 16, *, seed: int | None = None) -> list[Any]:
        """Draws samples of the prior p(z|x), which are plausible contours without any prompt.

            >>> samples = model.sample(image, 16)  # doctest: +SKIP

        Args:
            image: the image to draw on.
            count: the number of samples, at least 1.
            seed: the seed of the samples; None takes the run's seed, which gives the samples of
                its evaluation.
        """
        if count < 1:
            raise InputError(f"the number of samples is {count}; it must be at least 1")
        seen = self._images.see(image)
        probs = self._drawer.sample(seen.encoded, count, seed)
        return self._segmentations(seen, probs, [f"sample {n}" for n in range(1, count + 1)])

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

    def _read(self, prompts: Sequence[str]) -> tuple[list[str], np.ndarray, list[Reading]]:
        """Returns checked sentences, what the second stage gets of them, and their readings."""
        checked, reader = sentences.check(prompts), self._reader
        assert self._second is not None
        text, readings = sentences.read(checked, run=self.run, second=self._second, reader=reader)
        return checked, text, readings

    def _ask(
        self, prompts: str | Sequence[str] | None, style: str | Profile | None, strength: float
    ) -> tuple[Sequence[str], Query, list[list[str]], list[Reading] | None]:
        """Returns names of contours, their queries on an image, caveats, readings of sentences."""
        if (prompts is None) == (style is None):
            raise InputError("give either sentences or the name of a style")
        self._styles.check_strength(strength)
        if style is not None:
            query: Query = lambda encoded: strength * self._styles.query(encoded, style)  # noqa: E731
            return [styles.name_of(style)], query, [styles.caveats_of(style)], None
        several = [prompts] if isinstance(prompts, str) else prompts or ()
        names, text, readings = self._read(several)
        known = [
            sentences.caveats(name, reading, self._reader.max_tokens)
            for name, reading in zip(names, readings, strict=True)
        ]
        return (
            names,
            lambda encoded: strength * self._drawer.queries(encoded, text),
            known,
            readings,
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
            "checkpoint_steps": self._steps,
            "training_data_sha256": self.run.data_digest,
            "simulated_training_data": self.run.simulated,
            "encoder": self.run.prompts["encoder"] if self.run.prompts else None,
        }
