"""What a user of the command asks to be drawn, on an image or through a scan."""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from prosona_jax import unicode
from prosona_jax.prediction.model import Model
from prosona_jax.prediction.profile import SUFFIX, Profile
from prosona_jax.prediction.scan_segmentation import ScanSamples, ScanSegmentation
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.types import InputError

_LOG = logging.getLogger("prosona_jax.predict")


class Request(NamedTuple):
    """Sentences, a style or samples, and how to draw them; give one of the first three."""

    prompts: Sequence[str]
    style: str | None  # name of a style, or the file of a profile
    samples: int | None  # how many
    strength: float
    margin_mm: float
    force: bool  # also draw sentences that are not understood
    one_object: bool  # of a scan
    fill_holes: bool  # of a scan

    def check(self) -> None:
        """Raises InputError unless one thing is asked for, with options that fit it."""
        given = [bool(self.prompts), self.style is not None, self.samples is not None]
        if sum(given) != 1:
            raise InputError(
                'give exactly one of --prompt="hug the solid core" (may be repeated), '
                "--prompts=FILE, --style=NAME and --samples=NUMBER"
            )
        if self.samples is not None and (self.strength != 1 or self.margin_mm):
            raise InputError("--samples takes neither --strength nor --margin_mm; leave them out")

    def check_model(self, model: Model) -> None:
        """Logs how the model understands the prompts.

        Raises:
            InputError: it does not understand one, unless forced, or has no such style.
        """
        if self.style is not None:
            model.check_style(self._style(), self.strength)
        if not self.prompts:
            return
        for prompt, reading in zip(self.prompts, model.read(self.prompts), strict=True):
            _LOG.info("%r: %s", prompt, reading.understood)
            if reading.fault and not self.force:
                raise InputError(
                    f"the prompt {unicode.shorten(prompt, 80)!r} was not understood: it "
                    f"{reading.fault}; reword it, or draw it anyway with --force"
                )

    def described(self) -> dict[str, Any]:
        """Returns the request for JSON, with a profile's query, since its file may change."""
        style = None if self.style is None else self._style()
        query = list(style.query) if isinstance(style, Profile) else None
        return self._asdict() | {"prompts": list(self.prompts), "profile": query}

    def draw(self, model: Model, picture: Picture) -> list[Segmentation]:
        """Returns the contours on an image."""
        if self.samples is not None:
            return model.sample(picture, self.samples)
        drawn = self._options(model.segment)(picture)
        return drawn if self.prompts else [drawn]

    def draw_scan(
        self, model: Model, scan: Scan, point: tuple[int, float, float]
    ) -> list[ScanSegmentation] | ScanSamples:
        """Returns the contours, or the samples, of the object at (slice, row, column)."""
        of_scan = {"one_object": self.one_object, "fill_holes": self.fill_holes}
        if self.samples is not None:
            return model.sample_scan(scan, point, self.samples, **of_scan)
        drawn = self._options(model.segment_scan)(scan, point, **of_scan)
        return drawn if self.prompts else [drawn]

    def _options(self, draw: Any) -> Any:
        """Returns a method of the model with the sentences or the style."""
        given = {"strength": self.strength, "margin_mm": self.margin_mm}
        if self.style is None:
            return functools.partial(draw, prompts=list(self.prompts), **given)
        return functools.partial(draw, style=self._style(), **given)

    def _style(self) -> str | Profile:
        assert self.style is not None
        return Profile.load(self.style) if self.style.endswith(SUFFIX) else self.style
