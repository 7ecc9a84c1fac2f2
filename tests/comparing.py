"""Comparisons of methods on small made-up discs, in two folds."""

import pytest

from configs.methods import METHODS
from prosona_jax.experiments import grid
from prosona_jax.types import InputError
from tests.programs import FEW_PROMPTS, configure, start

FIELDS = {  # two folds: the patients that one trains on are the test patients of the other
    "prompts.path": FEW_PROMPTS,
    "data.folds": 2,
    "data.validation_share": 0.3,
    "steps": 2,
    "stage_two.steps": 2,
    "stage_two.codes": 4,
    "stage_two.test_codes": 4,
}


# Those that draw the masks directly have a test of their own, without processes.
COMPARED = tuple(name for name, fields in METHODS.items() if "model.network" not in fields)


def compare(folder, name, *arguments):
    """Starts a comparison of the methods with a prior, unless the arguments name some."""
    methods = f"--methods={','.join(COMPARED)}"
    return start("compare", folder, name, FIELDS, methods, *arguments)


def refusal(folder, name, methods=COMPARED, seeds=(0,), folds=(0, 1), fields=FIELDS):
    """Returns why a comparison is refused; runs in this process, since a new one is slow."""
    config = configure(folder, fields)
    with pytest.raises(InputError) as fault:
        grid.compare(config, folder / name, methods=methods, seeds=seeds, folds=folds)
    return str(fault.value)
