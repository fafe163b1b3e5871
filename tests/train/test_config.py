from pathlib import Path

import pytest

from spikesim.errors import UserError
from spikesim.train import recipes
from spikesim.train.config import Config

PUBLISHED = {
    # sheet of hyper-parameters: batch, epochs, lr, weight decay, steps
    "cifar10dvs-sdt": (32, 200, 7.5e-3, 1e-4, 10),
    "dvsgesture-sdt": (16, 200, 3e-4, 0.06, 16),
    "cifar10dvs-spikformer": (16, 96, 1e-3, 0.06, 16),
    "dvsgesture-spikformer": (16, 192, 1e-3, 0.06, 16),
}


def test_overrides_are_typed_and_the_rest_stays() -> None:
    base = Config.load("nmnist-tiny")
    changed = Config.load(
        "nmnist-tiny",
        ["train.lr=1e-3", "train.epochs=3", "train.amp=off", "data.size=[24, 32]",
         "model.sizes.pooling=0011", "run.name=7"],
    )  # fmt: skip
    assert changed.train.lr == 1e-3
    assert changed.train.epochs == 3
    assert changed.train.amp == "off"
    assert changed.data.size == (24, 32)
    assert changed.model.sizes["pooling"] == "0011"
    assert changed.run.name == "7"
    assert changed.train.weight_decay == base.train.weight_decay


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=ten", "train.epochs must be a whole number, got 'ten'"),
        ("train.epochs=2.5", "train.epochs must be a whole number, got 2.5"),
        ("train.epochs=0", "train.epochs must be >= 1, got 0"),
        ("train.lr=-1", "train.lr must be > 0, got -1.0"),
        ("train.lr=.nan", "train.lr must be > 0, got nan"),
        ("train.lrr=1", "unknown setting 'train.lrr'; did you mean 'train.lr'?"),
        ("trian.lr=1", "unknown setting 'trian'; did you mean 'train'?"),
        ("train.amp=bf17", "train.amp must be one of off, bf16, fp16, got 'bf17'"),
        ("train.backend=cuda", "train.backend must be one of auto, torch, numba, cupy, got 'cuda'"),
        ("train.compile=1", "train.compile must be true or false, got 1"),
        ("train.ema=1", "train.ema must be in [0, 1), got 1.0"),
        ("train.warmup_epochs=99", "train.warmup_epochs must be <="),
        ("data.size=[1]", "data.size must be a whole number or a list"),
        ("data.validation=1", "data.validation must be in [0, 1), got 1.0"),
        ("train.lr.x=1", "train.lr.x: 'lr' is one value"),
        ("lr=1", "'lr=1' is no setting; write group.key=value"),
        ("run.name=a/b", "run.name must be the name of one folder"),
        ("run.name=..", "run.name must be the name of one folder"),
        ("train.lr=[1", "the value of train.lr is no valid YAML"),
    ],
)
def test_wrong_settings_name_key_value_and_wish(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Config.load("nmnist-tiny", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'nmnist-tny'; did you mean 'nmnist-tiny'"):
        Config.load("nmnist-tny")
    with pytest.raises(UserError, match=r"there is no file nothing\.yaml"):
        Config.load("nothing.yaml")


def test_saved_config_loads_as_the_same(tmp_path: Path) -> None:
    before = Config.load("cifar10dvs-sdt", ["data.fold=[1,5]", "train.lr=1e-5", "run.name=on"])
    before.save(tmp_path / "config.yaml")
    assert Config.load(tmp_path / "config.yaml") == before


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_builds_its_model(name: str) -> None:
    from spikesim.train.run import Task, build_model
    from spikesim.train.schedule import learning_rate

    config = Config.load(name)
    assert config.run.name == name
    assert config.train.selection in ("last", "validation")
    assert len(recipes.summary(name)) > 20
    size = config.data.size or {"nmnist": 34, "gsc": (1, 140)}.get(config.data.name, 128)
    height, width = (size, size) if isinstance(size, int) else size
    task = Task(config.data.steps, (2, height, width), tuple("0123456789"))
    model = build_model(config, task)
    assert model.input_shape == (2, height, width)
    rates = [learning_rate(e, config.train) for e in range(config.train.all_epochs)]
    assert max(rates) == pytest.approx(config.train.lr, rel=0.01)  # one cycle may pass it
    assert rates[-1] <= rates[len(rates) // 2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    c = Config.load(name)
    found = (c.data.batch_size, c.train.epochs, c.train.lr, c.train.weight_decay, c.data.steps)
    assert found == PUBLISHED[name]
