"""Both stages' parameters on one device, and their steps, compiled once for each shape."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from prosona_jax.experiments import build
from prosona_jax.experiments.build import Config
from prosona_jax.types import Params

Encoded = tuple[jax.Array, Any]  # U(x) [1, h, w, f] and p(z|x), as `encode_image` returns them


class Drawer:
    """What draws on one image at a time, as evaluation does."""

    def __init__(self, config: Config, stage_one: Params, stage_two: Params | None) -> None:
        """Takes the parameters of both stages; `stage_two` is None where none was trained."""
        self._config = config
        # On one device: a mesh has nothing to split here.
        device = jax.devices()[0]
        self._stage_one = jax.device_put(jax.device_get(stage_one), device)
        self._stage_two = jax.device_put(jax.device_get(stage_two), device)
        self._root = jax.random.key(config.seed)
        self.compiled: dict[Hashable, Callable[..., Any]] = {}

    def encode(self, crop: np.ndarray) -> Encoded:
        """Returns what a drawing needs of the model's input f32 [size, size, C]."""
        return self._step(build.encode_image_step)(self._stage_one, crop[None])

    def queries(self, encoded: Encoded, text: np.ndarray) -> np.ndarray:
        """Returns the queries f32 [s, d] of embeddings f32 [s, e], each by itself."""
        asked = self._step(build.query_step)(self._stage_two, _padded(text), encoded[0])
        return np.asarray(asked)[0, : len(text)]

    def place_queries(self, encoded: Encoded, styles: int) -> np.ndarray:
        """Returns the queries f32 [K, d] of K styles by a second stage that reads no text."""
        nothing = np.zeros((styles, 1), np.float32)
        return np.asarray(self._step(build.query_step)(self._stage_two, nothing, encoded[0]))[0]

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
