"""How the programs read their flags and end: one line for what the user can mend, status 2."""

import signal
import sys
from typing import NoReturn

from absl import app, flags

INPUT_STATUS = 2
DIVERGED_STATUS = 3
PREEMPTED_STATUS = 128 + signal.SIGTERM  # what a shell reports for a process it ended


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags; a field that the config does not have ends the program with one line."""
    flags.mark_flag_as_required("config")
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as error:  # ml_collections, with a hint on a second line
        fault = error.args[0].args[0] if isinstance(error.args[0], KeyError) else error.args[0]
        hint = "; ".join([*fault.splitlines(), "configs/base.py lists all fields"])
        stop(f"--config has no field {hint}")


def stop(fault: object, status: int = INPUT_STATUS) -> NoReturn:
    """Ends the program with the fault as its one line on stderr."""
    sys.stderr.write(f"{fault}\n")
    sys.exit(status)
