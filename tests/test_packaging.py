"""The mapped folders form one package: in the checkout, and in a wheel installed elsewhere."""

import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "spikesim": "spikesim",
    "neurons": "spikesim.neurons",
    "encoders": "spikesim.encoders",
    "datasets": "spikesim.datasets",
    "kernels": "spikesim.kernels",
}


def found_packages() -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *inside)))
    return found


def test_every_package_is_listed_in_pyproject() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert found_packages() == set(listed)


def test_no_package_in_tests_or_examples() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not list((ROOT / "examples").rglob("__init__.py"))


def test_every_module_imports() -> None:
    # Not pkgutil: the checkout's root is on the package's path, and holds the package again.
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            inside = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *inside)).removesuffix(".__init__")
            if path.name != "__main__.py":
                importlib.import_module(name)


def test_installed_wheel_imports_everything(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel needs setuptools")
    source = tmp_path / "source"
    skip = shutil.ignore_patterns(".git", ".venv", "runs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=skip)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("spikesim-*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    assert (site / "spikesim" / "py.typed").is_file()
    assert list((site / "spikesim" / "recipes").glob("*.yaml"))
    assert list((site / "spikesim" / "datasets" / "embedded").glob("*.zip"))
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import importlib, pkgutil, spikesim\n"
        f"assert spikesim.__file__.startswith({str(site)!r}), spikesim.__file__\n"
        "names = [m.name for m in pkgutil.walk_packages(spikesim.__path__, 'spikesim.')]\n"
        "names = [n for n in names if not n.endswith('__main__')]\n"
        "[importlib.import_module(n) for n in names]\n"
        "print(len(names))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
