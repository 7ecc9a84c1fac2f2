"""A trained model: it draws contours on an image for a sentence, for a style, or at random."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from prosona_jax.prediction import fitting, margins, on_scan
from prosona_jax.prediction.latent_space import LatentSpace
from prosona_jax.prediction.profile import Profile
from prosona_jax.prediction.scan_segmentation import ScanSamples
from prosona_jax.types import InputError


def is_several(prompts: str | Sequence[str] | None) -> bool:
    """Returns whether a list of contours is asked for, and not one."""
    return prompts is not None and not isinstance(prompts, str)


class Model(LatentSpace):
    """A trained run: it draws contours on an image for a sentence, for a style, or at random.

    Features and prior of an image are computed once and kept for the images that were used last.
    """

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
        asked = self._ask(prompts, style, strength)
        seen = self._images.see(image)
        probs = self._drawer.draw(seen.encoded, asked.on(seen.encoded))
        drawn = self._segmentations(
            seen, probs, asked.names, asked.caveats, asked.readings, margin_mm=margin_mm
        )
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

            >>> scan = pj.read_scan("LIDC-IDRI-0001/")  # doctest: +SKIP
            >>> drawn = model.segment_scan(scan, (7, 210, 143), "hug the core")  # doctest: +SKIP
            >>> drawn.volume_ml  # doctest: +SKIP

        Args:
            scan: a scan from `pj.read_scan`.
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
        asked = self._ask(prompts, style, strength)
        request = on_scan.Request(
            names=asked.names,
            draw=lambda encoded: self._drawer.draw(encoded, asked.on(encoded)),
            guide=self._drawer.mean,
            readings=asked.readings,
            caveats=asked.caveats,
            margin_mm=margin_mm,
            one_object=one_object,
            fill_holes=fill_holes,
            source=self.source,
            note=self._note(),
        )
        drawn = on_scan.segment(scan, point, self._images, request)
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
        names = _sample_names(count)
        seen = self._images.see(image)
        return self._segmentations(seen, self._drawer.sample(seen.encoded, count, seed), names)

    def sample_scan(
        self,
        scan: Scan,
        point: tuple[int, float, float],
        count: int = 16,
        *,
        seed: int | None = None,
        one_object: bool = True,
        fill_holes: bool = True,
    ) -> ScanSamples:
        """Draws samples of the prior through all slices of one object.

            >>> samples = model.sample_scan(scan, (7, 210, 143))  # doctest: +SKIP
            >>> min(samples.volumes_ml), max(samples.volumes_ml)  # doctest: +SKIP

        A sample is one standard normal draw for all slices, and each slice has its own prior. So a
        sample that is wide on one slice is wide on the next one.

        Args:
            scan: as in `segment_scan`.
            point: as in `segment_scan`.
            count: as in `sample`.
            seed: as in `sample`; on the slice of the point, these are its samples.
            one_object: as in `segment_scan`.
            fill_holes: as in `segment_scan`.

        Returns:
            The share of the samples that include a voxel, and the volume of each sample.

        Raises:
            InputError: as in `segment_scan`, or the count is below 1.
        """
        names = _sample_names(count)
        latents = self._drawer.draws(count, seed)
        request = on_scan.Request(
            names=names,
            draw=lambda encoded: self._drawer.decode(encoded, latents),
            guide=self._drawer.mean,
            readings=None,
            caveats=(),
            margin_mm=0.0,
            one_object=one_object,
            fill_holes=fill_holes,
            source=self.source,
            note=self._note(),
        )
        return on_scan.sample(scan, point, self._images, request)


def _sample_names(count: int) -> list[str]:
    if count < 1:
        raise InputError(f"the number of samples is {count}; it must be at least 1")
    return [f"sample {n}" for n in range(1, count + 1)]
