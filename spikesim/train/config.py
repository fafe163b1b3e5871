"""All settings of a run, as frozen dataclasses; one file of YAML holds them.

A *recipe* is such a file in ``spikesim/recipes``. ``Config.load("nmnist-tiny", ["train.lr=1e-3"])``
reads one, applies the overrides and checks every value.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from spikesim.errors import UserError, nearest
from spikesim.files import write_synced
from spikesim.train import recipes
from spikesim.train.typed import assign, build, parse_yaml

GROUPED = ("lr", "min_lr", "warmup_epochs", "warmup_lr", "schedule", "weight_decay", "betas")
"""What parameters of a name can have of their own."""


def _check(holds: bool, name: str, value: Any, wish: str) -> None:
    if not holds:
        raise UserError(f"{name} must be {wish}, got {value}")


@dataclass(frozen=True)
class RunSettings:
    """Where the run lies: the folder ``dir/name``.

    Attributes:
        name: of the folder; empty: the name of the recipe.
        dir: folder of all runs.
    """

    name: str = ""
    dir: str = "runs"

    def __post_init__(self) -> None:
        plain = self.name == os.path.basename(self.name) and self.name not in (".", "..")
        _check(plain, "run.name", repr(self.name), "the name of one folder, without slashes")

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.dir) / self.name


@dataclass(frozen=True)
class DataSettings:
    """Which recordings, and how they become frames; see :func:`spikesim.datasets.load`.

    Attributes:
        name: of the dataset; ``spikesim datasets list``.
        root: its folder; ``null``: the embedded or default one.
        steps: frames per recording, ``T``.
        binning: steps of equal time or of equal count of events.
        window_us: duration of a step by time, us; ``null``: the recording divided by ``steps``.
        events_per_frame: events of a step by count; ``null``: likewise.
        values: what a pixel holds.
        cut_us: cut recordings into samples of this duration, us; ``null``: the dataset's own way.
        min_events: leave out samples of fewer events; ``null``: the dataset's own way.
        size: height and width of a frame, pixels; ``null``: the sensor's.
        fold: ``[k, n]``: part ``k``, from 0, of a fixed n-fold partition is the test split.
        held_out: groups (speakers, sessions) that are the test split, all others being the
            training split; ``null``: the dataset's own splits.
        augment: what is done to the training split: a preset's name, or the fields of
            :class:`spikesim.datasets.augment.Augment`.
        validation: fraction of the training split that is held out and reported every epoch.
        validation_groups: groups of the training split that are held out in its place.
        validation_split: a split of the dataset that is reported in its place.
        batch_size: recordings per optimizer step, over all processes and micro-batches.
        workers: processes that prepare batches; 0: none beside the training one.
    """

    name: str = "nmnist"
    root: str | None = None
    steps: int = 10
    binning: Literal["time", "count"] = "time"
    window_us: int | None = None
    events_per_frame: int | None = None
    values: Literal["counts", "binary", "log1p"] = "counts"
    cut_us: int | None = None
    min_events: int | None = None
    size: int | tuple[int, int] | None = None
    fold: tuple[int, int] | None = None
    held_out: tuple[str, ...] | None = None
    augment: str | Mapping[str, Any] | None = None
    validation: float = 0.0
    validation_groups: tuple[str, ...] = ()
    validation_split: str | None = None
    batch_size: int = 32
    workers: int = 0

    def __post_init__(self) -> None:
        _check(self.steps >= 1, "data.steps", self.steps, ">= 1")
        _check(self.batch_size >= 1, "data.batch_size", self.batch_size, ">= 1")
        _check(self.workers >= 0, "data.workers", self.workers, ">= 0")
        _check(0 <= self.validation < 1, "data.validation", self.validation, "in [0, 1)")
        ways = (self.validation > 0, bool(self.validation_groups), bool(self.validation_split))
        _check(sum(ways) <= 1, "data.validation", self.validation, "0 where groups or a split are")
        part = self.validation_split
        _check(part not in ("train", "test"), "data.validation_split", part, "a split of its own")


@dataclass(frozen=True)
class ModelSettings:
    """Which model; see :func:`spikesim.models.create`.

    Attributes:
        name: of the family; ``spikesim models list``.
        preset: a named set of sizes.
        sizes: single sizes, over those of the preset (``model.sizes.depth=4``).
    """

    name: str = "sdt"
    preset: str | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainSettings:
    """How the model is trained. Defaults switch every extra off.

    Attributes:
        epochs: passes over the training split on the schedule; warm-up included.
        cooldown_epochs: further epochs at ``min_lr``.
        optimizer: AdamW (Loshchilov & Hutter, 2019), LAMB (You et al., 2020), or Adam, whose
            weight decay is a part of the gradient.
        lr: peak learning rate.
        min_lr: learning rate at the end of the cosine.
        schedule: ``cosine``, or ``one_cycle``: up to ``lr`` and down to nothing, without a warm-up
            of its own; see :func:`spikesim.train.schedule.learning_rate`.
        rate_changes: whether the rate follows the schedule with every ``step`` or ``epoch``.
        groups: settings that differ for parameters of a name, such as
            ``{delay: {lr: 0.1, schedule: cosine, weight_decay: 0}}``; those of :data:`GROUPED`.
        delay_shrink: share of the epochs in which the bumps of learned delays shrink from half of
            the delays' range to a step; 0: their width stays. See
            :class:`~spikesim.delays.schedule.WidthSchedule`.
        warmup_epochs: epochs over which the rate climbs from ``warmup_lr`` to ``lr``.
        warmup_lr: learning rate of the first step of the warm-up.
        weight_decay: decoupled; not applied to biases, norms and neuron parameters.
        betas: decay of the two moment averages.
        clip_norm: largest norm of the whole gradient; ``null``: no clipping.
        accumulate: micro-batches per optimizer step and process; lowers memory, not the batch.
        loss: cross-entropy of the readout, or TET (Deng et al., 2022) on every step.
        readout: how the logits of all steps become one; used by the loss and by evaluation.
        smoothing: label smoothing.
        tet_lambda: weight of TET's regulariser.
        tet_mean: target of TET's regulariser.
        rate_weight: of the penalty on firing rates outside of the bounds, spikes per neuron and
            step (:class:`spikesim.train.activity.RateLoss`); 0: none.
        rate_lower: lower bound of a rate.
        rate_upper: upper bound of a rate.
        rate_power: how the distance to a bound counts.
        rate_over: whose rate, in each recording.
        operations_weight: of the penalty on synaptic operations of a recording
            (:class:`spikesim.train.activity.OperationsLoss`); 0: none.
        operations_target: how many of them are free, the penalty then being on their share above;
            ``null``: each costs ``operations_weight``.
        mixup: concentration of the Beta distribution; 0: off (Zhang et al., 2018).
        mixup_prob: fraction of the batches that are mixed.
        mixup_off_epoch: first epoch without mixup; ``null``: never off.
        ema: decay of the averaged weights that are then evaluated and saved; 0: off.
        amp: automatic mixed precision.
        dtype: of weights and input.
        compile: ``torch.compile`` what is not a fused kernel of the model.
        backend: what runs all neurons of the model: ``auto`` takes cupy on CUDA and numba on the
            CPU, torch where these are not installed; a named one serves or is refused.
        pack_spikes: keep spikes that the backward pass needs as one bit a value; the weights are
            the same (:func:`spikesim.memory.pack_spikes`).
        channels_last: memory layout of frames, maps and the weights of convolutions.
        cuda_graph: replay the training step as CUDA graphs, captured once per shape of a batch
            (all batches of a run have one; the first steps run as usual). The weights are the
            same. One process on CUDA.
        sync_batchnorm: batch statistics over all processes of ``torchrun``.
        seed: of weights, order, augmentation, dropout and mixup.
        deterministic: only algorithms that repeat bit for bit; slower on CUDA.
        device: ``auto`` takes CUDA where there is one.
        threads: torch's CPU threads; ``null``: as torch chooses.
        checkpoint_steps: optimizer steps between checkpoints inside an epoch; ``null``: none.
        checkpoint_seconds: seconds between checkpoints inside an epoch; ``null``: none.
        monitor_steps: optimizer steps between looks at the firing rates; 0: never.
        selection: ``last``: the test split is read once, at the end. ``as_published``: it is read
            every epoch and the best epoch counts, as in the code of several papers; the figure is
            then no estimate of the accuracy on new recordings. ``validation``: the epoch counts
            that was best on the validation recordings.
        tensorboard: write TensorBoard scalars.
        report: write ``report.html`` at the end.
    """

    epochs: int = 10
    cooldown_epochs: int = 0
    optimizer: Literal["adamw", "adam", "lamb"] = "adamw"
    lr: float = 1e-3
    min_lr: float = 0.0
    schedule: Literal["cosine", "one_cycle"] = "cosine"
    rate_changes: Literal["step", "epoch"] = "step"
    groups: Mapping[str, Any] = field(default_factory=dict)
    delay_shrink: float = 0.0
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = None
    accumulate: int = 1
    loss: Literal["cross_entropy", "tet"] = "cross_entropy"
    readout: Literal["mean", "last", "membrane", "rate", "softmax"] = "mean"
    smoothing: float = 0.0
    tet_lambda: float = 1e-3
    tet_mean: float = 1.0
    rate_weight: float = 0.0
    rate_lower: float = 0.0
    rate_upper: float = 0.0
    rate_power: Literal[1, 2] = 2
    rate_over: Literal["neuron", "layer"] = "neuron"
    operations_weight: float = 0.0
    operations_target: float | None = None
    mixup: float = 0.0
    mixup_prob: float = 1.0
    mixup_off_epoch: int | None = None
    ema: float = 0.0
    amp: Literal["off", "bf16", "fp16"] = "off"
    dtype: Literal["float32", "float64"] = "float32"
    compile: bool = False
    backend: Literal["auto", "torch", "numba", "cupy"] = "auto"
    pack_spikes: bool = False
    channels_last: bool = False
    cuda_graph: bool = False
    sync_batchnorm: bool = True
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    threads: int | None = None
    checkpoint_steps: int | None = None
    checkpoint_seconds: float | None = 120.0
    monitor_steps: int = 50
    selection: Literal["last", "validation", "as_published"] = "last"
    tensorboard: bool = True
    report: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "threads", "checkpoint_steps"):
            value = getattr(self, name)
            _check(value is None or value >= 1, f"train.{name}", value, ">= 1")
        for name in ("lr", "clip_norm"):
            value = getattr(self, name)
            _check(value is None or 0 < value < float("inf"), f"train.{name}", value, "> 0")
        for name in ("min_lr", "warmup_lr", "weight_decay", "warmup_epochs", "mixup",
                     "cooldown_epochs", "monitor_steps", "checkpoint_seconds", "rate_weight",
                     "rate_lower", "operations_weight"):  # fmt: skip
            value = getattr(self, name)
            _check(value is None or value >= 0, f"train.{name}", value, ">= 0")
        for name in ("smoothing", "ema", "betas"):
            value = getattr(self, name)
            several = value if isinstance(value, tuple) else (value,)
            _check(all(0 <= one < 1 for one in several), f"train.{name}", value, "in [0, 1)")
        fits = self.rate_lower <= self.rate_upper
        _check(fits, "train.rate_upper", self.rate_upper, f">= train.rate_lower={self.rate_lower}")
        target = self.operations_target
        _check(target is None or target > 0, "train.operations_target", target, "> 0")
        is_watched = self.rate_weight > 0 or self.operations_weight > 0
        _check(not (is_watched and self.compile), "train.compile", self.compile,
               "false with train.rate_weight or train.operations_weight")  # fmt: skip
        _check(0 <= self.mixup_prob <= 1, "train.mixup_prob", self.mixup_prob, "in [0, 1]")
        fits = self.warmup_epochs <= self.epochs
        _check(fits, "train.warmup_epochs", self.warmup_epochs, f"<= {self.epochs} epochs")
        shrink = self.delay_shrink
        _check(0 <= shrink <= 1, "train.delay_shrink", shrink, "in [0, 1]")
        for name in self.groups:
            self.of_group(name)

    def of_group(self, name: str) -> "TrainSettings":
        """The settings of the parameters of a group.

        Raises:
            UserError: a setting that groups do not have, or of the wrong type.
        """
        where = f"train.groups.{name}"
        given = self.groups[name]
        if not isinstance(given, Mapping):
            raise UserError(f"{where} must be a group of settings, got {given!r}")
        for key in given:
            if key not in GROUPED:
                raise UserError(f"unknown setting '{where}.{key}'{nearest(str(key), GROUPED)}")
        kept = {key: getattr(self, key) for key in (*GROUPED, "epochs", "rate_changes")}
        try:
            found: TrainSettings = build(TrainSettings, {**kept, **given}, where)
        except UserError as error:
            # A range is refused by the name that it has outside of groups.
            outside = not str(error).startswith(where)
            text = str(error).replace("train.", f"{where}.", 1) if outside else str(error)
            raise UserError(text) from None
        return found

    @property
    def all_epochs(self) -> int:
        """Epochs on the schedule and after it."""
        return self.epochs + self.cooldown_epochs


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    >>> Config.load("nmnist-tiny", ["train.epochs=3", "run.name=short"]).train.epochs
    3
    """

    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    @classmethod
    def load(cls, recipe: str | Path, overrides: Sequence[str] = ()) -> "Config":
        """The settings of a recipe (its name, or the path of a YAML file) with overrides applied.

        Raises:
            UserError: no such recipe or key (the nearest is named), or a value of the wrong type.
        """
        path = recipes.find(recipe)
        tree = parse_yaml(path.read_text(encoding="utf-8"), str(recipe)) or {}
        if not isinstance(tree, dict):
            raise UserError(f"{recipe} must hold the groups run, data, model, train; got {tree!r}")
        for override in overrides:
            assign(tree, override)
        config: Config = build(cls, tree)
        if not config.run.name:
            config = replace(config, run=replace(config.run, name=path.stem))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries of plain YAML and JSON values."""
        return {name: _plain(group) for name, group in asdict(self).items()}

    def save(self, path: str | Path) -> None:
        """Write the YAML file that :meth:`load` reads back."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False)
        write_synced(Path(path), text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
