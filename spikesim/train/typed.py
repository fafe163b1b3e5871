"""YAML text to frozen dataclasses: every value is checked against the type of its field.

A wrong key or value raises :class:`~spikesim.errors.UserError` with key, value and wish.
"""

import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from spikesim.errors import UserError, nearest

_SCALARS = {
    "bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    "float": (
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
}


class _Loader(yaml.SafeLoader):
    """Scalars of YAML 1.2: ``1e-3`` is a number, ``off`` and ``0011`` are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if tag.rpartition(":")[2] not in _SCALARS]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, (_form, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_form), list(_first))


def parse_yaml(text: str, source: str) -> Any:
    """The content of YAML text; ``source`` names it in an error.

    >>> parse_yaml("lr: 1e-3", "an example")
    {'lr': 0.001}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from error


def assign(tree: dict[str, Any], override: str) -> None:
    """Put one ``group.key=value`` into a nested dictionary."""
    path, equals, text = override.partition("=")
    *groups, key = path.strip().split(".")
    if not equals or not groups or not key:
        raise UserError(
            f"{override!r} is no setting; write group.key=value, for example train.lr=1e-3"
        )
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise UserError(f"{path}: {group!r} is one value and has no settings inside")
    tree[key] = parse_yaml(text, f"the value of {path}")


def build(kind: Any, values: Any, path: str = "") -> Any:
    """A dataclass from a nested dictionary; missing keys take their defaults."""
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise UserError(f"{path or 'the file'} must hold settings (key: value), got {values!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    given: dict[str, Any] = {}
    for key, value in values.items():
        full = f"{path}.{key}" if path else str(key)
        if key not in names:
            raise UserError(f"unknown setting {full!r}{_suggest(path, str(key), names)}")
        hint = hints[key]
        given[key] = build(hint, value, full) if is_dataclass(hint) else _convert(value, hint, full)
    return kind(**given)


def _suggest(path: str, key: str, names: list[str]) -> str:
    prefix = f"{path}." if path else ""
    return nearest(prefix + key, [prefix + name for name in names])


def _convert(value: Any, hint: Any, path: str) -> Any:
    """``value`` as the type ``hint``, or a :class:`UserError`."""
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for choice in choices:
        fits, converted = _fit(value, choice)
        if fits:
            return converted
    wish = " or ".join(_wish(choice) for choice in choices)
    raise UserError(f"{path} must be {wish}, got {value!r}")


def _fit(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether ``value`` is of the type ``hint``, and the value in that type."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inside, value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False, None
        if inside[-1] is Ellipsis:
            inside = inside[:1] * len(value)
        if len(value) != len(inside):
            return False, None
        parts = [_fit(item, part) for item, part in zip(value, inside, strict=True)]
        return all(fits for fits, _ in parts), tuple(item for _, item in parts)
    if origin is Mapping:
        return isinstance(value, Mapping), dict(value) if isinstance(value, Mapping) else None
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else None
    if hint is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool), int(value) if whole else None
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return True, str(value)  # run.name=3 is a name
    return isinstance(value, hint), value


def _wish(hint: Any) -> str:
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inside))
    if origin is tuple:
        parts = ["..." if part is Ellipsis else _wish(part) for part in inside]
        return "a list [" + ", ".join(parts) + "]"
    if origin is Mapping:
        return "a group of settings"
    words = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        types.NoneType: "null",
    }
    return words[hint]
