"""The outputs of a model that depend on the image alone, kept for the images used last."""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import ml_collections
import numpy as np

from data_pipelines import images, transforms
from data_pipelines.images.picture import Picture
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax.evaluation.in_distribution import InDistribution
from prosona_jax.prediction import caveats, presence
from prosona_jax.prediction.drawing import Drawer, Encoded
from prosona_jax.runtime.workdir import Run
from prosona_jax.types import InputError

_IMAGES_KEPT = 8  # number of images whose features stay in memory


class Seen(NamedTuple):
    """An image, the model's input made from it, and the model's outputs for it."""

    picture: Picture
    crop: np.ndarray  # f32 [size, size, C], the model's input
    placement: Placement  # of the crop on the image
    encoded: Encoded
    shown: np.ndarray  # f32 [H, W], the image's first channel as the model scales it, -1..1
    caveats: tuple[str, ...]
    unlike: tuple[str, ...]  # caveats of an image that is unlike the training images

    def doubts(self, mask: np.ndarray) -> list[str]:
        """Returns the caveats about the presence of an object, for a contour {0, 1} [H, W]."""
        return [*self.unlike, *presence.about_contour(mask, self.placement)]


def on_crop(masks: np.ndarray, seen: Seen) -> np.ndarray:
    """Resamples masks u8 [n, H, W] to the model's grid; InputError if they do not fit the image."""
    if np.ndim(masks) != 3 or np.shape(masks)[1:] != seen.placement.below or not len(masks):
        height, width = seen.placement.below
        raise InputError(
            f"masks are {list(np.shape(masks))}; give [n, {height}, {width}], as large as the image"
        )
    shares = transforms.sample(
        np.asarray(masks, np.float32), seen.placement, background=np.float32(0)
    )
    return (shares >= 0.5).astype(np.uint8)


class Images:
    """Encodes images for a model, with the preprocessing of its training."""

    def __init__(
        self,
        folder: pathlib.Path,
        run: Run,
        drawer: Drawer,
        of_model: Sequence[str],
        trained_on: InDistribution | None,
    ) -> None:
        """Takes the model's folder, run, steps that encode an image, caveats, and training images.

        `trained_on` is None if the training images were not measured.
        """
        self._trained_on = trained_on
        self._folder, self._run, self._drawer, self._of_model = folder, run, drawer, of_model
        settings = Settings.from_config(ml_collections.ConfigDict(run.config).data)
        # If the pixel size of the training images was unknown, training resampled nothing.
        unknown = run.native_spacing_mm is None
        self._settings = dataclasses.replace(settings, spacing_mm=0.0) if unknown else settings
        self._kept: collections.OrderedDict[Hashable, Seen] = collections.OrderedDict()

    def see(self, image: Picture) -> Seen:
        """Returns an image with its encoding; InputError if its number of channels is wrong."""
        # The key is made of bytes, because arrays can change in place, and NaN is not equal to NaN.
        content = (np.ascontiguousarray(image.image), image.spacing_mm)
        digests = (hashlib.blake2b(part.tobytes(), digest_size=16).digest() for part in content)
        # Two files may have the same pixels but other units or caveats.
        window = self._window(image)
        limits = None if window is None else window.tobytes()
        own = (image.image.shape, image.point, image.intensity_unit, image.caveats)
        key = (*digests, *own, limits)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._kept[key] = seen = self._encode(image, window)
        while len(self._kept) > _IMAGES_KEPT:
            self._kept.popitem(last=False)
        return seen

    def scaled(self, image: Picture) -> np.ndarray:
        """Returns an image f32 [H, W, C] as the model scales it, -1..1, without encoding it."""
        return transforms.scale(
            image.image,
            image.intensity_unit,
            self._settings,
            where=str(image.path),
            of_volume=self._window(image),
        )

    def _window(self, image: Picture) -> np.ndarray | None:
        """Returns the limits of the image's volume; None: the image has limits of its own.

        Training images decide: if they had the windows of their volumes, so have others whose
        volume is known.
        """
        if not (self._run.windowed_by_volume and image.intensity_unit == "arbitrary"):
            return None
        low, high = self._settings.percentiles
        return image.window((low, high)) if image.window else None

    def _encode(self, image: Picture, window: np.ndarray | None) -> Seen:
        if image.image.shape[-1] != self._run.channels:
            raise InputError(
                f"{image.path}: has {image.image.shape[-1]} channels, but the model of "
                f"{self._folder} was trained on {self._run.channels}; convert the image, or name "
                "another model"
            )
        scaled, crop, placement = images.to_model(image, self._settings, window)
        found = caveats.of_image(
            self._of_model,
            self._run,
            image,
            placement,
            self._settings.spacing_mm,
            by_volume=window is not None,
        )
        encoded = self._drawer.encode(crop)
        return Seen(
            picture=image,
            crop=crop,
            placement=placement,
            encoded=encoded,
            shown=scaled[..., 0],
            caveats=tuple(found),
            unlike=tuple(presence.about_image(self._trained_on, self._drawer.appearance(encoded))),
        )
