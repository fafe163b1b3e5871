"""Where in a program an operation is called: a loop calls it again at the same place."""

import linecache
import os
from types import CodeType, FrameType
from typing import TypeAlias

import torch

Site: TypeAlias = tuple[tuple[CodeType, int], ...]
"""Code and instruction of each frame from the operation out to the module that runs."""

_CALLER = torch.nn.modules.module.__file__
_TORCH = os.path.dirname(torch.__file__) + os.sep
_HERE = os.path.dirname(__file__) + os.sep
# Between a user's call and an operation, and of no meaning to either.
_BETWEEN = tuple(
    _TORCH + part for part in ("_dynamo", "_compile.py", "_jit_internal.py", "overrides.py")
)
_LONGEST = 48


def site_of(frame: FrameType | None) -> Site:
    """The place from which ``frame`` was reached, no further out than the module's call."""
    found: list[tuple[CodeType, int]] = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _CALLER:
            break
        if code.co_filename.startswith(_HERE):
            if found and code.co_name == "run_model":
                break
        elif not code.co_filename.startswith(_BETWEEN):
            found.append((code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def text_of(site: Site, inside_torch: str = "") -> str:
    """The expression of the user's program, as it is written; empty if there is no source.

    Args:
        site: the place.
        inside_torch: what to say instead, if not empty, where torch's own program is the place.

    >>> import sys
    >>> text_of(site_of(sys._getframe()))
    'site_of(sys._getframe())'
    """
    outside = [place for place in site if not place[0].co_filename.startswith(_TORCH)]
    if not site:
        return ""
    if inside_torch and not outside:
        return inside_torch
    code, instruction = outside[0] if outside else site[0]
    positions = list(code.co_positions())
    line, end_line, start, end = positions[instruction // 2]
    if line is None or end_line is None or start is None or end is None:
        return ""
    lines = linecache.getlines(code.co_filename)[line - 1 : end_line]
    if not lines:
        return ""
    raw = [part.encode() for part in lines]
    raw[-1] = raw[-1][:end]
    raw[0] = raw[0][start:]
    text = " ".join(b" ".join(raw).decode(errors="replace").split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
