"""The recipes that come with the package: ``spikesim/recipes/<name>.yaml``."""

from pathlib import Path

from spikesim.errors import UserError, nearest

DEFAULT = "nmnist-tiny"
FOLDER = Path(__file__).resolve().parent.parent / "recipes"


def names() -> tuple[str, ...]:
    """Names of all recipes, sorted.

    >>> DEFAULT in names()
    True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def find(recipe: str | Path) -> Path:
    """The YAML file of a recipe: a known name, or the path of a file.

    Raises:
        UserError: neither; the nearest name is suggested.
    """
    if str(recipe) in names():
        return FOLDER / f"{recipe}.yaml"
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise UserError(f"there is no file {path}; name a recipe or an existing YAML file")
    raise UserError(f"unknown recipe {str(recipe)!r}{nearest(str(recipe), names())}")


def summary(name: str) -> str:
    """The first comment line of a recipe: what it trains, in one sentence."""
    return find(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
