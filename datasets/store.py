"""Recordings packed once into memory-mapped shards of 8 bytes per event.

A packed split is the folder ``<cache>/packed/<name>-<key>/`` with shards ``00000.events`` (packed
events of consecutive recordings, little endian) and their sidecars ``00000.json``. The key is the
SHA-256 of the source files' bytes, the keys of the recordings, and the versions of format and
reader: no transform is in it, because binning and augmentation happen on the fly. A shard is
written to a temporary file, synced and renamed, its sidecar last; a shard whose size or checksum
is not the sidecar's is written again. Processes that pack the same split wait for each other.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.pack import PACKED_DTYPE, pack
from spikesim.datasets.progress import Report
from spikesim.datasets.source import Recording, Source
from spikesim.errors import UserError
from spikesim.files import cache_folder, locked, write_atomic
from spikesim.kernels.events import Packed

Stats: TypeAlias = Mapping[Path, os.stat_result]

FORMAT = 1
SHARD_BYTES = 256 * 2**20
"""Source bytes per shard, about: what an interrupted packing loses at most."""


class Store:
    """The packed events of a list of recordings.

    ``store.events(i)`` is a view into a memory map. Arrays ``[n]``: ``counts`` of events, ``span``,
    the duration in us, and ``origin``, the time of the first event in the file's clock.
    """

    def __init__(self, folder: Path, sidecars: Sequence[dict[str, Any]]) -> None:
        self.folder = folder
        counts = [np.asarray(s["counts"], np.int64) for s in sidecars]
        self.counts: NDArray[np.int64] = np.concatenate([*counts, np.empty(0, np.int64)])
        self.span = np.array([v for s in sidecars for v in s["span"]], np.int64)
        self.origin = np.array([v for s in sidecars for v in s["origin"]], np.int64)
        self._shard = np.repeat(np.arange(len(counts)), [len(c) for c in counts])
        starts = [np.cumsum(c) - c for c in counts]
        self._start: NDArray[np.int64] = np.concatenate([*starts, np.empty(0, np.int64)])
        self._maps: dict[int, Packed] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def __getstate__(self) -> dict[str, Any]:
        # a pickled memory map would carry its whole content to a worker
        return {**self.__dict__, "_maps": {}}

    def events(self, i: int) -> Packed:
        """The packed events of recording ``i``, read only."""
        shard = int(self._shard[i])
        if shard not in self._maps:
            path = self.folder / f"{shard:05d}.events"
            # a plain view: slicing a memmap object costs more than binning its events
            self._maps[shard] = (
                np.asarray(np.memmap(path, PACKED_DTYPE, "r"))
                if path.stat().st_size
                else np.empty(0, PACKED_DTYPE)
            )
        start = self._start[i]
        return self._maps[shard][start : start + self.counts[i]]


def open_store(
    source: Source, recordings: Sequence[Recording], *, cache: Path | None = None
) -> Store:
    """The packed form of ``recordings``, packing what is not there or not whole.

    Raises:
        UserError: a recording cannot be packed (named, with the reason), or the disk is full.
    """
    base = (cache or cache_folder()) / "packed"
    try:
        stats = {path: path.stat() for path in dict.fromkeys(r.path for r in recordings)}
        shards = list(_shards(recordings, stats))
        base.mkdir(parents=True, exist_ok=True)
        folder = base / f"{source.info.name}-{_key(source, recordings, stats, base)[:20]}"
        folder.mkdir(exist_ok=True)
        sidecars = [_whole(folder, i) for i in range(len(shards))]
        if not all(sidecars):
            with locked(folder / "lock", f"packing {source.info.name}"):
                # another process may have packed them while this one waited
                sidecars = [sidecar or _whole(folder, i) for i, sidecar in enumerate(sidecars)]
                missing = [i for i, sidecar in enumerate(sidecars) if sidecar is None]
                total = sum(len(shards[i]) for i in missing)
                with Report(f"packing {source.info.name}", total) as report:
                    for i in missing:
                        sidecars[i] = _write(folder, i, source, shards[i], report)
    except OSError as error:
        raise UserError(
            f"cannot pack {source.info.name} into {base}: {error}; "
            "set SPIKESIM_CACHE to a folder with space that can be written"
        ) from error
    return Store(folder, [sidecar for sidecar in sidecars if sidecar is not None])


def _shards(recordings: Sequence[Recording], stats: Stats) -> Iterator[list[Recording]]:
    """Consecutive recordings, grouped by the bytes of their files."""
    sharing = Counter(recording.path for recording in recordings)
    size = {path: stats[path].st_size / n for path, n in sharing.items()}
    shard: list[Recording] = []
    held = 0.0
    for recording in recordings:
        shard.append(recording)
        held += size[recording.path]
        if held >= SHARD_BYTES:
            yield shard
            shard, held = [], 0.0
    if shard:
        yield shard


def _key(source: Source, recordings: Sequence[Recording], stats: Stats, base: Path) -> str:
    """The content key, remembered for files of unchanged name, size and time."""
    reading = repr((FORMAT, source.info.name, source.version, source.sensor_size, SHARD_BYTES))
    content = hashlib.sha256(reading.encode())
    for recording in recordings:
        content.update(repr((recording.key, recording.part)).encode())
    seen = content.copy()
    for path, stat in stats.items():
        seen.update(repr((os.path.abspath(path), stat.st_size, stat.st_mtime_ns)).encode())
    memory = base / "keys" / seen.hexdigest()
    if memory.is_file() and len(key := memory.read_text()) == 64:
        return key
    with Report(f"reading {source.info.name}", len(stats)) as report:
        for path in stats:
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
            report.advance()
    memory.parent.mkdir(exist_ok=True)
    write_atomic(memory, content.hexdigest().encode())
    return content.hexdigest()


def _whole(folder: Path, shard: int) -> dict[str, Any] | None:
    """The sidecar of a shard that is there and whole.

    A shard with the size and time of its sidecar was not written to since; any other is
    compared by checksum, so that a copied cache is accepted and a damaged one is not.
    """
    path = folder / f"{shard:05d}.events"
    try:
        sidecar: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        stat = path.stat()
        if stat.st_size != sidecar["bytes"]:
            return None
        if stat.st_mtime_ns != sidecar["mtime_ns"]:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sidecar["sha256"]:
                    return None
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return sidecar


def _write(
    folder: Path, shard: int, source: Source, recordings: Sequence[Recording], report: Report
) -> dict[str, Any]:
    """Read and pack a shard."""
    path = folder / f"{shard:05d}.events"
    checksum = hashlib.sha256()
    counts, span, origin = [], [], []
    temporary = path.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            for recording in recordings:
                events = source.read(recording)
                packed, first = pack(events, source.sensor_size, recording.key)
                data = packed.astype(PACKED_DTYPE, copy=False).tobytes()
                file.write(data)
                checksum.update(data)
                counts.append(len(packed))
                span.append(int(packed[-1] >> np.uint64(32)) if len(packed) else 0)
                origin.append(first)
                report.advance()
            file.flush()
            os.fsync(file.fileno())
        stat = temporary.stat()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sidecar = {
        "format": FORMAT,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": checksum.hexdigest(),
        "counts": counts,
        "span": span,
        "origin": origin,
    }
    write_atomic(path.with_suffix(".json"), json.dumps(sidecar).encode())
    return sidecar
