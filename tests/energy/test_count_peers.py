"""Models of other libraries, as they are: their counts, beside NeuroBench's and our own models'."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.energy import Counts, count
from spikesim.models.spikformer import Spikformer

pytestmark = pytest.mark.peers
NEUROBENCH = "needs NeuroBench 2.3: pip install --no-deps -r requirements-peers.txt"


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).float()


@pytest.fixture
def neurobench() -> Any:
    pytest.importorskip("snntorch", reason="needs snnTorch (extra 'peers')")
    return pytest.importorskip("neurobench.benchmarks", reason=NEUROBENCH)


def measured(neurobench: Any, model: Any, x: Tensor, batch: int) -> dict[str, Any]:
    """What NeuroBench itself finds, over batches ``[B, T, ...]``."""
    from neurobench.metrics import static, workload

    data = torch.utils.data.TensorDataset(x, torch.zeros(len(x)))
    loader = torch.utils.data.DataLoader(data, batch_size=batch)
    wanted = [
        [static.ParameterCount, static.Footprint, static.ConnectionSparsity],
        [workload.ActivationSparsity, workload.SynapticOperations],
    ]
    found = neurobench.Benchmark(model, loader, [], [], wanted).run(quiet=True)
    return {**found, **found["SynapticOperations"]}


def compare(counts: Counts, found: dict[str, Any]) -> None:
    assert counts.total("macs") == found["Dense"] > 0
    assert counts.total("effective_macs") == found["Effective_MACs"]
    assert counts.total("effective_acs") == found["Effective_ACs"]
    assert counts.parameters == found["ParameterCount"]
    assert counts.footprint == found["Footprint"]
    assert round(counts.connection_sparsity, 4) == found["ConnectionSparsity"] > 0
    assert counts.activation_sparsity == pytest.approx(found["ActivationSparsity"], abs=1e-15)


def test_an_snntorch_model_counts_as_in_neurobench(neurobench: Any) -> None:
    """Two steps are not binary and one sample is -1 and 0: decided call by call."""
    import snntorch
    from neurobench.models import SNNTorchModel

    how = {"beta": 0.9, "threshold": 0.2, "init_hidden": True}
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2), snntorch.Synaptic(alpha=0.8, **how), nn.Flatten(),
        nn.Linear(64, 10), snntorch.Leaky(output=True, **how),
    )  # fmt: skip
    model[3].weight.data[torch.rand(10, 64) < 0.3] = 0
    x = spikes(6, 5, 2, 8, 8)
    x[0] *= -1
    x[5, 2:4] *= 0.5
    found = measured(neurobench, SNNTorchModel(model), x, batch=3)
    assert found["Effective_MACs"] > 0
    counts = count(
        model, list(x.split(3)), layout="BT", each_call=True,
        forward=lambda m, x: [m(x[:, t]) for t in range(x.shape[1])],
    )  # fmt: skip
    compare(counts, found)
    by_name = {layer.name: layer for layer in counts}
    assert by_name["1"].passes == by_name["3"].passes == 5
    assert (by_name["1"].state_reads, by_name["4"].state_reads) == (2 * 5 * 64, 5 * 10)
    assert sum(by_name["0"].operations_per_step) == pytest.approx(by_name["0"].operations)
    # Without the option a layer accumulates if all data were spikes.
    strict = count(
        model, list(x.split(3)), layout="BT",
        forward=lambda m, x: [m(x[:, t]) for t in range(x.shape[1])],
    )  # fmt: skip
    assert {layer.name: layer.values for layer in strict if layer.macs} == {
        "0": "real",
        "3": "binary",
    }
    assert strict.total("macs") == counts.total("macs")


def test_a_torch_model_counts_as_in_neurobench(neurobench: Any) -> None:
    from neurobench.models import TorchModel

    model = nn.Sequential(
        nn.Conv1d(3, 6, 5, stride=2, padding=2, groups=3), nn.ReLU(), nn.Flatten(),
        nn.Linear(6 * 8, 10), nn.Sigmoid(), nn.Linear(10, 4),
    )  # fmt: skip
    model[3].weight.data[torch.rand(10, 48) < 0.5] = 0
    x = torch.randn(4, 3, 15)
    found = measured(neurobench, TorchModel(model), x, batch=2)
    counts = count(model, list(x.split(2)), layout="B", each_call=True)
    compare(counts, found)
    assert 0 < found["ActivationSparsity"] < 1
    assert "no spiking neurons" in counts.notes[0]


def test_recurrent_cells_count_as_in_neurobench(neurobench: Any) -> None:
    """NeuroBench takes the products of an LSTM's gates for MACs too; here they have a line."""
    from neurobench.metrics.utils.layers import single_layer_MACs

    for make, gates in ((nn.RNNCell, False), (nn.LSTMCell, True)):
        cell = make(6, 5)
        cell.weight_hh.data[torch.rand(cell.weight_hh.shape) < 0.3] = 0
        x, h, c = spikes(4, 6), torch.rand(4, 5), torch.rand(4, 5)
        if not gates:  # NeuroBench's Dense of an LSTM leaves out what a zero in its state meets
            h[:, 2] = 0
        hx = (h, c) if gates else h
        found = count(cell, x, layout="B", forward=lambda m, x, hx=hx: m(x, hx))
        for total, kind in ((True, "macs"), (False, "operations")):
            theirs, _ = single_layer_MACs((x, hx), cell, total=total)
            extra = found.total("multiplications") if gates else 0
            assert 4 * (found.total(kind) + extra) == theirs > 0


