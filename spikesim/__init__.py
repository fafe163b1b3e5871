"""spikesim: spiking neural networks that train, simulate and report what they cost."""

from pathlib import Path

# In a source checkout the subpackages sit beside this folder (see package-dir in pyproject.toml).
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))

__version__ = "0.1.0"
