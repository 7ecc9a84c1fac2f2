"""Every public name has an example; examples that need no trained model are run."""

import doctest
import importlib
import inspect

import pytest

import prosona_jax as pj

NAMES = [name for name in pj.__all__ if callable(getattr(pj, name)) and name[0].islower()]
METHODS = ("segment", "fit_style", "sample", "interpolate")


@pytest.mark.parametrize("name", NAMES)
def test_a_public_function_has_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(pj, name))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_model_has_an_example(name):
    assert ">>> " in inspect.getdoc(getattr(pj.Model, name))


def test_the_examples_run():
    modules = {inspect.getmodule(getattr(pj, name)).__name__ for name in NAMES}
    results = [doctest.testmod(importlib.import_module(name)) for name in sorted(modules)]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 4
