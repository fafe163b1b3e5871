"""Readers against files written here from the formats' own definitions, and against real ones."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikesim.datasets.readers import FORMATS, read_events
from spikesim.errors import BackendError, UserError

T = [10, 15, 15, 900, 70_000]
X = [0, 33, 5, 7, 12]
Y = [1, 2, 33, 3, 30]
P = [1, 0, 1, 1, 0]


def aedat2_bytes(t: list[int], x: list[int], y: list[int], p: list[int]) -> bytes:
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: a.b.DVS128\r\n"
    pairs = [
        struct.pack(">II", (127 - yi) << 8 | (127 - xi) << 1 | (1 - pi), ti)
        for ti, xi, yi, pi in zip(t, x, y, p, strict=True)
    ]
    return header + b"".join(pairs)


def atis_bytes(t: list[int], x: list[int], y: list[int], p: list[int]) -> bytes:
    rows = [
        bytes([xi, yi, pi << 7 | ti >> 16, ti >> 8 & 255, ti & 255])
        for ti, xi, yi, pi in zip(t, x, y, p, strict=True)
    ]
    return b"".join(rows)


def dat_bytes(t: list[int], x: list[int], y: list[int], p: list[int], extra: str = "") -> bytes:
    header = f"% Data file containing CD events.\n% Version 2\n{extra}".encode()
    rows = [
        struct.pack("<II", ti, pi << 28 | yi << 14 | xi)
        for ti, xi, yi, pi in zip(t, x, y, p, strict=True)
    ]
    return header + bytes([0, 8]) + b"".join(rows)


def evt2_bytes(t: list[int], x: list[int], y: list[int], p: list[int]) -> bytes:
    words: list[int] = []
    for ti, xi, yi, pi in zip(t, x, y, p, strict=True):
        words += [0x8 << 28 | ti >> 6, pi << 28 | (ti & 63) << 22 | xi << 11 | yi]
    return b"% evt 2.0\n% geometry 640x480\n" + struct.pack(f"<{len(words)}I", *words)


def evt3_bytes(t: list[int], x: list[int], y: list[int], p: list[int]) -> bytes:
    words: list[int] = []
    for ti, xi, yi, pi in zip(t, x, y, p, strict=True):
        words += [0x8 << 12 | ti >> 12, 0x6 << 12 | ti & 0xFFF, yi, 0x2 << 12 | pi << 11 | xi]
    header = b"% evt 3.0\n% format EVT3;height=720;width=1280\n"
    return header + struct.pack(f"<{len(words)}H", *words)


FILES = {
    "a.aedat": (aedat2_bytes, (128, 128, 2)),
    "a.bin": (atis_bytes, (34, 34, 2)),
    "a.dat": (dat_bytes, (304, 240, 2)),
    "a.raw": (evt2_bytes, (640, 480, 2)),
    "b.raw": (evt3_bytes, (1280, 720, 2)),
}


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_events_written(name: str, tmp_path: Path) -> None:
    write, size = FILES[name]
    path = tmp_path / name
    path.write_bytes(write(T, X, Y, P))
    events, sensor = read_events(path)
    assert sensor == size
    assert events["t"].tolist() == T
    assert events["x"].tolist() == X
    assert events["y"].tolist() == Y
    assert events["p"].astype(int).tolist() == P


@pytest.mark.parametrize("name", FILES)
def test_each_format_refuses_a_truncated_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0](T, X, Y, P)[:-1])
    with pytest.raises(UserError, match=r"truncated.* no multiple of") as caught:
        read_events(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_each_format_refuses_a_file_without_events(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0]([], [], [], []))
    with pytest.raises(UserError, match="no events in it"):
        read_events(path)


def test_events_outside_the_sensor_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(atis_bytes(T, X, Y, P))
    with pytest.raises(
        UserError, match=r"outside the sensor of 30 x 34, the first is event 1 at x=33, y=2"
    ):
        read_events(path, sensor_size=(30, 34, 2))


def test_time_that_runs_backwards_is_refused_or_sorted(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(dat_bytes([5, 9, 7, 9], [0, 1, 2, 3], [0] * 4, [1] * 4))
    with pytest.raises(UserError, match=r"backwards at event 2 \(7 us after 9 us\)"):
        read_events(path)
    events, _ = read_events(path, sort=True)
    assert events["t"].tolist() == [5, 7, 9, 9]
    assert events["x"].tolist() == [0, 2, 1, 3]


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_events(tmp_path / "nothing.aedat")
    with pytest.raises(UserError, match="is a folder"):
        read_events(tmp_path)


def test_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(UserError, match=r"unknown format '\.mp4'") as caught:
        read_events(path)
    assert all(ending in str(caught.value) for ending in FORMATS)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.aedat", b"#!AER-DAT3.1\r\n#End Of ASCII Header\r\n", "AEDAT 3.1 is not read"),
        ("a.aedat", b"plainly wrong", "does not start as AEDAT 2.0"),
        ("a.aedat", b"#!AER-DAT2.0\r\n# AEChip: x.DAVIS346B\r\n", "chip x.DAVIS346B"),
        ("a.raw", b"% evt 2.1\n\0\0\0\0", "EVT 2.1 is not read"),
        ("a.dat", b"% Version 1\n\0\0", "no encoding in its header"),
        ("a.dat", b"% Version 2\n\0\x0a", "DAT with 10 bytes"),
        ("a.raw", b"\0\0\0\0", "no encoding in its header"),
    ],
)
def test_formats_that_are_not_read_say_so(
    name: str, content: bytes, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        read_events(tmp_path / name)


def test_aedat2_clock_wraps_around_and_special_events_are_left_out(tmp_path: Path) -> None:
    content = aedat2_bytes([2**32 - 5, 3, 3, 9], [1, 2, 3, 4], [0] * 4, [1] * 4)
    special = struct.pack(">II", 1 << 15, 5)
    (tmp_path / "a.aedat").write_bytes(content[:-8] + special + content[-8:])
    events, _ = read_events(tmp_path / "a.aedat")
    assert events["t"].tolist() == [2**32 - 5, 2**32 + 3, 2**32 + 3, 2**32 + 9]
    assert events["x"].tolist() == [1, 2, 3, 4]


def test_aedat2_events_that_look_like_a_header_line_are_kept(tmp_path: Path) -> None:
    # address 0x23xx starts with '#'; the first byte of a DVS128 address is 0, so make it so by time
    content = aedat2_bytes([0x23232323, 0x23232323], [1, 2], [0, 0], [1, 1])
    (tmp_path / "a.aedat").write_bytes(content)
    assert len(read_events(tmp_path / "a.aedat")[0]) == 2


def test_aedat4_without_its_package_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(BackendError, match=r"pip install aedat"):
        read_events(path)


class FakeDecoder:
    """Stands in for ``aedat.Decoder``: two event streams, of which the first one counts."""

    def __init__(self, path: Path) -> None:
        self.events = np.zeros(
            2, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), np.bool_)]
        )
        self.events["t"] = [1_589_163_147_368_868, 1_589_163_147_368_870]
        self.events["on"] = [True, False]

    def id_to_stream(self) -> dict[int, dict[str, Any]]:
        stream = {"type": "events", "width": 346, "height": 260}
        return {2: stream | {"width": 10}, 1: stream, 0: {"type": "imus"}}

    def __iter__(self) -> Any:
        yield {"stream_id": 0, "imus": []}
        yield {"stream_id": 1, "events": self.events}
        yield {"stream_id": 2, "events": self.events}


def test_aedat4_takes_the_first_event_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aedat", SimpleNamespace(Decoder=FakeDecoder))
    path = tmp_path / "a.aedat"
    path.write_bytes(b"#!AER-DAT4.0\r\n")
    events, size = read_events(path)
    assert size == (346, 260, 2)
    assert events["t"].tolist() == [1_589_163_147_368_868, 1_589_163_147_368_870]
    assert events["p"].tolist() == [True, False]


def test_damaged_aedat4_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("aedat", reason="AEDAT 4 is read by the package aedat")
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#!AER-DAT4.0\r\n" + bytes(10))
    with pytest.raises(UserError, match="truncated or damaged AEDAT 4"):
        read_events(path)


def test_evt3_masks_and_repeated_and_wrapping_times_are_decoded(tmp_path: Path) -> None:
    time_high, time_low, addr_y, addr_x, base_x, vect_12, vect_8 = (
        kind << 12 for kind in (0x8, 0x6, 0x0, 0x2, 0x3, 0x4, 0x5)
    )
    words = [
        addr_x | 7,  # before any time: left out
        time_high | 0xFFF,
        time_low | 20,
        addr_y | 3,
        base_x | 1 << 11 | 100,  # ON from column 100
        vect_12 | 0b100000000001,
        vect_12 | 0b000000000010,
        vect_8 | 0b10000000,
        time_high | 0xFFF,  # repeated: the low bits stay
        addr_x | 5,
        time_high | 0x000,  # wrapped: the low bits start at 0
        addr_x | 1 << 11 | 6,
        time_low | 9,
        addr_y | 4,
        addr_x | 8,
    ]
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 3.0\n" + struct.pack(f"<{len(words)}H", *words))
    events, size = read_events(path)
    before, after = (0xFFF << 12) + 20, 1 << 24
    assert size == (304, 240, 2)
    assert events["x"].tolist() == [100, 111, 113, 131, 5, 6, 8]
    assert events["y"].tolist() == [3, 3, 3, 3, 3, 3, 4]
    assert events["p"].astype(int).tolist() == [1, 1, 1, 1, 0, 1, 0]
    assert events["t"].tolist() == [before] * 5 + [after, after + 9]


@pytest.mark.data
@pytest.mark.parametrize("name", ["evt2_sample.raw", "evt3_sample.raw", "ncars_sample_td.dat"])
def test_prophesee_formats_agree_with_expelliarmus(name: str, data_root: Path) -> None:
    wizard = pytest.importorskip("expelliarmus", reason="the other reader of these formats")
    path = data_root / "format_samples" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    encoding = "dat" if name.endswith("dat") else name[:4]
    theirs = wizard.Wizard(encoding=encoding).read(path)
    ours, _ = read_events(path)
    for field in ("x", "y", "p"):
        np.testing.assert_array_equal(ours[field], theirs[field])
    if encoding == "evt3":
        # it counts each overflow of the low bits twice: its steps differ by whole overflows
        gain = np.diff(theirs["t"] - ours["t"])
        assert set(np.unique(gain)) == {0, 4096}
        # TIME_HIGH comes every 16 us: 551 of them last 8.8 ms
        assert np.ptp(ours["t"]) == pytest.approx(551 * 16, abs=32)
    else:
        np.testing.assert_array_equal(ours["t"], theirs["t"])


SAMPLES = {
    "davis_sample.aedat4": (6_676, (346, 260, 2)),
    "evt2_sample.raw": (539_481, (640, 480, 2)),
    "evt3_sample.raw": (219_596, (1280, 720, 2)),
    "ncars_sample_td.dat": (2_009, (304, 240, 2)),
    "ncars_obj_004397_td.dat": (4_407, (304, 240, 2)),
    "ncaltech101_faces_easy_0001.bin": (67_445, (240, 180, 2)),
}


@pytest.mark.data
@pytest.mark.parametrize("name", SAMPLES)
def test_real_recordings_have_their_published_number_of_events(name: str, data_root: Path) -> None:
    if name.endswith("aedat4"):
        pytest.importorskip("aedat", reason="AEDAT 4 is read by the package aedat")
    path = data_root / "format_samples" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    count, size = SAMPLES[name]
    events, sensor = read_events(path)
    assert (len(events), sensor) == (count, size)
    # both polarities occur, in like numbers, in each of these recordings
    assert 0.3 < events["p"].mean() < 0.7
