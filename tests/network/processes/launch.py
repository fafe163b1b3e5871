"""Run every ``work_...`` of some test files in one process of 2, and of 3: ``FOLDER FILE...``.

Each is called in each process with the folder and the processes; what it returns is kept in
``FOLDER/<many>-<rank>.pickle`` under its name, for the tests to look at.
"""

import importlib.util
import multiprocessing
import os
import pickle
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from several import MANY, all_recorded, everything, learning

from spikesim.errors import Stopped
from spikesim.network import distributed

Work = Callable[..., Any]


def works(files: list[str]) -> dict[str, Work]:
    """What processes do, in order; after ``work_lost`` there is one process less."""
    found: dict[str, Work] = {}
    for file in sorted(files):
        spec = importlib.util.spec_from_file_location(Path(file).stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {name: work for name, work in vars(module).items() if name.startswith("work_")}
    return dict(sorted(found.items(), key=lambda item: item[0] == "work_lost"))


def work_of(folder: Path, rank: int, many: int, port: int, works: dict[str, Work]) -> None:
    """The life of a process, which would be started by ``torchrun``."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(many)}
    found = {}

    def keep(name: str, result: Any) -> None:
        found[name] = result
        (folder / f"{many}-{rank}.pickle").write_bytes(pickle.dumps(found))

    try:
        with distributed(timeout=120.0) as world:
            for name, work in works.items():
                keep(name, work(folder, world))
    except Stopped as error:
        keep("end", str(error))


def main(folder: Path, files: list[str]) -> None:
    """One process, then several, which find all kernels compiled and loaded."""
    (folder / "one.pickle").write_bytes(pickle.dumps(all_recorded()))
    net = everything()
    net.run(23.3)
    np.savez(folder / "one.npz", **net.state_dict())  # type: ignore[arg-type]
    learning().run(0.1)
    todo, fork = works(files), multiprocessing.get_context("fork")
    last = 3 if "work_lost" in todo else 0
    for many in MANY:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        each = [
            fork.Process(target=work_of, args=(folder, rank, many, port, todo))
            for rank in range(many)
        ]
        for process in each:
            process.start()
        for process in each:
            process.join()
        assert [process.exitcode for process in each] == [0] * (many - 1) + [last]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
