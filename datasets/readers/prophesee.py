"""Prophesee's EVT 2.0 and EVT 3.0 (``.raw``) and DAT (``.dat``), decoded with NumPy.

The package expelliarmus (1.1.12), which Tonic brings along, agrees on ``x``, ``y``, ``p`` and on
the times of EVT 2.0 and DAT; but it counts each overflow of EVT 3.0's low time bits twice, so that
a recording of 9 ms lasts 54 ms, and takes a step back in DAT for a wrap-around of the clock.

Reference: Prophesee, *Metavision SDK documentation*, data encoding formats.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.readers.events import (
    PROPHESEE_ARRAYS,
    Size,
    make_events,
    smallest,
    unwrap,
)
from spikesim.datasets.source import Events
from spikesim.errors import UserError

HEADER_LINE = re.compile(rb"%[\t\x20-\x7e]*\r?\n")
TIME_HIGH = 0x8
# EVT 3.0's other kinds of words
ADDR_Y, ADDR_X, VECT_BASE_X, VECT_12, VECT_8, TIME_LOW = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6


def read_prophesee(path: Path) -> tuple[Events, Size]:
    """Events; the sensor is the header's, else the smallest Prophesee array that holds them.

    Raises:
        UserError: another encoding, or a size that is no whole number of records.
    """
    content = path.read_bytes()
    end = 0
    while line := HEADER_LINE.match(content, end):
        end = line.end()
    header = content[:end].decode("ascii")
    word, decode = encoding_of(path, header)
    if decode is decode_dat:
        if content[end + 1 : end + 2] not in (b"\x08", b""):
            raise UserError(f"{path}: DAT with {content[end + 1]} bytes an event is not read")
        end += 2
    size = max(len(content) - end, 0)
    if size % word:
        raise UserError(
            f"{path}: truncated: {size} bytes of events are no multiple of {word}; "
            "copy the file again"
        )
    events = decode(np.frombuffer(content, f"<u{min(word, 4)}", offset=len(content) - size))
    return events, declared(header) or smallest(PROPHESEE_ARRAYS, events)


def encoding_of(path: Path, header: str) -> tuple[int, Callable[[NDArray[np.uint32]], Events]]:
    """Bytes of a record, and its decoder."""
    found = re.search(r"^% *(?:evt +|format +EVT)([0-9.]+)", header, re.MULTILINE)
    if found:
        version = found.group(1).removesuffix(".0")
        if version not in ("2", "3"):
            raise UserError(f"{path}: EVT {version} is not read; export it as EVT 2.0 or EVT 3.0")
        return (4, decode_evt2) if version == "2" else (2, decode_evt3)
    if re.search(r"^% *Version 2", header, re.MULTILINE) and path.suffix.lower() == ".dat":
        return 8, decode_dat
    raise UserError(
        f"{path}: no encoding in its header ('% evt 2.0', '% evt 3.0', or DAT's '% Version 2'); "
        "export it again with Prophesee's tools"
    )


def declared(header: str) -> Size | None:
    """The sensor that a header names, in one of its ways."""
    pair = re.search(r"geometry[ :]+(\d+)x(\d+)", header)
    if pair:
        return int(pair.group(1)), int(pair.group(2)), 2
    width = re.search(r"width[ =:]+(\d+)", header, re.IGNORECASE)
    height = re.search(r"height[ =:]+(\d+)", header, re.IGNORECASE)
    return (int(width.group(1)), int(height.group(1)), 2) if width and height else None


def decode_dat(words: NDArray[np.uint32]) -> Events:
    """Pairs: time in us; 14 bits x, 14 bits y, 1 bit p from the lowest."""
    time, where = words[0::2], words[1::2]
    t = unwrap(time.astype(np.int64), bits=32)
    return make_events(t, where & 0x3FFF, where >> 14 & 0x3FFF, where >> 28 & 1)


def decode_evt2(words: NDArray[np.uint32]) -> Events:
    """4 bits kind (0, 1: an event of that polarity); 6 low bits of time, 11 bits x, 11 bits y."""
    kind = words >> 28
    high = last(kind == TIME_HIGH)
    is_event = (kind <= 1) & (high >= 0)
    words, high = words[is_event], words[high[is_event]] & 0xFFFFFFF
    t = unwrap(high.astype(np.int64) << 6 | (words >> 22 & 0x3F), bits=34)
    return make_events(t, words >> 11 & 0x7FF, words & 0x7FF, words >> 28)


def decode_evt3(words: NDArray[np.uint32]) -> Events:
    """4 bits kind, 12 bits value: time and row, then single events or masks of 12 or 8 columns."""
    kind, value = words >> 12, words & 0xFFF
    # a mask starts where the one before it ended, the first at the last VECT_BASE_X
    width = np.where(kind == VECT_12, 12, 0) + np.where(kind == VECT_8, 8, 0)
    begin = np.cumsum(width) - width
    base = last(kind == VECT_BASE_X)
    masks = np.flatnonzero((width > 0) & (base >= 0))
    row, bit = np.nonzero(
        value[masks, None] >> np.arange(12) & (np.arange(12) < width[masks, None])
    )
    single = np.flatnonzero(kind == ADDR_X)
    word = np.concatenate([single, masks[row]])
    order = np.argsort(word * 16 + np.concatenate([np.zeros_like(single), bit]))
    of_mask = base[masks[row]]
    x = np.concatenate([
        value[single] & 0x7FF,
        (value[of_mask] & 0x7FF) + begin[masks[row]] - begin[of_mask] + bit,
    ])[order]  # fmt: skip
    p = np.concatenate([value[single] >> 11, value[of_mask] >> 11])[order]
    word = word[order]

    high, y = last(kind == TIME_HIGH), last(kind == ADDR_Y)
    known = (high[word] >= 0) & (y[word] >= 0)
    word, x, p = word[known], x[known], p[known]
    # TIME_HIGH is repeated every 16 us; only a new value starts the low bits at 0
    changed = np.flatnonzero(kind == TIME_HIGH)
    changed = changed[np.diff(value[changed].astype(np.int64), prepend=-1) != 0]
    low_value = np.where(kind == TIME_LOW, value, 0)
    sets_low = kind == TIME_LOW
    sets_low[changed] = True
    low = low_value[last(sets_low)[word]]
    t = unwrap(value[high[word]].astype(np.int64) << 12 | low, bits=24)
    return make_events(t, x, value[y[word]] & 0x7FF, p)


def last(where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each word, the index of the last one so far that is marked; -1 before the first."""
    return np.maximum.accumulate(np.where(where, np.arange(len(where)), -1))
