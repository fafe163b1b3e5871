"""AEDAT 4, the files of iniVation's DV, read by the package ``aedat``."""

from pathlib import Path

import numpy as np

from spikesim.datasets.readers.events import Size, make_events
from spikesim.datasets.source import Events
from spikesim.errors import BackendError, UserError

MISSING = "AEDAT 4 needs the package aedat: pip install aedat (or pip install 'spikesim[aedat4]')"


def require_aedat() -> None:
    """Say at once, before any download, when AEDAT 4 cannot be read here.

    Raises:
        BackendError: the package ``aedat`` is not installed.
    """
    try:
        import aedat  # noqa: F401
    except ImportError:
        raise BackendError(MISSING) from None


def read_aedat4(path: Path) -> tuple[Events, Size]:
    """Events of the first event stream; time in us since 1970."""
    require_aedat()
    import aedat

    try:
        decoder = aedat.Decoder(path)
        streams = decoder.id_to_stream()
        event_streams = sorted(i for i, s in streams.items() if s["type"] == "events")
        if not event_streams:
            raise UserError(f"{path}: no event stream in it, only {kinds(streams)}")
        wanted = event_streams[0]
        packets = [p["events"] for p in decoder if p["stream_id"] == wanted and "events" in p]
    except BaseException as error:
        # the decoder raises RuntimeError for a fault it finds; it panics on others, and a Rust
        # panic is no Exception
        if not isinstance(error, RuntimeError) and type(error).__name__ != "PanicException":
            raise
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: truncated or damaged AEDAT 4 ({reason}); copy the file again"
        ) from None
    size = (int(streams[wanted]["width"]), int(streams[wanted]["height"]), 2)
    if not packets:
        return make_events([], [], [], []), size
    raw = np.concatenate(packets)
    return make_events(raw["t"].astype(np.int64), raw["x"], raw["y"], raw["on"]), size


def kinds(streams: dict[int, dict[str, object]]) -> str:
    """The kinds of streams in a file, for an error."""
    return ", ".join(sorted({str(stream["type"]) for stream in streams.values()})) or "nothing"
