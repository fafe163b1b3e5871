"""A network of real recordings, trained: every spike of the test set in both engines."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from spikesim.network.convert import first_difference, to_network

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_and_simulate.py"


def test_digits_are_read_alike_by_module_and_network() -> None:
    example = runpy.run_path(str(EXAMPLE))
    model, (x, y) = example["make_model"](), example["read"]("train")
    test = example["read"]("test")[0][:, :20]
    example["train"](model, x[:, ::4], y[::4], 3)
    with torch.no_grad():
        assert cross_entropy(model.eval()(x).mean(0), y) < 2.0  # 2.3 untrained
    network = to_network(model, test)
    assert first_difference(model, network, test) is None
    assert all(0.01 < network.spikes(name).mean() < 0.5 for name in network.modules)
    with torch.no_grad():
        values = model.double()(test.double())
    torch.testing.assert_close(network.run(test), values, rtol=1e-12, atol=1e-12)
    back = network.to_module()
    assert all(
        torch.equal(a.double(), b)
        for a, b in zip(back.parameters(), model.parameters(), strict=True)
    )


def test_the_example_says_that_all_spikes_are_equal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train_and_simulate.py", "--epochs", "1"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    assert "in 100 inferences: all equal" in printed
    assert "synaptic events per inference" in printed
