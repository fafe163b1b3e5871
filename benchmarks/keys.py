"""Command lines of ``KEY=VALUE``."""

import argparse
from pathlib import Path
from typing import Any


def parse(doc: str | None, defaults: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
    """What is given over ``defaults``, each of its default's type, and where to keep the JSON.

    Raises:
        SystemExit: a key that is not among ``defaults``, or a value of another type.
    """
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("keys", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--out", type=Path, help="keep the JSON here")
    given = options.parse_args()
    keys = dict(defaults)
    for text in given.keys:
        key, _, value = text.partition("=")
        if key not in defaults:
            raise SystemExit(f"unknown key {key!r}; there are {', '.join(defaults)}")
        try:
            keys[key] = type(defaults[key])(value)
        except ValueError:
            raise SystemExit(f"{key} is no {type(defaults[key]).__name__}: {value!r}") from None
    return keys, given.out
