"""Energy models by name, each a file with its equations and a data file with cited constants."""

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from spikesim.energy.layer import Widths
from spikesim.energy.model import Constant, EnergyModel
from spikesim.energy.models import source
from spikesim.energy.models.chip import chip
from spikesim.energy.models.classical import classical
from spikesim.energy.models.integer import integer
from spikesim.energy.models.lemaire import lemaire
from spikesim.energy.models.step import step
from spikesim.errors import UserError, nearest

__all__ = ["CHIPS", "get", "maker", "names", "several"]

CHIPS = ("loihi", "truenorth", "spinnaker", "spinnaker2")
"""Hardware of which energies of single operations are published."""

MODELS: dict[str, Callable[..., EnergyModel]] = {
    "classical": classical,
    "step": step,
    "lemaire": lemaire,
    "integer": integer,
    **{name: partial(chip, name) for name in CHIPS},
}


def names() -> tuple[str, ...]:
    """Models that there are."""
    return tuple(MODELS)


def get(name: str, *, constants: Mapping[str, float] | None = None, **settings: Any) -> EnergyModel:
    """An energy model.

    Args:
        name: one of :func:`names`.
        constants: values in place of published ones, in their units; they count as certain.
        **settings: of the model; all take ``widths``.

    Raises:
        UserError: unknown model, setting or constant.

    >>> get("classical").constants["mac_float32"].value
    4.6
    """
    make = maker(name)
    known = [key for key in inspect.signature(make).parameters if key != "name"]
    for key in settings:
        if key not in known:
            raise UserError(f"energy model {name!r} has no setting {key!r}{nearest(key, known)}")
    model = make(**settings)
    return model if not constants else _with(model, constants)


def maker(name: str) -> Callable[..., EnergyModel]:
    """What makes an energy model of its settings.

    Raises:
        UserError: unknown model.
    """
    if name not in MODELS:
        raise UserError(f"no energy model {name!r}{_why(name)}; there are: {', '.join(MODELS)}")
    return MODELS[name]


def several(models: Iterable[str | EnergyModel], widths: Widths | None = None) -> list[EnergyModel]:
    """Energy models to stand side by side, those named made with ``widths``.

    Raises:
        UserError: unknown model, or two of one name.
    """
    if isinstance(models, str):
        raise UserError(f"models must be a list, got {models!r}; give [{models!r}]")
    if not isinstance(widths, Widths | None):
        raise UserError(f"widths must be Widths(...), got {widths!r}")
    own: dict[str, Any] = {} if widths is None else {"widths": widths}
    made: dict[str, EnergyModel] = {}
    for one in models:
        model = get(one, **own) if isinstance(one, str) else one
        if not isinstance(model, EnergyModel):
            raise UserError(f"an energy model is a name or a model, got {model!r}")
        if model.name in made:
            raise UserError(
                f"two energy models are named {model.name!r}; leave one out, or give it another "
                "name: dataclasses.replace(model, name=...)"
            )
        made[model.name] = model
    return list(made.values())


def _with(model: EnergyModel, values: Mapping[str, float]) -> EnergyModel:
    changed = dict(model.constants)
    for key, value in values.items():
        if key not in changed:
            missing = nearest(key, list(changed))
            raise UserError(f"energy model {model.name!r} has no constant {key!r}{missing}")
        if not value >= 0.0:
            raise UserError(f"constant {key!r} must be >= 0 {changed[key].unit}, got {value}")
        changed[key] = Constant(value, value, value, changed[key].unit, "given")
    return replace(model, constants=changed)  # type: ignore[type-var]


def _why(name: str) -> str:
    """Why a chip that one might look for is not there."""
    known: dict[str, str] = tomllib.loads(source.text("unpublished.toml"))
    return f": {known[name.lower()]}" if name.lower() in known else ""
