"""Spoken words from WAV files: spikes of a cochlea, mel spectrograms, and speakers held out."""

import io
import json
import os
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from typer.testing import CliRunner

from spikesim import datasets
from spikesim.cli.app import app
from spikesim.datasets import registry
from spikesim.datasets.registry import source_class
from spikesim.datasets.wav import halve_rate, read_wav
from spikesim.encoders import Cochlea, MelSpectrogram
from spikesim.errors import UserError

Small = Callable[..., datasets.Source]

pytestmark = pytest.mark.usefixtures("own_cache", "no_network")

SPEAKERS = ("ann", "bob")


def sound(frequency: float, samples: int, rate: int) -> np.ndarray[Any, Any]:
    t = np.arange(samples) / rate
    return np.round(8000 * np.sin(2 * np.pi * frequency * t)).astype("<i2")


def wav(data: np.ndarray[Any, Any], rate: int = 8000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(data.tobytes())
    return file.getvalue()


@pytest.fixture
def fsdd(tmp_path: Path, small: Small, files: Any) -> Iterator[datasets.Source]:
    """Three digits, two speakers, recordings 3, 5 and 10 of each, in an archive like GitHub's."""
    members = {
        f"free-spoken-digit-dataset-1.0.10/recordings/{digit}_{name}_{n}.wav": wav(
            sound(300.0 + 400 * digit + 20 * k, 1600 + 80 * n, 8000)
        )
        for digit in range(3)
        for k, name in enumerate(SPEAKERS)
        for n in (3, 5, 10)
    }
    source: datasets.Source = small(
        "fsdd", tmp_path / "fsdd", {"v1.0.10.zip": files.zipped(members)},
        {"train": 18, "test": 18},
    )  # fmt: skip
    datasets.register(source.__class__)
    yield source
    registry._registered.pop("fsdd")


def test_the_first_five_of_each_are_the_test_set(fsdd: datasets.Source) -> None:
    test, train = (fsdd.recordings(split) for split in ("test", "train"))
    assert len(test) == 6
    assert len(train) == 12
    assert {r.key.rpartition("_")[2] for r in test} == {"3.wav"}
    assert {(r.label, r.group) for r in test} == {(d, s) for d in range(3) for s in SPEAKERS}
    assert [int(r.key[len("recordings/")]) for r in train] == [r.label for r in train]


def test_a_recording_is_the_spikes_of_its_sound(fsdd: datasets.Source) -> None:
    recording = fsdd.recordings("test")[-1]
    events = fsdd.read(recording)
    x = torch.from_numpy(sound(1120.0, 1840, 8000).astype("f4"))
    spikes = Cochlea()(x[None])[:, 0].numpy()
    assert len(events) == spikes.sum() > 500
    again = np.zeros_like(spikes)
    again[events["t"] // 125, events["x"]] = 1
    assert (again == spikes).all()
    assert (np.diff(events["t"]) >= 0).all()
    centres = Cochlea().centres().numpy()
    assert centres[np.bincount(events["x"]).argmax()] == pytest.approx(1120, rel=0.1)


def test_bins_of_ten_milliseconds_count_neighbouring_channels(fsdd: datasets.Source) -> None:
    d = datasets.load("fsdd", "test", root=fsdd.root, steps=30, window_us=10_000, size=(1, 35))
    x, _ = d[0]
    events = d.events(0)
    assert x.shape == (30, 1, 1, 35)
    assert x.sum() == len(events)
    by_hand, _, _ = np.histogram2d(
        events["t"], events["x"], (np.arange(31) * 10_000, np.arange(36) * 4)
    )
    np.testing.assert_array_equal(x[:, 0, 0].numpy(), by_hand)
    assert x[24:].sum() == 0  # the recording lasts 230 ms


def test_speakers_are_held_out_whole(fsdd: datasets.Source) -> None:
    parts = {
        split: datasets.load("fsdd", split, root=fsdd.root, held_out=["bob"])
        for split in ("train", "test")
    }
    assert set(parts["test"].groups) == {"bob"}
    assert set(parts["train"].groups) == {"ann"}
    assert len(parts["test"]) == len(parts["train"]) == 9
    with pytest.raises(UserError, match="no group 'bop'; did you mean 'bob'"):
        datasets.load("fsdd", root=fsdd.root, held_out=["bop"])
    for everything_or_nothing in (["ann", "bob"], []):
        with pytest.raises(UserError, match="must leave a group on either side"):
            datasets.load("fsdd", root=fsdd.root, held_out=everything_or_nothing)
    with pytest.raises(UserError, match="two ways"):
        datasets.load("fsdd", root=fsdd.root, held_out=["bob"], fold=(0, 3))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"RIFF", "damaged or no WAV"),
        (wav(sound(300, 400, 8000))[:-9], "truncated"),
        (wav(sound(300, 400, 8000), rate=44100), "44100"),
        (wav(sound(300, 400, 8000), channels=2), "1 channel"),
    ],
)
def test_other_wav_files_are_refused(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "3_ann_7.wav").write_bytes(content)
    with pytest.raises(UserError, match=rf"3_ann_7\.wav.*{named}"):
        read_wav(tmp_path / "3_ann_7.wav", 8000)


