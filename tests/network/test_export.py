"""Recordings as arrays, files and objects of others, against plain loops and those others."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikesim.errors import BackendError, UserError
from spikesim.network import AllToAll, FixedProbability, Network, SpikeProbe, cv_isi, rates
from spikesim.network.export import Recording, record, spike_trains, unit_of
from spikesim.network.export_neo import to_neo
from spikesim.network.export_npz import load, save
from spikesim.network.export_nwb import write_nwb
from spikesim.network.plasticity.pair import PairSTDP
from spikesim.network.statistics import correlation
from spikesim.neurons import LIF, Izhikevich, Izhikevich2007, LIFExp, MetaNeuron
from spikesim.neurons.synaptic import synaptic

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def recorded() -> tuple[Network, dict[str, SpikeProbe]]:
    """Two populations, of which one is watched in part and later, with a state and a rate."""
    net = Network(dt=0.5, seed=3)
    first = net.population(LIFExp(t_ref=2.0), 40, name="first")
    second = net.population(LIFExp(t_ref=2.0), 30, name="second")
    net.connect(first, second, FixedProbability(0.5), weight=30.0, delay=1.0)
    net.poisson(first, rate=4_000.0, weight=100.0)
    net.poisson(second, rate=4_000.0, weight=80.0)
    net.run(50.0)
    probes = {"second": net.probe(second, "spikes", neurons=[7, 3, 29])}
    net.run(50.0)
    probes["first"] = net.probe(first, "spikes")
    net.probe(second, "v", neurons=[4, 2], every=2.0)
    net.probe(first, "rate")
    net.run(200.0)
    return net, probes


@pytest.fixture(scope="module")
def run() -> tuple[Network, dict[str, SpikeProbe]]:
    return recorded()


@pytest.fixture(scope="module")
def recording(run: tuple[Network, dict[str, SpikeProbe]]) -> Recording:
    return record(run[0])


def same(a: Recording, b: Recording) -> None:
    assert (a.dt, len(a.trains), len(a.series)) == (b.dt, len(b.trains), len(b.series))
    for one, other in zip((*a.trains, *a.series), (*b.trains, *b.series), strict=True):
        assert vars(one).keys() == vars(other).keys()
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)
            if isinstance(value, np.ndarray):
                assert value.dtype == getattr(other, name).dtype, name


def test_trains_are_those_of_a_loop_over_spikes(run: tuple[Network, dict[str, SpikeProbe]]) -> None:
    for probe in run[1].values():
        wanted: dict[int, list[float]] = {int(n): [] for n in probe.neurons}
        for sender, time in zip(probe.senders, probe.times, strict=True):
            wanted[int(sender)].append(float(time))
        assert sum(map(len, wanted.values())) > 5
        found = spike_trains(probe)
        assert [train.tolist() for train in found] == [wanted[int(n)] for n in probe.neurons]


def test_a_recording_is_in_the_order_of_the_network(
    run: tuple[Network, dict[str, SpikeProbe]], recording: Recording
) -> None:
    first, second = recording.trains
    assert (first.name, first.size, first.start, first.stop) == ("first", 40, 100.0, 300.0)
    assert (second.name, second.size, second.start, second.stop) == ("second", 30, 50.0, 300.0)
    assert second.neurons.tolist() == [7, 3, 29]
    v, rate = recording.series
    assert (v.name, v.what, v.unit, v.values.shape) == ("second", "v", "mV", (100, 2))
    assert v.times[:2].tolist() == [102.0, 104.0]
    assert (rate.name, rate.what, rate.unit, rate.values.shape) == ("first", "rate", "Hz", (200,))


def test_merged_spikes_count_neurons_through_all_groups(recording: Recording) -> None:
    index, times = recording.merged()
    first, second = recording.trains
    rows = [(t, s) for t, s in zip(first.times, first.senders, strict=True)]
    rows += [(t, 40 + s) for t, s in zip(second.times, second.senders, strict=True)]
    assert list(zip(times, index, strict=True)) == sorted(rows)


def test_a_unit_is_told_only_where_it_is_known() -> None:
    net = Network(dt=0.5)
    known = (LIFExp(), Izhikevich(), Izhikevich2007(), synaptic(Izhikevich2007()))
    for neuron, state, unit in (
        *((neuron, "v", "mV") for neuron in known),
        (LIFExp(), "i_ex", ""),
        (LIF(), "v", ""),
        (MetaNeuron(), "v", ""),
    ):
        assert unit_of(net.population(neuron, 1), state) == unit


def test_npz_gives_back_every_array(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_text("an older file")
    save(path, recording)
    same(load(path), recording)
    assert [found.name for found in tmp_path.iterdir()] == ["run.npz"]
    with np.load(path) as file:
        assert file["time_ms"][0] == min(train.times[0] for train in recording.trains)


@pytest.mark.parametrize("what", ["spikes", "rate"])
def test_npz_of_spikes_or_rates_alone(what: str, tmp_path: Path) -> None:
    net = Network(dt=1.0)
    net.probe(net.spikes([], [], 3, name="silent"), what)
    net.run(10.0)
    save(tmp_path / "a.npz", record(net))
    same(load(tmp_path / "a.npz"), record(net))


def test_npz_has_the_statistics_of_the_other_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``benchmarks/spike_statistics.py``, which reads the files of all simulators."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("spike_statistics")
    net = Network(dt=0.5, seed=1)
    cells = net.population(LIFExp(t_ref=2.0), 50)
    net.poisson(cells, rate=4_000.0, weight=100.0)
    probe = net.probe(cells, "spikes")
    net.run(1000.0)
    save(tmp_path / "a.npz", record(net))
    found = script.of_file(tmp_path / "a.npz", 50, 1000.0)
    np.testing.assert_allclose(found["rate"], rates(probe))
    cv = cv_isi(probe)
    np.testing.assert_allclose(found["cv"], cv[np.isfinite(cv)])
    assert len(found["cv"]) > 20
    # It counts a spike at the end of a bin to the next one, and takes neurons in another order.
    assert found["correlation"].std() == pytest.approx(correlation(probe).std(), rel=0.05)


def damage(name: str, change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Another array in the place of one, or none."""

    def write(path: Path) -> None:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        changed = change(arrays.pop(name))
        np.savez(path, **arrays, **({} if changed is None else {name: changed}))

    return write


def cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (Path.unlink, "no such file"),
    "empty": (cut(0.0), "truncated"),
    "half written": (cut(0.5), "truncated"),
    "all but the end": (cut(0.99), "truncated"),
    "a bit turned": (flip, "damaged"),
    "text": (lambda path: path.write_text("spikes"), "damaged"),
    "one array": (lambda path: np.save(path.open("wb"), np.ones(3)), "no .npz"),
    "another's": (lambda path: np.savez(path, index=[1], time_ms=[2.0]), "no recording"),
    "later": (damage("version", lambda version: version + 1), "version 2"),
    "no sizes": (damage("sizes", lambda _: None), "sizes"),
    "no series": (damage("series0_values", lambda _: None), "series0_values"),
    "index": (damage("index", lambda index: np.append(index[1:], 70)), "70 neurons"),
    "negative": (damage("index", lambda index: np.append(-1, index[1:])), "from -1"),
    "fewer times": (damage("time_ms", lambda times: times[1:]), "times of spikes"),
    "fewer watched": (damage("watched", lambda watched: watched[1:]), "42 neurons watched"),
    "fewer groups": (damage("groups", lambda groups: groups[1:]), "is damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name(name: str, recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    save(path, recording)
    do, words = BROKEN[name]
    do(path)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_cannot_be_exported_is_refused(recording: Recording, tmp_path: Path) -> None:
    net = Network()
    cells = net.population(LIFExp(), 3, name="cells")
    with pytest.raises(UserError, match=r"add net\.probe"):
        record(net)
    for neurons in ([0], [1]):
        net.probe(cells, "spikes", neurons=neurons)
    with pytest.raises(UserError, match="cells has two probes"):
        record(net)
    with pytest.raises(UserError, match=r"name the file \.npz"):
        save(tmp_path / "a.npy", recording)
    with pytest.raises(UserError, match=r"name the file \.nwb"):
        write_nwb(tmp_path / "a.h5", recording)
    assert not list(tmp_path.iterdir())


def test_without_neo_the_cure_is_named(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "neo", None)
    with pytest.raises(BackendError, match="pip install neo"):
        to_neo(recording)


def test_neo_has_trains_and_signals_with_units(recording: Recording) -> None:
    pytest.importorskip("neo", reason="neo is not installed")
    segment = to_neo(recording)
    trains = [train for group in recording.trains for train in spike_trains(group)]
    assert len(segment.spiketrains) == len(trains) == 43
    for found, wanted in zip(segment.spiketrains, trains, strict=True):
        assert found.rescale("s").magnitude.tolist() == pytest.approx(1e-3 * wanted)
        assert float(found.t_stop.rescale("s")) == 0.3
    last = segment.spiketrains[-1]
    assert (last.annotations["population"], last.annotations["neuron"]) == ("second", 29)
    assert float(last.t_start.rescale("s")) == 0.05
    v, rate = segment.analogsignals
    np.testing.assert_array_equal(v.magnitude, recording.series[0].values)
    np.testing.assert_allclose(v.times.rescale("ms").magnitude, recording.series[0].times)
    assert (v.units.dimensionality.string, rate.units.dimensionality.string) == ("mV", "Hz")
    assert v.annotations["which"].tolist() == [4, 2]


def test_nwb_is_valid_and_read_by_pynwb(recording: Recording, tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    path = tmp_path / "run.nwb"
    write_nwb(path, recording, "a test")
    assert pynwb.validate(path=str(path)) == []
    with pynwb.NWBHDF5IO(str(path), "r") as file:
        read = file.read()
        assert read.session_description == "a test"
        table = read.units.to_dataframe()
        trains = [train for group in recording.trains for train in spike_trains(group)]
        for found, wanted in zip(table["spike_times"], trains, strict=True):
            np.testing.assert_allclose(found, 1e-3 * wanted)
        assert table["population"].tolist() == ["first"] * 40 + ["second"] * 3
        assert table["neuron"].tolist() == [*range(40), 7, 3, 29]
        np.testing.assert_allclose(read.units["obs_intervals"][42], [[0.05, 0.3]])
        v, rate = read.acquisition["second v"], read.acquisition["first rate"]
        np.testing.assert_array_equal(v.data[:], recording.series[0].values)
        assert v.conversion == 1e-3
        np.testing.assert_allclose(v.timestamps, 1e-3 * recording.series[0].times)
        assert (v.unit, rate.unit) == ("volts", "Hz")
        assert read.acquisition["second v columns"]["which"][:].tolist() == [4, 2]


def test_weights_are_exported_as_any_series(tmp_path: Path) -> None:
    net = Network(dt=0.5, seed=1)
    pre, post = (net.population(LIFExp(), 5, name=name) for name in ("a", "b"))
    for group in (pre, post):
        net.poisson(group, rate=8_000.0, weight=100.0)
    synapses = net.connect(pre, post, AllToAll(), weight=40.0, plasticity=PairSTDP(w_max=80.0))
    probe = net.probe(synapses, "weight", synapses=[3, 24], every=10.0)
    net.run(100.0)
    (series,) = record(net).series
    assert (series.name, series.what, series.which.tolist()) == ("a -> b", "weight", [3, 24])
    assert series.times.tolist() == [10.0 * n for n in range(1, 11)]
    np.testing.assert_array_equal(series.values, probe.values)
    assert series.values.std() > 0
    save(tmp_path / "a.npz", record(net))
    same(load(tmp_path / "a.npz"), record(net))
    write_nwb(tmp_path / "a.nwb", record(net))
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    assert pynwb.validate(path=str(tmp_path / "a.nwb")) == []


def test_nwb_of_many_neurons_and_odd_names(tmp_path: Path) -> None:
    h5py = importlib.import_module("h5py")
    net = Network(dt=1.0)
    cells = net.population(LIFExp(), 20_000, name="a/b")
    net.probe(cells, "v")
    net.probe(net.spikes([3.0], [1], 2, name="µ"), "spikes", neurons=[])
    net.run(2.0)
    write_nwb(tmp_path / "a.nwb", record(net))
    with h5py.File(tmp_path / "a.nwb") as file:
        assert file["acquisition/a_b v/data"].shape == (2, 20_000)
        assert file["units/id"].shape == file["units/spike_times"].shape == (0,)
    pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
    assert pynwb.validate(path=str(tmp_path / "a.nwb")) == []
