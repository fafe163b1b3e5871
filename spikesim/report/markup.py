"""Pieces of HTML that sections share."""

import html
from collections.abc import Sequence


def text(value: object) -> str:
    """A value with all that HTML would interpret written out."""
    return html.escape(str(value))


def note(words: str) -> str:
    """What is missing, or has to be known."""
    return f'<p class="note">{text(words)}</p>'


def plots(svgs: Sequence[str], kind: str = "") -> str:
    """Pictures side by side."""
    return f'<div class="plots {kind}">{"".join(svgs)}</div>'
