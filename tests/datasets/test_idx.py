"""IDX files: those of MNIST as they are, others as the format says."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from spikesim.datasets.readers.idx import read_idx
from spikesim.errors import UserError

KINDS = {"B": 0x08, "b": 0x09, "h": 0x0B, "i": 0x0C, "f": 0x0D, "d": 0x0E}


def content(kind: str, shape: tuple[int, ...], values: list[float]) -> bytes:
    """An array, number by number."""
    head = struct.pack(f">BBBB{len(shape)}I", 0, 0, KINDS[kind], len(shape), *shape)
    return head + b"".join(struct.pack(f">{kind}", value) for value in values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_every_type_of_number(tmp_path: Path, kind: str, is_zipped: bool) -> None:
    values = [*range(100, 124)]
    whole = content(kind, (2, 3, 4), values)
    path = tmp_path / "numbers"
    path.write_bytes(gzip.compress(whole) if is_zipped else whole)
    found = read_idx(path)
    assert found.shape == (2, 3, 4)
    assert found.dtype == np.dtype(kind)
    assert found.ravel().tolist() == values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n", "not an IDX file"),
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file"),
        (content("B", (3,), [1, 2]), "10 bytes do not hold an array of shape \\[3\\]"),
        (content("B", (1,), [1, 2]), "10 bytes do not hold an array of shape \\[1\\]"),
        (content("B", (3, 2), [])[:7], "7 bytes do not hold"),
        (gzip.compress(bytes(1000), mtime=0)[:20], "damaged: .*copy or load the file again"),
    ],
)
def test_what_is_no_whole_array_is_refused(tmp_path: Path, given: bytes, message: str) -> None:
    path = tmp_path / "some"
    path.write_bytes(given)
    with pytest.raises(UserError, match=f"{path}: {message}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing: there is no such file"):
        read_idx(tmp_path / "nothing")


@pytest.mark.data
def test_mnist_has_the_published_counts_of_digits(data_root: Path) -> None:
    images = read_idx(data_root / "mnist" / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(data_root / "mnist" / "t10k-labels-idx1-ubyte.gz")
    assert images.shape == (10_000, 28, 28)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(labels).tolist() == counts
