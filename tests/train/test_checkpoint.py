import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spikesim import files
from spikesim.errors import UserError
from spikesim.train import checkpoint
from spikesim.train.checkpoint import (
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from spikesim.train.optim import LAMB


def save(folder: Path, step: int) -> None:
    tensors = {"model": {"w": torch.full((2, 3), float(step))}, "optimizer": {}}
    save_checkpoint(folder, step, {"epoch": step // 2, "third": 1 / 3}, tensors)


def test_what_is_saved_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    for step in range(1, 5):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.state == {"step": 4, "epoch": 2, "third": 1 / 3}
    assert torch.equal(found.tensors["model"]["w"], torch.full((2, 3), 4.0))
    assert found.damaged == ""
    # Anybody's safetensors reads it.
    assert set(load_file(tmp_path / "step-00000004" / "model.safetensors")) == {"w"}


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nothing") is None
    (tmp_path / ".new").mkdir()
    (tmp_path / ".new" / "model.safetensors").write_bytes(b"half")
    assert load_checkpoint(tmp_path) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def change_epoch(path: Path) -> None:
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 9'))


@pytest.mark.parametrize(
    ("file", "damage", "word"),
    [
        ("model.safetensors", cut, "model.safetensors has sha256"),
        ("model.safetensors", flip, "model.safetensors has sha256"),
        ("model.safetensors", os.remove, "No such file"),
        ("state.json", cut, "step-00000002 is damaged"),
        ("state.json", change_epoch, "state.json does not match"),
        ("state.json", os.remove, "No such file"),
    ],
)
def test_damaged_newest_falls_back_and_says_so(
    tmp_path: Path, file: str, damage: Callable[[Path], None], word: str
) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "step-00000002" / file)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.state["step"] == 1
    assert word in found.damaged
    # The damaged one is replaced when the run gets there again.
    save(tmp_path, 2)
    again = load_checkpoint(tmp_path)
    assert again is not None
    assert (again.state["step"], again.damaged) == (2, "")


def test_all_damaged_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1)
    cut(tmp_path / "step-00000001" / "state.json")
    with pytest.raises(UserError, match="no whole checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("place", ["write", "folder", "rename"])
def test_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    save(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target: tuple[Any, str] = {
        "write": (checkpoint, "write_synced"),
        "folder": (files.os, "fsync"),
        "rename": (Path, "rename"),
    }[place]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(OSError, match="No space left on device: the checkpoint of step 2") as e:
            save(tmp_path, 2)
    assert e.value.errno == errno.ENOSPC
    assert "\n" not in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.state["step"] == 1


def test_state_is_plain_json(tmp_path: Path) -> None:
    save(tmp_path, 1)
    document = json.loads((tmp_path / "step-00000001" / "state.json").read_text())
    assert set(document) == {"sha256", "state_sha256", "state"}


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, r"weight is \[2, 4\], the"),
        ({"weight": torch.zeros(2, 3)}, "bias is missing"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "x": torch.zeros(1)}, "x is not"),
    ],
)
def test_weights_that_do_not_fit_are_named(weights: dict[str, Tensor], word: str) -> None:
    with pytest.raises(UserError, match=word):
        load_weights(nn.Linear(3, 2), weights, "runs/x")


@pytest.mark.parametrize("kind", ["adamw", "fused", "lamb", "channels_last"])
def test_optimizer_goes_on_as_if_never_stopped(kind: str) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3)
        if kind == "channels_last":
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if kind == "lamb":
            return model, LAMB(model.parameters(), weight_decay=0.1)
        return model, torch.optim.AdamW(model.parameters(), fused=kind != "adamw")

    def go(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            torch.manual_seed(step)
            model(torch.randn(2, 3, 5, 5)).square().sum().backward()
            optimizer.step()

    whole, optimizer = build()
    go(whole, optimizer, range(6))

    first, optimizer = build()
    go(first, optimizer, range(3))
    saved = {k: v.clone().contiguous() for k, v in optimizer_tensors(optimizer).items()}
    second, optimizer = build()
    second.load_state_dict(first.state_dict())
    restore_optimizer(optimizer, saved)
    go(second, optimizer, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
