"""From exceptions to exit codes: a person's mistake is one line, a bug keeps its traceback."""

import errno
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from spikesim.cli.screen import error_line
from spikesim.errors import BackendError, Stopped, UserError

DONE, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed for a reason that is not yours (a full disk, memory, SIGTERM, "
    "a lost process; a bug shows its traceback); 2 something to mend in the command, the data or "
    "the set-up, named in one line on stderr; 130 interrupted."
)

# The class behind every wrong option or argument; its module differs between versions of typer.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def _machine_failure(error: Exception) -> str | None:
    """One line for a failure of the machine, or ``None`` for an unexpected exception."""
    if isinstance(error, OSError) and error.errno in _MACHINE:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space" if full else "check who may write there"
        reason = error.strerror or str(error)
        where = f"{error.filename}: " if error.filename else ""
        # Some come with their cure behind a semicolon.
        return where + (reason if ";" in reason else f"{reason}; {cure}, then run this again")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return f"{error}; raise train.accumulate, or lower data.batch_size"
    return None


def _usage(error: Any) -> str:
    help_of = f"; see '{error.ctx.command_path} --help'" if error.ctx is not None else ""
    return f"{error.format_message().rstrip('.')}{help_of}"


class OneLineErrors(TyperGroup):
    """The group of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; an interrupt ends it with its own exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            error_line("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit with its code; see :data:`EXIT_CODES`."""
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except (UserError, BackendError) as error:
            error_line(str(error))
            code = FAILED if isinstance(error, Stopped) else MISTAKE
        except UsageError as error:
            error_line(_usage(error))
            code = MISTAKE
        except Exception as error:
            line = _machine_failure(error)
            if line is None:
                raise
            error_line(line)
            code = FAILED
        sys.exit(code if isinstance(code, int) else DONE)
