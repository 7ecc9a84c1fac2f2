"""Starts a command: reads its flags, and ends it with one line for an error the user can fix.

A command is a module beside this one that calls `launch`, such as `main.py`.
"""

import contextlib
import logging
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from absl import flags
from absl import logging as absl_logging

from prosona_jax.types import Diverged, InputError, Preempted

_HELP = {"-h", "-?", "--help", "-help", "--helpfull"}
INPUT_STATUS = 2
DIVERGED_STATUS = 3
PREEMPTED_STATUS = 128 + signal.SIGTERM  # as a shell reports a process that SIGTERM ended


def launch(
    main: Callable[..., None], values: flags.FlagValues, *, manual: str, positional: bool = False
) -> None:
    """Runs a command with the user's flags; on a known error ends the program with its status.

    Args:
        main: the command; its arguments are the command-line arguments that are not flags.
        values: the command's own flags, so that two commands can be imported together.
        manual: the text that --help prints before the list of flags.
        positional: whether arguments that are not flags are allowed.
    """
    if set(sys.argv[1:]) & _HELP:
        sys.stdout.write(_help(values, manual))
        sys.exit(0)
    rest = _parse(values)
    if rest and not positional:
        stop(f"unknown arguments {rest}; --help lists the flags")
    flags.FLAGS.mark_as_parsed()  # flags of other packages keep their defaults
    absl_logging.use_absl_handler()
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax and TFDS log every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)
    with ending():
        main(*rest)


def _help(values: flags.FlagValues, manual: str) -> str:
    """Returns the manual and the flags, those without a default first."""
    entries = []
    for name in sorted(values, key=lambda name: (values[name].default is not None, name)):
        default = values[name].default_as_str
        text = f"{values[name].help}" + (f" Default: {default}." if default else "")
        entries.append(textwrap.fill(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6))
        entries[-1] = f"  --{name}\n{entries[-1]}"
    return "\n".join([manual.strip(), "", "Flags:", *entries, ""]) + "\n"


def _parse(values: flags.FlagValues) -> list[str]:
    """Parses the flags; an error in them or in the config ends the program with one line."""
    try:
        rest: list[str] = values(sys.argv)
        if "config" in values:
            values.config.lock()  # an error in loading the file is raised here, on first use
        return rest[1:]
    except (AttributeError, KeyError) as error:  # from ml_collections; a hint is on the second line
        if "Error whilst parsing config file" in str(error):
            raise  # an error in the config file's code, not in a field name
        fault = error.args[0].args[0] if isinstance(error.args[0], KeyError) else error.args[0]
        # The message has this part if the flag names a field of a number.
        field = fault.rpartition("Attempting to lookup: ")[2]
        hint = "; ".join([*field.splitlines(), "configs/base.py lists all fields"])
        stop(f"--config has no field {hint}")
    except (TypeError, IndexError):
        stop("--config has no such field in a text or a tuple; configs/base.py lists all fields")
    except (OSError, flags.Error) as error:  # text of a traceback; its last line is the error
        fault = str(error.__cause__ or error).splitlines()[-1].strip().removeprefix("ValueError: ")
        if fault == "TypeError: get_config() takes 0 positional arguments but 1 was given":
            fault = "--config: this file has no variants; leave out the colon and what follows it"
        stop(fault)


class Inputs(NamedTuple):
    """The flags of all commands that draw on a user's images with a trained model."""

    model: flags.FlagHolder
    unit: flags.FlagHolder
    spacing: flags.FlagHolder
    range: flags.FlagHolder

    def options(self, sizes: str = "row,col") -> dict[str, Any]:
        """Returns what readers of images take; `sizes` names the numbers of --spacing."""
        count = len(sizes.split(","))
        example = ",".join(["0.7"] * count)
        return {
            "unit": self.unit.value,
            "spacing_mm": numbers(self.spacing, count, f"{sizes} in mm, such as {example}"),
            "value_range": numbers(self.range, 2, "low,high, such as 0,4095"),
        }


def define_inputs(values: flags.FlagValues) -> Inputs:
    """Defines --model, --unit, --spacing and --range."""
    return Inputs(
        flags.DEFINE_string(
            "model", None, "Workdir of a trained run, model folder, or its name on the hub; "
            "default: the model that comes with the package.", flag_values=values,
        ),
        flags.DEFINE_string(
            "unit", None, "Unit of the values if the files do not state it: HU, unit (0..1) or "
            "arbitrary.", flag_values=values,
        ),
        flags.DEFINE_list(
            "spacing", None, "row,col: size of a pixel in mm, if the files do not state it; of a "
            "folder of slices slice,row,col.", flag_values=values,
        ),
        flags.DEFINE_list(
            "range", None, "low,high: the stored values that become 0 and 1, if the files state no "
            "unit.", flag_values=values,
        ),
    )  # fmt: skip


def numbers(flag: flags.FlagHolder, count: int, example: str) -> Any:
    """Returns a flag's `count` numbers as a tuple, None without the flag; or InputError."""
    if flag.value is None:
        return None
    try:
        found = tuple(map(float, flag.value))
    except ValueError:
        found = ()
    if len(found) != count:
        raise InputError(f"--{flag.name}={','.join(flag.value)}: give {example}")
    return found


def stop(fault: object, status: int = INPUT_STATUS) -> NoReturn:
    """Prints the fault as one line on stderr and ends the program."""
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
