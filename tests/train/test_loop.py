"""Whole trainings on a tiny task: what is written, what is refused."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from spikesim.errors import UserError
from spikesim.train import checkpoint
from spikesim.train.checkpoint import load_checkpoint
from spikesim.train.config import Config
from spikesim.train.evaluate import evaluate
from spikesim.train.loop import train
from spikesim.train.metrics import wilson
from spikesim.train.run import Run

Make = Callable[..., Config]
FEW = ("train.epochs=1",)


def test_a_run_learns_and_leaves_what_others_read(config: Make) -> None:
    settings = config(
        "train.epochs=30", "train.mixup=0", "train.ema=0", "data.augment=null", "train.lr=0.02"
    )
    result = train(settings)
    run = Run(settings.run.path)
    assert run.metrics()[-1]["accuracy"] >= 0.9
    assert result.accuracy >= 0.75
    assert run.result == result
    assert run.config == settings
    assert result.total == 8
    assert result.correct == sum(result.confusion[k][k] for k in range(2))
    assert result.interval == wilson(result.correct, 8)
    assert [sum(row) for row in result.confusion] == [4, 4]
    assert result.classes == ("down", "right")
    assert result.parameters == sum(p.numel() for p in run.model().parameters())
    assert result.epochs == 30
    assert result.energy["Effective_ACs"] > 0
    assert all(0 <= rate <= 1 for rate in result.firing_rates.values())
    # The saved weights give the same answers again.
    again = evaluate(run.model(), run.dataset("test"))
    assert tuple(map(tuple, again.confusion.tolist())) == result.confusion
    assert [record["epoch"] for record in run.metrics()] == list(range(1, 31))
    json.loads((run.path / "result.json").read_text())


def test_the_test_split_is_read_once_and_only_at_the_end(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesim.datasets import EventDataset

    reads: list[tuple[str, int]] = []
    get = EventDataset.__getitems__

    def counted(self: EventDataset, indices: Any) -> Any:
        reads.append((self.split, len(indices)))
        return get(self, indices)

    monkeypatch.setattr(EventDataset, "__getitems__", counted)
    train(config("train.epochs=2"))
    first = next(i for i, (split, _) in enumerate(reads) if split == "test")
    assert {split for split, _ in reads[:first]} == {"train"}
    assert {split for split, _ in reads[first:]} == {"test"}
    assert sum(n for split, n in reads if split == "train") == 2 * 32
    # Once for the accuracy, once for the energy of the finished model.
    assert sum(n for split, n in reads if split == "test") == 8 + 8


def test_as_published_keeps_the_best_epoch_and_says_so(config: Make) -> None:
    settings = config("train.epochs=6", "train.selection=as_published")
    result = train(settings)
    run = Run(settings.run.path)
    seen = [record["test_accuracy"] for record in run.metrics()]
    assert result.accuracy == max(seen)
    assert result.selection == "as_published"
    assert evaluate(run.model(), run.dataset()).accuracy == max(seen)
    assert "test_accuracy" not in Run(_trained(config(*FEW, "run.name=x"))).metrics()[0]


def _trained(config: Config) -> Path:
    train(config)
    return config.run.path


def test_validation_part_is_held_out_and_balanced(config: Make) -> None:
    settings = config(*FEW, "data.validation=0.25", "data.batch_size=24")
    train(settings)
    (record,) = Run(settings.run.path).metrics()
    assert record["step"] == 1
    assert 0 <= record["validation_accuracy"] <= 1
    assert record["validation_accuracy"] * 8 == int(record["validation_accuracy"] * 8)


def test_averaged_weights_are_judged_and_kept(config: Make) -> None:
    run = Run(_trained(config(*FEW, "train.ema=0.99")))
    found = run.checkpoint()
    name = next(n for n in found.tensors["model"] if n.endswith("weight"))
    assert not torch.equal(found.tensors["ema"][name], found.tensors["model"][name])
    assert torch.equal(run.model().state_dict()[name], found.tensors["ema"][name])


@pytest.mark.parametrize(
    "settings",
    [
        ("train.amp=bf16",),
        ("train.amp=fp16",),
        ("train.channels_last=true", "train.optimizer=lamb", "train.deterministic=true"),
        ("train.loss=tet", "train.smoothing=0.1", "train.readout=membrane"),
        ("train.dtype=float64", "train.readout=last", "train.tensorboard=true"),
    ],
    ids=lambda settings: settings[0],
)
def test_every_switch_trains(config: Make, settings: tuple[str, ...]) -> None:
    try:
        made = config("train.epochs=2", "train.cooldown_epochs=1", *settings)
        train(made)
    finally:
        torch.use_deterministic_algorithms(False)
    run = Run(made.run.path)
    assert [record["epoch"] for record in run.metrics()] == [1, 2, 3]
    assert all(record["loss"] > 0 for record in run.metrics())
    weights = run.checkpoint().tensors["model"]
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    events = list((run.path / "tensorboard").glob("events*"))
    assert bool(events) == made.train.tensorboard


def test_same_seed_same_weights_other_seed_others(config: Make) -> None:
    def weights(*settings: str) -> bytes:
        path = _trained(config(*FEW, *settings)) / "checkpoint" / "step-00000004"
        return (path / "model.safetensors").read_bytes()

    first = weights("run.name=a")
    torch.rand(5)  # the caller's own random numbers do not matter
    assert weights("run.name=b") == first
    assert weights("run.name=c", "train.seed=1") != first
    # Micro-batches of the same batch have batch statistics of their own, so they differ.
    assert weights("run.name=d", "train.accumulate=2") != first


def test_dead_layers_are_reported_with_their_name(
    config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(*FEW, "train.monitor_steps=1", "model.sizes.threshold=1e6")
    train(settings)
    printed = capsys.readouterr().out
    warnings = Run(settings.run.path).warnings()
    names = [warning["layer"] for warning in warnings]
    assert len(names) == len(set(names)) >= 2
    for name in names:
        assert f"warning: layer {name} never fires" in printed
    assert all(warning["rate"] == 0 and warning["step"] == 0 for warning in warnings)


def test_divergence_is_reported_with_its_place_and_leaves_whole_weights(config: Make) -> None:
    settings = config(
        "train.lr=1e38", "train.warmup_epochs=0", "train.clip_norm=null", "train.mixup=0",
        "train.checkpoint_steps=1", "train.ema=0",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"became NaN or infinite at step.*first non-finite"):
        train(settings)
    run = Run(settings.run.path)
    (warning,) = [w for w in run.warnings() if "became NaN" in w["message"]]
    assert warning["step"] >= 1
    assert run.result is None
    found = load_checkpoint(run.path / "checkpoint")
    assert found is not None
    assert found.state["step"] == warning["step"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.batch_size=64", "data.batch_size=64 is more than the 32 training recordings"),
        ("train.accumulate=3", "data.batch_size=8 cannot be divided among 1 processes x 3"),
        ("data.root=/nowhere", "/nowhere"),
        ("data.name=nmnits", "no dataset 'nmnits'; did you mean 'nmnist'?"),
        ("data.augment=flp", "no augmentation 'flp'"),
        ("model.name=spiking_vg", "no model 'spiking_vg'; did you mean 'spiking_vgg'?"),
        ("model.sizes.layer=3", "no size 'layer'; did you mean 'layers'?"),
        ("train.device=tpu", "train.device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("train.device=meta", "spikesim trains on cpu and cuda"),
        ("data.validation=0.001", "leaves a part empty"),
        ("data.fold=[5,5]", "fold must be (k, n)"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_folder(
    config: Make, override: str, message: str
) -> None:
    settings = config(override)
    with pytest.raises(UserError) as caught:
        train(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not settings.run.path.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.name=sdtt", "no model 'sdtt'; did you mean 'sdt'?"),
        ("model.preset=tyni", "has no preset 'tyni'; did you mean 'tiny'?"),
        ("model.sizes.layer=3", "no size 'layer'; did you mean 'layers'?"),
    ],
)
def test_mistakes_in_a_model_are_told_before_data_are_loaded(
    config: Make, override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikesim.train.training.load_training", lambda _: pytest.fail("loaded"))
    with pytest.raises(UserError) as caught:
        train(config(override))
    assert message in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_asked_for_and_absent_is_refused(config: Make) -> None:
    with pytest.raises(UserError, match=r"train\.device=cuda asked for.*use train\.device=cpu"):
        train(config("train.device=cuda"))


def test_full_disk_ends_with_the_checkpoint_before(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, write = config(), checkpoint.write_synced

    def full(path: Path, data: bytes) -> None:
        if "optimizer" in path.name and calls():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    count = 0

    def calls() -> bool:
        nonlocal count
        count += 1
        return count == 2

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_synced", full)
        with pytest.raises(OSError, match="No space left on device: the checkpoint of step 8"):
            train(settings)
    found = load_checkpoint(settings.run.path / "checkpoint")
    assert found is not None
    assert (found.state["step"], found.damaged) == (4, "")
    assert train(settings, resume=True).epochs == 3


def test_run_names_what_is_missing_or_changed(config: Make) -> None:
    path = _trained(config(*FEW))
    with pytest.raises(UserError, match=r"no run at .*; did you mean 'bars'"):
        Run(path.with_name("bar"))
    original = (path / "config.yaml").read_text()

    def change(group: str, **values: Any) -> None:
        tree = yaml.safe_load(original)
        tree[group].update(values)
        (path / "config.yaml").write_text(yaml.safe_dump(tree))

    change("data", steps=5)
    with pytest.raises(UserError, match=r"trained with T = 3 steps.*data\.steps=5; set it to 3"):
        Run(path).model()
    change("model", sizes={"layers": "4-M-8-fc32"})
    with pytest.raises(UserError, match=r"do not fit this model: .*is \[16, .*the model has \[32"):
        Run(path).model()
    (path / "config.yaml").write_text(original)
    (path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        _ = Run(path).result


def test_unfinished_run_has_no_model(config: Make) -> None:
    run = Run.create(config())
    assert run.result is None
    assert run.metrics() == []
    with pytest.raises(UserError, match="has no checkpoint yet"):
        run.model()
