"""The temperature t of a trained prior, chosen on the validation patients.

    p_t(z|x) = N(mu_p(x), (t sigma_p(x))^2)

On patients that stage one has not seen, samples of its prior spread a little too far: the mean of
the samples is then a worse map of the raters' agreement than it could be. Of
config.evaluate.temperatures, the one with the best soft Dice is taken, if its GED is not above that
of t = 1. Stage two is trained on p_t, and all scores are of p_t.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax

from prosona_jax import files
from prosona_jax.evaluation import scoring
from prosona_jax.experiments import predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.models import prob_unet
from prosona_jax.types import InputError, Params, first_line

FILE = "temperature.json"


class Chosen(NamedTuple):
    """The content of the file in the folder of stage one."""

    temperature: float
    # "ged" and "dice_soft" on the validation patients by temperature, which JSON needs as text.
    scores: dict[str, dict[str, float]]


def choose(config: Config, params: Params, data: Data) -> Chosen:
    """Scores the validation patients with each temperature of the config, and with 1."""
    scores = {}
    for temperature in sorted({1.0, *config.evaluate.temperatures}):
        found = predictions.score_stage_one(
            config,
            with_temperature(params, temperature),
            data,
            "validation",
            samples=config.evaluate.samples,
        )
        means = scoring.summarise(found)
        scores[temperature] = {name: means[name] for name in ("ged", "dice_soft")}
    return Chosen(best(scores), {f"{t:g}": own for t, own in scores.items()})


def best(scores: Mapping[float, Mapping[str, float]]) -> float:
    """Returns the temperature with the best soft Dice whose GED is not above that of 1."""
    dice, ged = scores[1.0]["dice_soft"], scores[1.0]["ged"]
    allowed = [t for t, own in scores.items() if own["dice_soft"] >= dice and own["ged"] <= ged]
    return max(allowed, key=lambda t: scores[t]["dice_soft"], default=1.0)


def with_temperature(params: Params, temperature: float) -> Params:
    """Returns parameters of stage one whose prior has this temperature."""
    return jax.jit(prob_unet.with_temperature)(params, temperature)


def keep(folder: pathlib.Path, chosen: Chosen) -> None:
    """Writes the choice into a folder of stage one, completely or not at all."""
    if jax.process_index() == 0:
        content = json.dumps(chosen._asdict(), indent=2)
        files.write_whole(folder / FILE, f"{content}\n".encode())


def is_kept(folder: pathlib.Path) -> bool:
    """Returns whether a folder of stage one holds a choice."""
    return (folder / FILE).exists()


def read(folder: pathlib.Path) -> float:
    """Returns the temperature of a folder of stage one; 1 if none was chosen.

    Raises:
        InputError: the file is damaged or edited.
    """
    path = folder / FILE
    try:
        found = float(json.loads(path.read_bytes())["temperature"])
        if not 0 < found < float("inf"):
            raise ValueError(f"temperature is {found}")
    except FileNotFoundError:
        return 1.0
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be used ({first_line(error)}); restore it from a copy, or remove it "
            "and start the training again, which chooses the temperature anew"
        ) from None
    return found
