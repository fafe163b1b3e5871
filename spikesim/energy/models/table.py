"""All constants and all checks against chips as tables in Markdown, for the documentation.

``python -m spikesim.energy.models.table docs/energy-models.md`` writes them between their marks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from spikesim.energy.models import CHIPS, source
from spikesim.energy.models.measured import networks

FILES = ("operations", "step", "lemaire", *CHIPS)
HEADS = {
    "constants": "| constant | value | range | unit | source |\n|---|---|---|---|---|",
    "chips": "| network | measured | computed | error | note |\n|---|---|---|---|---|",
}


def constants() -> str:
    """One line for each constant of each file and variant."""
    return "\n".join([HEADS["constants"], *_lines()])


def chips() -> str:
    """One line for each network that was measured."""
    lines = [
        f"| {found.name} | {found.measured:.4g} {found.unit} | {found.computed:.4g} | "
        f"{found.error:+.1%} | {found.note}. {found.source} |"
        for found in networks()
    ]
    return "\n".join([HEADS["chips"], *lines])


def written(page: str) -> str:
    """The page with current tables between ``<!-- NAME -->`` and ``<!-- end -->``."""
    for name, table in (("constants", constants()), ("chips", chips())):
        before, _, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("\n<!-- end -->")
        page = f"{before}<!-- {name} -->\n{table}{end}{after}"
    return page


def _lines() -> Iterator[str]:
    for file in FILES:
        known = source.read(file)
        tables = {"": known.constants, **known.variants}
        for variant, found in tables.items():
            place = f"{file} ({variant})" if variant else file
            for name, constant in found.items():
                yield (
                    f"| `{place}.{name}` | {constant.value:g} | "
                    f"{constant.low:g} to {constant.high:g} | {constant.unit} | "
                    f"{constant.source} |"
                )


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
