"""Errors that a person can act on: each message names the value, the wish and the cure."""


class UserError(ValueError):
    """A mistake in what was asked for; the command line prints it as one line, no traceback."""


class BackendError(RuntimeError):
    """A named backend or device cannot serve; nothing falls back in its place."""


class Stopped(BackendError):
    """A run was ended from outside, or lost a process; it can go on from its last checkpoint."""


def nearest(name: str, known: "list[str] | tuple[str, ...]") -> str:
    """``"; did you mean 'x'?"`` for the closest known name, else the list of what exists."""
    from difflib import get_close_matches

    close = get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
