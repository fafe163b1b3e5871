"""Constants as they lie in the data files beside this module: value, range, unit and citation."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from spikesim.energy.model import Constant
from spikesim.errors import UserError, nearest


@dataclass(frozen=True)
class Source:
    """What a file says.

    Attributes:
        title: one line for a table's head.
        constants: by name.
        variants: what is published beside them and contradicts them, by name of the variant.
    """

    title: str
    constants: Mapping[str, Constant]
    variants: Mapping[str, Mapping[str, Constant]]

    def variant(self, name: str) -> dict[str, Constant]:
        """Constants with those of a variant in their place; of no variant if ``name`` is empty.

        Raises:
            UserError: there is none of that name.
        """
        if name and name not in self.variants:
            known = nearest(name, list(self.variants)) if self.variants else "; there are none"
            raise UserError(f"no variant {name!r}{known}")
        return {**self.constants, **self.variants.get(name, {})}


@cache
def read(name: str) -> Source:
    """A file of constants, by its name without ending."""
    data = tomllib.loads(text(f"{name}.toml"))

    def constants(table: Mapping[str, Mapping[str, float | str]]) -> dict[str, Constant]:
        return {key: Constant(**line) for key, line in table.items()}  # type: ignore[arg-type]

    variants = {key: constants(table) for key, table in data.get("variants", {}).items()}
    return Source(data["title"], constants(data["constants"]), variants)


def text(file: str) -> str:
    """The contents of a data file of this package."""
    return files("spikesim.energy.models").joinpath(file).read_text(encoding="utf-8")
