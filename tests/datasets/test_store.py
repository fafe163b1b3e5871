"""Packing: once, checked, redone when damaged, safe with several processes."""

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from spikesim.datasets import Source, store
from spikesim.datasets.pack import unpack
from spikesim.errors import UserError


def opened(toy: Source, cache: Path) -> store.Store:
    return store.open_store(toy, toy.recordings("train"), cache=cache)


def contents(packed: store.Store) -> list[bytes]:
    return [packed.events(i).tobytes() for i in range(len(packed))]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_packed_events_are_the_source_events(toy, cache):
    packed = opened(toy, cache)
    for i, recording in enumerate(toy.recordings("train")):
        events = toy.read(recording)
        np.testing.assert_array_equal(unpack(packed.events(i), int(packed.origin[i])), events)
        assert packed.span[i] == events["t"][-1] - events["t"][0]
    with pytest.raises(ValueError, match="read-only"):
        packed.events(0)[0] = 0


def test_packing_happens_once(toy, cache):
    first = opened(toy, cache)
    assert type(toy).reads == 12
    assert contents(opened(toy, cache)) == contents(first)
    assert type(toy).reads == 12


def test_several_shards_hold_the_same(toy, cache, monkeypatch):
    whole = contents(opened(toy, cache))
    monkeypatch.setattr(store, "SHARD_BYTES", 4000)
    packed = opened(toy, cache)
    assert len(list(packed.folder.glob("*.events"))) > 3
    assert contents(packed) == whole


@pytest.mark.parametrize("keep_size", [True, False])
def test_damaged_shard_is_packed_again_and_alone(toy, cache, monkeypatch, keep_size):
    monkeypatch.setattr(store, "SHARD_BYTES", 4000)
    packed = opened(toy, cache)
    before, shards = contents(packed), sorted(packed.folder.glob("*.events"))
    data = bytearray(shards[1].read_bytes())
    data[17] ^= 1
    shards[1].write_bytes(data if keep_size else data[:-8])
    type(toy).reads = 0
    again = opened(toy, cache)
    in_shard = json.loads(shards[1].with_suffix(".json").read_text())["counts"]
    assert type(toy).reads == len(in_shard) < 12
    assert contents(again) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bytes": 3}'])
def test_damaged_sidecar_is_packed_again(toy, cache, text):
    packed = opened(toy, cache)
    (packed.folder / "00000.json").write_text(text)
    assert contents(opened(toy, cache)) == contents(packed)
    assert type(toy).reads == 24


def test_copied_cache_is_used(toy, cache):
    packed = opened(toy, cache)
    os.utime(packed.folder / "00000.events", ns=(1, 1))
    assert contents(opened(toy, cache)) == contents(packed)
    assert type(toy).reads == 12


def test_changed_source_is_packed_again_and_moved_one_is_not(toy, cache, tmp_path):
    before = opened(toy, cache)
    (tmp_path / "toy").rename(tmp_path / "elsewhere")
    moved = type(toy)(tmp_path / "elsewhere")
    assert opened(moved, cache).folder == before.folder
    assert type(toy).reads == 12
    changed = moved.recordings("train")[3].path
    events = np.load(changed)
    events["x"][0] = (events["x"][0] + 1) % 7
    np.save(changed, events)
    after = opened(moved, cache)
    assert after.folder != before.folder
    assert [a == b for a, b in zip(contents(before), contents(after), strict=True)].count(
        False
    ) == 1


def test_new_version_of_the_reader_is_packed_again(toy, cache, monkeypatch):
    before = opened(toy, cache)
    monkeypatch.setattr(type(toy), "version", 2)
    assert opened(toy, cache).folder != before.folder


def test_interrupted_packing_leaves_no_shard(toy, cache, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 4000)
    read = type(toy).read

    def failing(self, recording):
        if type(self).reads == 7:
            raise KeyboardInterrupt
        return read(self, recording)

    monkeypatch.setattr(type(toy), "read", failing)
    with pytest.raises(KeyboardInterrupt):
        opened(toy, cache)
    assert not list(cache.rglob("*.part"))
    finished = len(list(cache.rglob("*.json")))
    assert finished == len(list(cache.rglob("*.events"))) >= 1
    monkeypatch.setattr(type(toy), "read", read)
    assert len(opened(toy, cache)) == 12
    # the finished shards were kept
    assert type(toy).reads < 7 + 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("x", 7), "train/1-04.npy: 1 of 90 events lie outside the sensor of 7 x 5"),
        (("y", -1), "train/1-04.npy: 1 of 90 events lie outside"),
        (("t", 5000), "train/1-04.npy: time runs backwards at event 31"),
    ],
)
def test_bad_recording_is_named_and_nothing_is_kept(toy, cache, change, words):
    path = toy.root / "train" / "1-04.npy"
    events = np.load(path)
    events[change[0]][30] = change[1]
    np.save(path, events)
    with pytest.raises(UserError, match=words):
        opened(toy, cache)
    assert not list(cache.rglob("*.events"))


def test_empty_recording_is_kept(toy, cache):
    path = toy.recordings("train")[0].path
    np.save(path, np.load(path)[:0])
    packed = opened(toy, cache)
    assert packed.counts[0] == packed.span[0] == 0
    assert len(packed.events(0)) == 0
    assert len(packed) == 12


def test_full_disk_is_a_users_error(toy, cache, monkeypatch):
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; set SPIKESIM_CACHE") as error:
        opened(toy, cache)
    assert "\n" not in str(error.value)
    assert not list(cache.rglob("*.events"))
    assert not list(cache.rglob("*.part"))


def test_pickled_store_carries_no_events(toy, cache):
    packed = opened(toy, cache)
    before = contents(packed)
    data = pickle.dumps(packed)
    assert len(data) < sum(map(len, before))
    assert contents(pickle.loads(data)) == before


def pack_in_a_process(toy, cache, barrier, results):
    barrier.wait()
    packed = opened(toy, cache)
    results.put((type(toy).reads, contents(packed)))


def test_processes_that_start_together_pack_once(toy, cache):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=pack_in_a_process, args=(toy, cache, barrier, results))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert sorted(reads for reads, _ in found) == [0, 0, 0, 12]
    assert all(content == found[0][1] for _, content in found)