def twins() -> tuple[Spikformer, nn.Module]:
    """Our Spikformer and SpikingJelly's with the same weights, from the stem's spikes on.

    SpikingJelly's stem takes its maxima before the neuron, so it is given ours.
    """
    why = "needs SpikingJelly 2.0: pip install spikesim[peers]"
    peers = pytest.importorskip("spikingjelly.activation_based.model.spikformer", reason=why)
    sizes = {"num_classes": 5, "dim": 16, "depth": 2, "heads": 4, "pooling": "0011"}
    ours = models.create("spikformer", steps=4, image_size=16, scale=0.125, **sizes)
    assert isinstance(ours, Spikformer)
    theirs = peers.Spikformer(
        T=4, in_channels=2, img_size_h=16, img_size_w=16, patch_size=4, num_classes=5,
        embed_dims=16, num_heads=4, depths=2,
    )  # fmt: skip
    with torch.no_grad():
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.8, 2.5)
                module.bias.uniform_(-0.2, 0.8)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_(std=2 * module.weight[0].numel() ** -0.5)
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    module.bias.zero_()  # SpikingJelly has none
    theirs.patch_embed.stages = copy.deepcopy(ours.stem)
    pairs = [
        (maps(ours.position), maps(theirs.patch_embed.positional_encoding)),
        (maps(ours.head), maps(theirs.head)),
    ]
    for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
        pairs += [
            (maps(mine.mlp), maps(other.mlp)),
            (maps(mine.attention.project), maps(other.attn.proj_conv_bn)),
        ]
        joint = maps(other.attn.qkv_conv_bn)
        for n, layer in enumerate(joint):
            three = [maps(getattr(mine.attention, name))[n].state_dict() for name in "qkv"]
            for key, value in layer.state_dict().items():
                if value.dim():
                    value.copy_(torch.cat([part[key] for part in three]).view_as(value))
    for mine, other in pairs:
        for layer, twin in zip(mine, other, strict=True):
            known = twin.state_dict()
            state = {key: a for key, a in layer.state_dict().items() if key in known}
            twin.load_state_dict({key: a.view_as(known[key]) for key, a in state.items()})
    return ours.eval(), theirs.eval()


