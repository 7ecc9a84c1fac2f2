"""How the programs read their flags and end: one line for what the user can mend, status 2."""

import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging

from prosona_jax.types import Diverged, InputError, Preempted

INPUT_STATUS = 2
DIVERGED_STATUS = 3
PREEMPTED_STATUS = 128 + signal.SIGTERM  # what a shell reports for a process it ended


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags; what is wrong with them or the config ends the program with one line."""
    flags.mark_flag_as_required("config")
    try:
        rest: list[str] = flags.FLAGS(argv)
        flags.FLAGS.config.lock()  # it is; but only its use raises what loading it raised
        return rest
    except (AttributeError, KeyError) as error:  # ml_collections, with a hint on a second line
        if "Error whilst parsing config file" in str(error):
            raise  # a fault of the file's code, and no field's
        fault = error.args[0].args[0] if isinstance(error.args[0], KeyError) else error.args[0]
        field = fault.rpartition("Attempting to lookup: ")[2]  # where a number has no fields
        hint = "; ".join([*field.splitlines(), "configs/base.py lists all fields"])
        stop(f"--config has no field {hint}")
    except (TypeError, IndexError):
        stop("--config has no such field in a text or a tuple; configs/base.py lists all fields")
    except (OSError, flags.Error) as error:  # a traceback as text, and last what was raised
        fault = str(error.__cause__ or error).splitlines()[-1].strip().removeprefix("ValueError: ")
        if fault == "TypeError: get_config() takes 0 positional arguments but 1 was given":
            fault = "--config: this file has no variants; leave out the colon and what follows it"
        stop(fault)


def begin(argv: Sequence[str]) -> None:
    """Refuses arguments that are no flags; from here on other packages tell of warnings only."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax and TFDS tell of every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)


def stop(fault: object, status: int = INPUT_STATUS) -> NoReturn:
    """Ends the program with the fault as its one line on stderr."""
    sys.stderr.write(f"{fault}\n")
    sys.exit(status)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Ends the program with one line: status 2 on bad input, 3 on divergence, 143 after SIGTERM."""
    try:
        yield
    except InputError as fault:
        stop(fault)
    except Diverged as fault:
        stop(fault, DIVERGED_STATUS)
    except Preempted as notice:
        stop(notice, PREEMPTED_STATUS)