def test_half_the_rate_keeps_what_fits_and_nothing_else() -> None:
    t = torch.arange(4000) / 16000
    kept, lost = (torch.sin(2 * torch.pi * f * t)[None] for f in (1500.0, 5500.0))
    half = halve_rate(kept + lost)[0, 50:-50]
    assert half.shape == (1900,)
    theirs = signal.resample_poly((kept + lost)[0].numpy(), 1, 2, window=("kaiser", 12.0))[50:-50]
    np.testing.assert_allclose(half, theirs, atol=0.01)
    np.testing.assert_allclose(half, kept[0, ::2][50:-50], atol=0.01)


@pytest.fixture
def gsc(tmp_path: Path) -> Path:
    """Two words by three speakers, in the published layout."""
    root = tmp_path / "gsc"
    for k, word in enumerate(("yes", "no")):
        (root / word).mkdir(parents=True)
        for n, speaker in enumerate(("0a7c", "1b88", "2c99")):
            data = wav(sound(500.0 + 500 * k, 12_000 + 4000 * n, 16_000), rate=16_000)
            (root / word / f"{speaker}_nohash_0.wav").write_bytes(data)
    (root / "validation_list.txt").write_text("yes/1b88_nohash_0.wav\nno/1b88_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("yes/2c99_nohash_0.wav\nno/2c99_nohash_0.wav\n")
    return root


def test_speech_commands_are_spectrograms_of_one_second(gsc: Path) -> None:
    parts = {s: datasets.load("gsc", s, root=gsc, steps=101) for s in ("train", "valid", "test")}
    assert [part.groups for part in parts.values()] == [["0a7c"] * 2, ["1b88"] * 2, ["2c99"] * 2]
    train = parts["train"]
    assert [train.classes[y] for y in train.targets.tolist()] == ["no", "yes"]
    x, y = train.__getitems__([1, 0])
    assert x.shape == (101, 2, 1, 1, 140)
    assert y.tolist() == train.targets[[1, 0]].tolist()
    padded = torch.zeros(1, 16_000)
    padded[0, :12_000] = torch.from_numpy(sound(500.0, 12_000, 16_000).astype("f4")) / 2**15
    alone = MelSpectrogram()(halve_rate(padded))
    # Another batch size rounds in another way: seen where there is next to nothing.
    torch.testing.assert_close(x[:, :1, 0, 0], alone, atol=0.5, rtol=0)
    assert (x[80:] < -50).all()  # silence after 0.75 s
    assert len(train.subset([1])) == 1
    assert train.subset([1])[0][1] == y[0]
    longer, _ = parts["test"][0]  # of 1.25 s
    assert longer.shape == (101, 1, 1, 140)
    assert datasets.load("gsc", root=gsc).steps == 101
    with pytest.raises(UserError, match="give steps=101"):
        datasets.load("gsc", root=gsc, steps=100)
    with pytest.raises(UserError, match="no events"):
        train.events(0)
    with pytest.raises(UserError, match="nothing found"):
        source_class("gsc")(gsc / "yes").recordings("train")


def test_prepared_speech_commands_are_counted(gsc: Path) -> None:
    arguments = ["datasets", "prepare", "gsc", "--root", str(gsc), "--json"]
    found = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert [part["recordings"] for part in found["splits"]] == [2, 2, 2]


@pytest.mark.data
def test_all_recordings_are_there() -> None:
    root = os.environ.get("SPIKESIM_DATA")
    if root is None:
        pytest.skip("set SPIKESIM_DATA to the folder of fsdd")
    source = source_class("fsdd")(Path(root) / "fsdd")
    train, test = source.recordings("train"), source.recordings("test")
    assert (len(train), len(test)) == (2700, 300)
    assert len({r.group for r in train}) == 6
    rates = [len(source.read(r)) for r in test[::30]]
    assert 1000 < np.mean(rates) < 10_000
