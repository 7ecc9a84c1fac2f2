"""Stage two of the smallest model: three styles, random embeddings, and what stage one encoded."""

import jax
import jax.numpy as jnp
import numpy as np

from prosona_jax.models import distributions, encoding
from prosona_jax.models.projection import Projector
from prosona_jax.models.query import HeadsQuery, IdQuery, Prompter, TextQuery
from prosona_jax.training import stage_two, step
from prosona_jax.types import Params
from tests import tiny
from tests.tiny import MODEL, ROOT, D

K, E = 3, 5
OBJECTIVE = stage_two.Objective(
    dice=1.0, cross_entropy=0.7, ged=0.4, latent=0.5, visual=0.3, text_noise=0.0
)
ANALYTIC = Projector("analytic", 0.8, 7)
BANK = Projector("bank", 0.8, 7)
QUERIES = {"text": TextQuery(D, 6), "id": IdQuery(K, D), "heads": HeadsQuery(K, D)}


def make_prompter(query: str) -> Prompter:
    return Prompter(QUERIES[query], 6)


def make_objective(query: str) -> stage_two.Objective:
    return OBJECTIVE if query == "text" else OBJECTIVE._replace(latent=0.0, visual=0.0)


def make_params(query: str) -> Params:
    return stage_two.initialise(
        make_prompter(query),
        ROOT,
        MODEL,
        image_shape=tiny.IMAGE_SHAPE,
        styles=K,
        text_dim=E if query == "text" else None,
    )


def make_text(prompts: int) -> jax.Array:
    text = np.random.default_rng(3).normal(size=(K, prompts, E))
    return jnp.asarray(text / np.linalg.norm(text, axis=-1, keepdims=True), jnp.float32)


def make_encoded(size: int = 8, padding: int = 0) -> encoding.Encoded:
    """Random values in place of the outputs of stage one; two masks are missing."""
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(size=shape).astype(np.float32)  # noqa: E731
    rater_valid = np.ones((size, K), bool)
    rater_valid[0, 1] = rater_valid[2, 0] = False
    return encoding.Encoded(
        features=draw(size, 8, 8, 4).astype(np.float16),
        prior=distributions.Gaussian(draw(size, D), 0.3 * draw(size, D)),
        latent=draw(size, K, D),
        visual=draw(size, K, 12),
        masks=(generator.random((size, K, 8, 8)) > 0.5).astype(np.uint8),
        rater_valid=rater_valid,
        index=np.arange(100, 100 + size, dtype=np.int32),
        valid=np.array([1.0] * (size - padding) + [0.0] * padding, np.float32),
    )


def make_loss_terms(
    query: str, projector: Projector, prompts: int, objective: stage_two.Objective
) -> step.LossTerms:
    return stage_two.make_loss_terms(
        MODEL,
        tiny.params(),
        make_prompter(query),
        projector,
        objective,
        make_text(prompts) if query == "text" else None,
    )
