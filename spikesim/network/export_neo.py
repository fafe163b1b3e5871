"""Recordings as objects of Neo, which Elephant and others analyse."""

from typing import Any

from spikesim.errors import BackendError
from spikesim.network.export import Recording, spike_trains


def to_neo(recording: Recording) -> Any:
    """A ``neo.Segment``: a ``SpikeTrain`` per neuron, an ``AnalogSignal`` per series.

    Times are in ms. A train is annotated with ``population`` and ``neuron``, a signal with
    ``population``, ``state`` and ``which``, as in a ``Series``; without a unit it is dimensionless.

    Args:
        recording: of :func:`~spikesim.network.export.record`, or from a file.

    Raises:
        BackendError: Neo is not installed.
    """
    try:
        import neo
        import quantities
    except ImportError:
        raise BackendError("Neo is not installed; pip install neo") from None
    segment = neo.Segment(name="spikesim")
    for group in recording.trains:
        for neuron, times in zip(group.neurons, spike_trains(group), strict=True):
            segment.spiketrains.append(
                neo.SpikeTrain(
                    times,
                    units="ms",
                    t_start=group.start,
                    t_stop=group.stop,
                    name=f"{group.name} {neuron}",
                    population=group.name,
                    neuron=int(neuron),
                )
            )
    for series in recording.series:
        if not series.times.size:
            continue  # a signal needs a first time
        first, period = series.times[0], recording.dt
        if series.times.size > 1:
            period = (series.times[-1] - first) / (series.times.size - 1)
        segment.analogsignals.append(
            neo.AnalogSignal(
                series.values.reshape(series.times.size, -1),
                units=series.unit or "dimensionless",
                t_start=first * quantities.ms,
                sampling_period=period * quantities.ms,
                name=f"{series.name} {series.what}",
                population=series.name,
                state=series.what,
                which=series.which,
            )
        )
    return segment
