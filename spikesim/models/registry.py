"""Models by name: what exists, what was published, and how to build one."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from numbers import Real
from typing import Any

from spikesim.errors import UserError, nearest
from spikesim.models.base import Model, SpikingModel, Task
from spikesim.models.presets import MODELS

_MODELS = {model.name: model for model in MODELS}


def names() -> tuple[str, ...]:
    """The models that :func:`create` knows."""
    return tuple(_MODELS)


def info(name: str) -> Model:
    """Sizes, presets with their parameter counts, and source of a model.

    Raises:
        UserError: no such model.

    >>> info("sdt").parameters("cifar10dvs")
    2566666
    """
    if name not in _MODELS:
        raise UserError(f"no model {name!r}{nearest(name, names())}")
    return _MODELS[name]


def create(
    name: str,
    *,
    num_classes: int,
    steps: int,
    in_channels: int | None = None,
    image_size: int | Sequence[int] | None = None,
    preset: str | None = None,
    **sizes: Any,
) -> SpikingModel:
    """A model with fresh weights.

    Args:
        name: one of :func:`names`.
        num_classes: classes ``K``.
        steps: time steps ``T``.
        in_channels: input channels ``P``; the preset's where not given, else 2 (polarities).
        image_size: pixels, one number or ``(H, W)``; the preset's where not given, else 128.
        preset: published (or ``"tiny"``) sizes to start from; see :func:`info`.
        sizes: fields of the model's sizes, such as ``dim=256, depth=2, neuron="plif"``; each
            replaces the preset's.

    Shape: the model maps ``[T, B, P, H, W]`` to class values of each step ``[T, B, K]``.

    Raises:
        UserError: an unknown name, preset or size (the nearest one is suggested), or sizes that do
            not fit together.

    >>> import torch
    >>> model = create("sdt", preset="tiny", num_classes=10, steps=5, image_size=34)
    >>> model(torch.zeros(5, 1, 2, 34, 34)).shape
    torch.Size([5, 1, 10])
    """
    chosen = sizes_of(name, preset, sizes)
    task = Task(num_classes, steps) if preset is None else info(name).presets[preset].task
    task = Task(
        num_classes=num_classes,
        steps=steps,
        in_channels=task.in_channels if in_channels is None else in_channels,
        image_size=task.image_size if image_size is None else _pair(image_size),
    )
    return info(name).build(chosen, task)


def sizes_of(name: str, preset: str | None, sizes: Mapping[str, Any]) -> Any:
    """The sizes of a model: those of its preset, or the defaults, with these in their place.

    Raises:
        UserError: an unknown name, preset or size, or a size of the wrong type.
    """
    model = info(name)
    known = tuple(field.name for field in fields(model.sizes))
    for key in sizes:
        if key not in known:
            raise UserError(f"model {name!r} has no size {key!r}{nearest(key, known)}")
    defaults = {field.name: field.default for field in fields(model.sizes)}
    typed = {key: _typed(key, value, defaults[key]) for key, value in sizes.items()}
    if preset is None:
        return model.sizes(**typed)
    if not isinstance(preset, str) or preset not in model.presets:
        raise UserError(
            f"model {name!r} has no preset {preset!r}{nearest(preset, tuple(model.presets))}"
        )
    return replace(model.presets[preset].sizes, **typed)


def _typed(key: str, value: Any, default: Any) -> Any:
    """A size in the type of its default; a whole number serves as text, too (``hidden=64``)."""
    kind, is_number = type(default), isinstance(value, Real) and not isinstance(value, bool)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    if kind is str and callable(value):
        return value  # makes neurons
    if kind is float and is_number:
        return float(value)
    if kind is not bool and is_number and float(value).is_integer():
        return kind(int(value))
    wish = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
    raise UserError(f"{key} must be {wish}, got {value!r}")


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2:
        raise UserError(f"image_size must be one number or (H, W), got {size}")
    return sides[0], sides[1]
