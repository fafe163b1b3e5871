"""Scripts that are told ``KEY=VALUE`` and keep a JSON."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keep
import machine
import torch


def report(
    doc: str | None,
    name: str,
    defaults: dict[str, Any],
    measured: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Measure with the keys of the command line, print, and keep.

    Args:
        doc: of the script, whose first line is its description.
        name: of the benchmark.
        defaults: of the keys, ``device`` among them.
        measured: gives the figures for all keys.
    """
    given, out = parse(doc, defaults)
    figures = measured(given)
    device = torch.device(given["device"])
    found = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": device.type,
        "machine": machine.describe(device),
        "versions": machine.versions(),
        **figures,
    }
    keep.save(found, out)
    print(json.dumps(found, indent=1))


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