def maps(module: nn.Module) -> list[nn.Module]:
    kinds = (nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


SUMS = (
    "macs", "effective_macs", "effective_acs", "ann_macs", "spikes", "updates", "state_reads",
    "weights", "inputs", "outputs", "additions", "multiplications", "weight_reads",
)  # fmt: skip


def of(counts: Counts, *names: str) -> dict[str, Any]:
    """Sums over the layers of these names, and what they have in common."""
    layers = [layer for layer in counts if layer.name in names]
    assert len(layers) == len(names), names
    sums = {name: pytest.approx(sum(getattr(line, name) for line in layers)) for name in SUMS}
    return {**sums, "values": layers[0].values, "passes": layers[0].passes}


def test_spikformers_of_spikingjelly_and_ours_count_the_same() -> None:
    """Layer by layer, with no change to either; SpikingJelly makes q, k and v in one map."""
    ours, theirs = twins()
    x = torch.poisson(torch.full((4, 3, 2, 16, 16), 0.7))
    mine, other = count(ours, x), count(theirs, x)
    assert not mine.uncovered + other.uncovered
    assert mine.notes == other.notes == ()
    pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("position.0.0",), ("patch_embed.positional_encoding.conv_bn.block.0",)),
        (("position.1",), ("patch_embed.positional_encoding.neuron",)),
        (("elementwise",), ("patch_embed", "elementwise")),
        (("head.0",), ("head",)),
    ]
    pairs += [
        ((layer.name,), (f"patch_embed.stages.{layer.name.removeprefix('stem.')}",))
        for layer in mine
        if layer.name.startswith("stem.")
    ]
    for n in range(2):
        a, b = f"blocks.{n}.attention", f"blocks.{n}.attn"
        pairs += [
            (tuple(f"{a}.{name}.0.0" for name in "qkv"), (f"{b}.qkv_conv_bn.0",)),
            (tuple(f"{a}.{name}.1" for name in "qkv"), (f"{b}.qkv_lif",)),
            ((f"{a}.product K^TV",), (f"{b} vt @ kt.transpose(-2, -1)",)),
            ((f"{a}.product Q(K^TV)",), (f"{b} x_seq @ qt",)),
            ((f"{a}.product scale",), (f"{b} elementwise",)),
            ((f"{a}.neuron",), (f"{b}.attn_lif",)),
            ((f"{a}.project.0.0",), (f"{b}.proj_conv_bn.0",)),
            ((f"{a}.project.1",), (f"{b}.proj_lif",)),
            ((f"blocks.{n}",), (f"blocks.{n}",)),
            ((f"blocks.{n}.mlp.0.0",), (f"blocks.{n}.mlp.fc1.0",)),
            ((f"blocks.{n}.mlp.1",), (f"blocks.{n}.mlp.neuron1",)),
            ((f"blocks.{n}.mlp.2.0",), (f"blocks.{n}.mlp.fc2.0",)),
            ((f"blocks.{n}.mlp.3",), (f"blocks.{n}.mlp.neuron2",)),
        ]
    for names, twins_names in pairs:
        # Each of q, k and v reads the whole input, where one joint map reads it once.
        left, right = of(mine, *names), of(other, *twins_names)
        if len(names) == 3 and names[0].endswith("0.0"):
            for shared in ("inputs", "spikes"):
                assert left.pop(shared) == 3 * right.pop(shared).expected
        assert left == right, names
    covered = [name for names, _ in pairs for name in names]
    rest = [layer for layer in mine if layer.name not in covered]
    assert {layer.kind for layer in rest} == {"norm"}
    assert mine.total("effective_acs") == pytest.approx(other.total("effective_acs"))
    assert mine.total("effective_acs") > 0.02 * mine.total("macs")


