"""AEDAT 2.0, the files of jAER, as recorded with a DVS128.

Text lines that start with ``#``, then pairs of big-endian 32-bit numbers: address, time in us.
A DVS128 address holds polarity (bit 0, 0 = ON), column (bits 1 to 7, from the right) and row
(bits 8 to 14, from the bottom); bit 15 marks an external (special) event, which is left out.

Reference: iniVation, *AEDAT file formats*, AEDAT 2.0; jAER, class ``DVS128``.
"""

import re
from pathlib import Path

import numpy as np

from spikesim.datasets.readers.events import Size, make_events, unwrap
from spikesim.datasets.source import Events
from spikesim.errors import UserError

DVS128 = (128, 128, 2)
PAIR = np.dtype([("address", ">u4"), ("time", ">u4")])
SPECIAL = 1 << 15
HEADER_LINE = re.compile(rb"#[\t\x20-\xff]*\r?\n")


def read_aedat2(path: Path) -> tuple[Events, Size]:
    """Events of one DVS128 recording, with the wrap-around of the 32-bit clock undone."""
    content = path.read_bytes()
    start = 0
    while line := HEADER_LINE.match(content, start):
        start = line.end()
        if line.group().strip() == b"#End Of ASCII Header":
            break
    chip = re.search(rb"AEChip: (\S+)", content[:start])
    if chip and not chip.group(1).endswith(b"DVS128"):
        raise UserError(
            f"{path}: AEDAT 2.0 of the chip {chip.group(1).decode(errors='replace')}; "
            "of this format only DVS128 recordings are read: save it as AEDAT 4"
        )
    if (len(content) - start) % PAIR.itemsize:
        raise UserError(
            f"{path}: truncated: {len(content) - start} bytes of events are no multiple of "
            f"{PAIR.itemsize}; copy or record the file again"
        )
    pairs = np.frombuffer(content, PAIR, offset=start)
    pairs = pairs[pairs["address"] & SPECIAL == 0]
    address = pairs["address"].astype(np.int64)
    events = make_events(
        unwrap(pairs["time"].astype(np.int64), bits=32),
        127 - (address >> 1 & 127),
        127 - (address >> 8 & 127),
        1 - (address & 1),
    )
    return events, DVS128
