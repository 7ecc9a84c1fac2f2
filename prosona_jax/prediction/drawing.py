"""Both stages' parameters on one device, and their steps, compiled once for each shape."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from prosona_jax.experiments import build
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.types import Batch, Params

Encoded = tuple[jax.Array, Any]  # U(x) [1, h, w, f] and p(z|x), as `encode_image` returns them


class Drawer:
    """What draws on one image at a time, as evaluation does."""

    def __init__(self, config: Config, stage_one: Params, second: StageTwo | None) -> None:
        """Takes the parameters of both stages; `second` is None where none was trained."""
        self._config = config
        self._styles = second.styles if second else 0
        # On one device: a mesh has nothing to split here.
        device = jax.devices()[0]
        self._stage_one = jax.device_put(jax.device_get(stage_one), device)
        self._stage_two = jax.device_put(jax.device_get(second and second.params), device)
        self._root = jax.random.key(config.seed)
        self.compiled: dict[Hashable, Callable[..., Any]] = {}

    def encode(self, crop: np.ndarray) -> Encoded:
        """Returns what a drawing needs of the model's input f32 [size, size, C]."""
        return self._step(build.encode_image_step)(self._stage_one, crop[None])

    def queries(self, encoded: Encoded, text: np.ndarray | None) -> np.ndarray:
        """Returns the queries f32 [s, d] of embeddings f32 [s, e], each by itself.

        None asks a second stage that reads no text for the queries of its K styles, f32 [K, d].
        """
        step = self._step(build.query_step, self._styles)
        if text is None:
            return np.asarray(step(self._stage_two, None, encoded[0]))[0]
        return np.asarray(step(self._stage_two, _padded(text), encoded[0]))[0, : len(text)]

    def project(self, encoded: Encoded, query: np.ndarray) -> np.ndarray:
        """Returns the latents f32 [s, d] of queries f32 [s, d], as (z - mu) / sigma."""
        step = self._step(build.project_step)
        return np.asarray(step(encoded[1], _padded(query)[None], self._root))[0, : len(query)]

    def posterior(self, encoded: Encoded, crop: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Returns the posterior's means f32 [n, d] of masks u8 [n, size, size], likewise."""
        batch = Batch(
            image=crop[None],
            masks=masks[None],
            rater_valid=np.ones((1, len(masks)), bool),
            index=np.zeros(1, np.int32),
            valid=np.ones(1, np.float32),
        )
        return np.asarray(self._step(build.posterior_step)(self._stage_one, batch, encoded[1]))[0]

    def decode(self, encoded: Encoded, latent: np.ndarray) -> np.ndarray:
        """Returns the probabilities f32 [s, size, size] of latents (z - mu) / sigma, f32 [s, d]."""
        step = self._step(build.decode_step)
        return np.asarray(step(self._stage_one, encoded, _padded(latent)[None]))[0, : len(latent)]

    def draw(self, encoded: Encoded, query: np.ndarray) -> np.ndarray:
        """Returns the probabilities f32 [s, size, size] of queries f32 [s, d]."""
        step = self._step(build.draw_step)
        probs = step(self._stage_one, encoded, _padded(query)[None], self._root)
        return np.asarray(probs)[0, : len(query)]

    def sample(self, encoded: Encoded, count: int, seed: int | None) -> np.ndarray:
        """Returns the probabilities f32 [count, size, size] of samples of the prior."""
        root = self._root if seed is None else jax.random.key(seed)
        step = self._step(build.sample_step, count)
        return np.asarray(step(self._stage_one, encoded, root))[0]

    def _step(self, make: Callable[..., Callable[..., Any]], *options: Any) -> Any:
        """Returns the step that `make` builds of the config, the same one each time."""
        key = (make, *options)
        if key not in self.compiled:
            self.compiled[key] = jax.jit(make(self._config, *options))
        return self.compiled[key]


def _padded(rows: np.ndarray) -> np.ndarray:
    """Repeats the last of [s, ...] up to a power of two: few shapes are compiled for any s."""
    count = 1 << (len(rows) - 1).bit_length()
    return np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])