def test_states_of_spikingjelly_are_reset_and_come_back() -> None:
    why = "needs SpikingJelly 2.0: pip install spikesim[peers]"
    sj = pytest.importorskip("spikingjelly.activation_based", reason=why)
    model = nn.Sequential(sj.layer.Linear(3, 4), sj.neuron.LIFNode(v_threshold=0.3))
    model[0].weight.data.uniform_(0, 1)
    x = torch.rand(4, 2, 3)
    model(x[0])
    before = model[1].v.clone()
    # One step a call, then all steps in one.
    loop = count(model, [x, x], forward=lambda m, x: [m(step) for step in x])
    assert torch.equal(model[1].v, before)
    sj.functional.set_step_mode(model, "m")
    assert count(model, [x, x]).layers == loop.layers
    assert loop.layers == count(model, [x], forward=lambda m, x: m(x)).layers
    line = loop.layers[1]
    assert line.spikes > 0
    assert (line.updates, line.state_reads, line.passes) == (16, 16, 4)
    assert len(line.spikes_per_step) == 4


def test_recurrent_neurons_of_snntorch() -> None:
    """The hidden state of the first batch is not that of the second."""
    snntorch = pytest.importorskip("snntorch", reason="needs snnTorch (extra 'peers')")
    cells = snntorch.RLeaky(beta=0.9, linear_features=4, threshold=0.1, init_hidden=True)
    model = nn.Sequential(nn.Linear(3, 4), cells)
    x = spikes(5, 2, 3, rate=0.7)
    run = {"forward": lambda m, x: [m(step) for step in x]}
    once, twice = count(model, x, **run), count(model, [x, x], **run)
    by_name = {layer.name: layer for layer in once}
    assert by_name["1.recurrent"].kind == "recurrent"
    assert by_name["1.recurrent"].macs == 5 * 16
    fired = by_name["1"].spikes_per_step
    assert by_name["1"].spikes > 0
    # What fired comes back a step later.
    assert by_name["1.recurrent"].operations_per_step == (0, *(4 * n for n in fired[:-1]))
    assert twice.layers == once.layers


def test_layers_and_cells_of_norse() -> None:
    """Layers over all steps and cells step by step give the same; leaky integrators are silent."""
    norse = pytest.importorskip("norse.torch", reason="needs Norse (extra 'peers')")
    how = {"p": norse.LIFParameters(v_th=torch.tensor(0.05))}
    layers = norse.SequentialState(
        norse.LIF(**how), norse.LIFRecurrent(6, 5, **how), nn.Linear(5, 3), norse.LI()
    )
    cells = norse.SequentialState(
        norse.LIFCell(**how), norse.LIFRecurrentCell(6, 5, **how), nn.Linear(5, 3), norse.LICell()
    )
    cells.load_state_dict(layers.state_dict(), strict=False)
    x = 5 * torch.rand(7, 2, 6)

    def loop(model: nn.Module, x: Tensor) -> None:
        state = None
        for step in x:
            _, state = model(step, state)

    whole, steps = count(layers, x), count(cells, x, forward=loop)
    assert not whole.uncovered + steps.uncovered
    for one, other in zip(whole, steps, strict=True):
        assert one == other
    kinds = [(line.name.split(" ")[0], line.kind) for line in whole]
    assert kinds == [
        ("0", "neuron"), ("1", "linear"), ("1", "recurrent"), ("1", "neuron"), ("2", "linear"),
        ("3", "neuron"),
    ]  # fmt: skip
    first, into, back, second, _, silent = whole
    assert first.spikes > 0 < second.spikes
    assert into.operations == pytest.approx(5 * first.spikes)
    # A neuron is not connected to itself; v and i are states, of the recurrent z too.
    assert back.nonzero_weights == 5 * 4
    assert back.operations_per_step == (0, *(4 * n for n in second.spikes_per_step[:-1]))
    assert (first.state_reads, second.state_reads) == (2 * first.updates, 3 * second.updates)
    assert (silent.spikes, silent.rate) == (0, None)
