"""Networks on several processes: ``launch.py`` runs the ``work_...`` functions of the test files.

All of them in one go, as processes take long to start.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from several import MANY, Results

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all the processes leave, of the files whose tests were asked for."""
    folder = tmp_path_factory.mktemp("processes")
    files = sorted({str(i.path) for i in request.session.items if i.path.parent == HERE})
    here = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / "launch.py"), str(folder), *files]
    both = subprocess.STDOUT
    ran = subprocess.run(
        command, env=os.environ | here, text=True, stdout=subprocess.PIPE, stderr=both, timeout=300
    )
    assert ran.returncode == 0, ran.stdout
    return folder


@pytest.fixture(scope="session")
def one(folder: Path) -> dict[str, Results]:
    """What one process records of each network, without :func:`distributed`."""
    found: dict[str, Results] = pickle.loads((folder / "one.pickle").read_bytes())
    return found


@pytest.fixture(scope="session")
def found(folder: Path) -> dict[tuple[int, int], Results]:
    """What each process of two and of three found, by their number and its own."""
    places = [(many, rank) for many in MANY for rank in range(many)]
    return {
        (many, rank): pickle.loads((folder / f"{many}-{rank}.pickle").read_bytes())
        for many, rank in places
    }
