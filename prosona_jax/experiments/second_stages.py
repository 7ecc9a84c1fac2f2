"""The second stages that a config can name in `stage_two.query`, one entry each.

To add one, write its module in models/query.py and add an entry here. To compare it with others,
give it a name in configs/methods.py.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import ml_collections

from prosona_jax.models.query import DegreeQuery, HabitQuery, HeadsQuery, IdQuery, TextQuery
from prosona_jax.text.habits import AXES

Config: TypeAlias = ml_collections.ConfigDict


class Method(NamedTuple):
    """A second stage, and its properties that the rest of the program depends on."""

    title: str  # in the title of a report
    query: Callable[[Config, int], nn.Module] | None  # for K styles; None: no second stage
    reads_text: bool  # prompts are embedded, trained with, and aligned with raters
    unscaled: bool  # it needs softmax(q . z), so tau must cancel the projection's sqrt(d)
    reads_habits: bool = False  # sentences are read as measured habits


METHODS = {
    "text": Method(
        "ProSona",
        lambda c, styles: (
            DegreeQuery(c.model.latent_dim)
            if c.prompts.get("degree_reader")  # workdirs from before this field have none
            else TextQuery(c.model.latent_dim, c.stage_two.width)
        ),
        reads_text=True,
        unscaled=False,
    ),
    "habits": Method(
        "ProSona",
        lambda c, styles: HabitQuery(c.model.latent_dim, len(AXES)),
        reads_text=True,
        unscaled=False,
        reads_habits=True,
    ),
    "id": Method(
        "A learned vector per style",
        lambda c, styles: IdQuery(styles, c.model.latent_dim),
        reads_text=False,
        unscaled=False,
    ),
    "heads": Method(
        "D-Persona's heads",
        lambda c, styles: HeadsQuery(styles, c.model.latent_dim),
        reads_text=False,
        unscaled=True,
    ),
    "none": Method("Probabilistic U-Net", None, reads_text=False, unscaled=False),
}


def of(config: Config) -> Method:
    """Returns the second stage that a checked config names."""
    return METHODS[config.stage_two.query]


def exists(config: Config) -> bool:
    """Returns whether there is a second stage to train."""
    return of(config).query is not None
