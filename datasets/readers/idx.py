"""IDX, the arrays that MNIST is distributed as.

Two bytes 0, the type of a number, how many axes there are, the size of each axis (big-endian,
32 bits), and then the numbers, the last axis first.

Reference: Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError

KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
ZIPPED = b"\x1f\x8b"


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array of one file, zipped or not, in the byte order of this machine.

    Args:
        path: the file, such as ``train-images-idx3-ubyte.gz``: uint8 ``[60000, 28, 28]``.

    Raises:
        UserError: there is no such file, or it is of another format or not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    content = path.read_bytes()
    if content[:2] == ZIPPED:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(f"{path}: damaged: {error}; copy or load the file again") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in KINDS:
        raise UserError(f"{path}: not an IDX file")
    kind, axes = np.dtype(KINDS[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = np.frombuffer(content[4:start], ">u4").tolist() if len(content) >= start else []
    if len(shape) != axes or len(content) != start + math.prod(shape) * kind.itemsize:
        raise UserError(f"{path}: {len(content)} bytes do not hold an array of shape {shape}")
    values = np.frombuffer(content, kind, offset=start).reshape(shape)
    return values.astype(kind.newbyteorder("="))
