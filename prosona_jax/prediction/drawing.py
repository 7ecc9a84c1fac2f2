"""Both stages' parameters on one device, and their steps, compiled once for each shape."""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prosona_jax import checksum, rng
from prosona_jax.evaluation.in_distribution import Appearance
from prosona_jax.experiments import build
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.models import distributions
from prosona_jax.runtime import workdir
from prosona_jax.training.query_fit import Contours
from prosona_jax.types import Batch, Params

Encoded = tuple[jax.Array, Any]  # U(x) [1, h, w, f] and p(z|x), as `encode_image` returns them


class Drawer:
    """Draws on one image at a time, with the same computation as evaluation."""

    def __init__(self, config: Config, stage_one: Params, second: StageTwo | None) -> None:
        """Takes the parameters of both stages; `second` is None if only stage one was trained."""
        self._config = config
        self._styles = second.styles if second else 0
        # On one device, because one image cannot be split over a mesh.
        device = jax.devices()[0]
        self._stage_one = jax.device_put(jax.device_get(stage_one), device)
        self._stage_two = jax.device_put(jax.device_get(second and second.params), device)
        self._root = jax.random.key(config.seed)
        self.compiled: dict[Hashable, Callable[..., Any]] = {}

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of the parameters of both stages, and of the config that they belong to.

        It is that of float16, so that a model has the same one after its export.
        """
        leaves = jax.tree_util.tree_leaves_with_path((self._stage_one, self._stage_two))
        arrays = [(jax.tree_util.keystr(path), x.astype(np.float16)) for path, x in leaves]
        return checksum.seal(workdir.fields(self._config.to_dict()), arrays)["sha256"]

    def encode(self, crop: np.ndarray) -> Encoded:
        """Returns U(x) and p(z|x) of the model's input f32 [size, size, C]."""
        return self._step(build.encode_image_step)(self._stage_one, crop[None])

    def appearance(self, encoded: Encoded) -> Appearance:
        """Returns how the image appears to stage one, as the training images were measured."""
        step = self._step(build.appearance_step)
        found: Appearance = jax.device_get(step(self._stage_one, encoded, self._root))
        return found

    def queries(self, encoded: Encoded, text: np.ndarray | None) -> np.ndarray:
        """Returns the queries f32 [s, d] of embeddings f32 [s, e].

        If `text` is None, returns the queries f32 [K, d] of the K styles; for a second stage that
        reads no text.
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
        """Returns posterior means, as (z - mu) / sigma f32 [n, d], of masks u8 [n, size, size]."""
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

    def mean(self, encoded: Encoded) -> np.ndarray:
        """Returns the probabilities f32 [1, size, size] of the prior's mean."""
        return self.decode(encoded, np.zeros((1, self._config.model.latent_dim), np.float32))

    def draw(self, encoded: Encoded, query: np.ndarray) -> np.ndarray:
        """Returns the probabilities f32 [s, size, size] of queries f32 [s, d]."""
        step = self._step(build.draw_step)
        probs = step(self._stage_one, encoded, _padded(query)[None], self._root)
        return np.asarray(probs)[0, : len(query)]

    def fit(self, encoded: Sequence[Encoded], masks: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Returns the query f32 [d] that draws a person's masks best.

        Args:
            encoded: n images.
            masks: u8 {0, 1} [n, size, size], what the person drew on each.
            starts: f32 [s, d], queries of which the best is where the fit starts.
        """
        features, prior = jax.tree.map(lambda *each: jnp.concatenate(each), *encoded)
        contours = Contours(features, prior, jnp.asarray(masks))
        return np.asarray(self._step(build.fit_step)(self._stage_one, contours, starts, self._root))

    def sample(self, encoded: Encoded, count: int, seed: int | None) -> np.ndarray:
        """Returns the probabilities f32 [count, size, size] of samples of the prior."""
        root = self._root if seed is None else jax.random.key(seed)
        step = self._step(build.sample_step, count)
        return np.asarray(step(self._stage_one, encoded, root))[0]

    def draws(self, count: int, seed: int | None) -> np.ndarray:
        """Returns the latents f32 [count, d] of the same samples, as (z - mu) / sigma."""
        root = self._root if seed is None else jax.random.key(seed)
        keys = rng.example_keys(root, "evaluate", 0, jnp.arange(1))
        return np.asarray(distributions.draws(keys, count, self._config.model.latent_dim))[0]

    def _step(self, make: Callable[..., Callable[..., Any]], *options: Any) -> Any:
        """Returns the step that `make` builds of the config; the same one for equal arguments."""
        key = (make, *options)
        if key not in self.compiled:
            self.compiled[key] = jax.jit(make(self._config, *options))
        return self.compiled[key]


def _padded(rows: np.ndarray) -> np.ndarray:
    """Repeats the last row of [s, ...] up to a power of two, so that few shapes are compiled."""
    count = 1 << (len(rows) - 1).bit_length()
    return np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])
