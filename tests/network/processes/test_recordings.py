"""Recordings and pictures are of all neurons, on each process."""

from pathlib import Path

import pytest
from several import MANY, Results, check_equal, everything

from spikesim.network.export import record
from spikesim.world import World


def work_recording(folder: Path, world: World) -> Results:
    """All that is exported, and how many spikes a picture shows."""
    net = everything()
    for group in net.groups:
        net.probe(group, "spikes")
    net.probe(net.groups[1], "rate", every=0.5)
    net.probe(net.groups[0], "v", neurons=[400, 3])  # type: ignore[call-overload]
    net.run(20.0)
    recording = record(net)
    index, times = recording.merged()
    found: Results = {"index": index, "times": times}
    for series in recording.series:
        found |= {f"{series.what} of": series.which, series.what: series.values}
    lines = net.plot().axes[0].lines
    found["shown"] = sum(len(line.get_xdata()) for line in lines if line.get_marker() == ".")
    return found


@pytest.mark.parametrize("many", MANY)
def test_what_is_exported_and_drawn_is_that_of_one_process(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    expected = work_recording(Path(), World())
    assert expected["shown"] == len(expected["index"]) > 100
    for rank in range(many):
        check_equal(found[many, rank]["work_recording"], expected)
