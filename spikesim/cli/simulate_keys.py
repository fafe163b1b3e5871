"""The keys of a function, ``key=value``, from its signature; of recipes from its docstring too."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

from spikesim.errors import UserError, nearest
from spikesim.network.network import Network
from spikesim.network.recipes import RECIPES
from spikesim.train.typed import build, parse_yaml


@dataclass(frozen=True)
class Key:
    """A setting: its type, what it is when it is not given, and what it means."""

    hint: Any
    default: Any
    about: str

    @property
    def values(self) -> str:
        """What may be given, in words."""
        return _words(self.hint)


def recipe_named(name: str | None) -> Callable[..., Any]:
    """A function of :data:`spikesim.network.recipes.RECIPES`.

    Raises:
        UserError: no name, or an unknown one; the nearest is suggested.
    """
    if name is None:
        raise UserError(f"name a network: {', '.join(RECIPES)}; --list says what they are")
    if name not in RECIPES:
        raise UserError(f"there is no network {name!r}{nearest(name, list(RECIPES))}")
    return RECIPES[name]


def summary(recipe: Callable[..., Any]) -> str:
    """The first sentence of a docstring, without markup."""
    return _plain(inspect.getdoc(recipe) or "").split("\n\n")[0].replace("\n", " ")


def keys_of(recipe: Callable[..., Any]) -> dict[str, Key]:
    """All keys of a recipe, in the order of its signature."""
    hints, about = get_type_hints(recipe), _arguments(recipe) | _arguments(Network)
    parameters = inspect.signature(recipe).parameters
    return {name: Key(hints[name], p.default, about[name]) for name, p in parameters.items()}


def settings(function: Callable[..., Any], overrides: Sequence[str]) -> dict[str, Any]:
    """All keys with their values; those given as ``key=value`` are YAML of the key's type.

    Raises:
        UserError: no ``=``, an unknown key, one given twice, or a value of another type.

    >>> settings(RECIPES["brunel"], ["scale=0.1", "regime=SR"])["regime"]
    'SR'
    """
    given: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(f"{override!r} is no setting; write key=value, for example seed=1")
        if key in given:
            raise UserError(f"{key} is given twice; give one value")
        given[key] = parse_yaml(text, f"the value of {key}")
    hints = get_type_hints(function.func if isinstance(function, partial) else function)
    keys = inspect.signature(function).parameters
    fields = [(name, hints[name], field(default=key.default)) for name, key in keys.items()]
    checked = build(make_dataclass("Settings", fields), given)
    return {name: getattr(checked, name) for name in keys}


def _arguments(documented: object) -> dict[str, str]:
    """Name -> text, from the section ``Args`` of a docstring; one entry may name several."""
    doc = f"{inspect.getdoc(documented)}\n"
    section = re.search(r"^Args:\n((?: {4}.*\n|\n)+)", doc, re.MULTILINE)
    entries = re.split(r"^ {4}(?=\S)", section[1] if section else "", flags=re.MULTILINE)
    about: dict[str, str] = {}
    for entry in entries[1:]:
        names, _, text = entry.partition(": ")
        about |= dict.fromkeys(names.split(", "), " ".join(_plain(text).split()))
    return about


def _plain(text: str) -> str:
    """Text without the markup of docstrings."""
    return re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", lambda m: m[1] or m[2], text)


def _words(hint: Any) -> str:
    inside = get_args(hint)
    if get_origin(hint) is Literal:
        return " | ".join(map(str, inside))
    if get_origin(hint) is tuple:
        return f"[{', '.join(map(_words, inside))}]"
    if inside:
        return " | ".join(map(_words, inside))
    return {int: "whole number", float: "number", type(None): "null"}.get(hint, "text")
