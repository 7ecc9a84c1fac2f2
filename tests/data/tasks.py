"""Functions that worker processes can import, for the tests of runners."""

import os
import signal

from prosona_jax.types import InputError


def once(number):
    yield number


def twice(number):
    """Yields two results, and the process that made them."""
    yield number, "a", os.getpid()
    yield number, "b", os.getpid()


def faulty_at_two(number):
    yield number
    if number == 2:
        raise InputError("item 2 is faulty")
    yield 10 * number


def killed_at_two(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    yield number
