"""What a run asks of ``datasets.load``."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch

from spikesim.train.config import Config, DataSettings
from spikesim.train.data import load_split, load_training

Make = Callable[..., Config]

OF_THE_TRAINER = {
    "validation", "validation_groups", "validation_split", "batch_size", "workers",
}  # fmt: skip


def test_every_data_setting_reaches_the_dataset(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(
        "data.binning=count", "data.events_per_frame=20", "data.values=log1p", "data.size=4",
        "data.cut_us=2000", "data.min_events=3", "data.fold=[1,2]", "train.seed=5",
    )  # fmt: skip
    asked: dict[str, Any] = {}

    class Asked(Exception):
        pass

    def load(name: str, **arguments: Any) -> None:
        asked.update(arguments, name=name)
        raise Asked

    monkeypatch.setattr("spikesim.datasets.load", load)
    with pytest.raises(Asked):
        load_split(settings, "test")
    names = {field.name for field in fields(DataSettings)} - OF_THE_TRAINER
    assert asked == {
        **{name: getattr(settings.data, name) for name in names},
        "split": "test",
        "seed": 5,
    }


def test_frames_hold_what_the_settings_say(config: Make) -> None:
    plain, _ = load_training(config("data.augment=null"))
    logs, _ = load_training(config("data.augment=null", "data.values=log1p"))
    torch.testing.assert_close(logs[0][0], plain[0][0].log1p())
    windows, _ = load_training(config("data.cut_us=1000", "data.min_events=5"))
    # recordings of 100 events in almost 8 ms: 7 whole windows of 1 ms, some with too few
    assert 4 * len(plain) < len(windows) <= 7 * len(plain)
    assert windows.counts.min() >= 5
