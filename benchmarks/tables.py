"""The README of this folder, made from the JSON files in ``results/``.

    python benchmarks/tables.py > benchmarks/README.md

No figure in it is written by hand.
"""

import json
from pathlib import Path
from typing import Any

from tables_delays import delays
from tables_energy import energy
from tables_memory import memory
from tables_microcircuit import beside_nest, microcircuit, several
from tables_neurons import neurons_on_cpu, neurons_on_gpu
from tables_plastic import plastic
from tables_simulators import simulators
from tables_step import training_step

HERE = Path(__file__).parent
HEAD = """\
# Benchmarks

This file is printed by `python benchmarks/tables.py` from the JSON in `results/`, which holds more:
every way that was tried, spreads, firing rates, versions and settings.

| script | what | results |
|---|---|---|
| `neurons.py` | one layer, forward and backward | `neurons_h200.json`, `neurons_cpu.json` |
| `memory.py` | what a layer needs beyond input, output and their gradients | `memory_h200.json` |
| `training_step.py` | a whole training step of Spikformer 2-256 | `training_step_h200.json` |
| `energy.py` | counting operations, joules of a training step | `energy_h200.json` |
| `delays.py` | synapses with delays, beside dense convolutions | `delays_*.json` |
| `attention.py` | the products of spikes in attention | `attention_h200.json` |
| `simulators.py` | whole networks beside NEST and Brian2 | `simulators_cpu.json` |
| `microcircuit_gpu.py` | a cortical microcircuit, and eight at once | `microcircuit_h200*.json` |
| `microcircuit_statistics.py` | its spikes beside NEST's | `microcircuit_h200_statistics.json` |
| `several_gpus.py` | networks divided among GPUs | `several_h200.json` |
| `plastic_gpu.py` | Brunel's network, static and with STDP | `plastic_h200.json` |
| `event_loading.py` | recordings to batches | `event_loading_nmnist.json` |
| `model_h200.py` | the CIFAR10-DVS model, plain torch reference | `model_h200.json` |

All but the last seven take `--device cpu --quick` to see that they run (`simulators.py --quick`),
and `--out FILE` for the JSON, which the same command again completes where a run was cut. The
peers: `pip install --no-deps -r requirements-peers.txt`; NEST and Brian2 each in an environment of
its own, `requirements-nest.txt` and `requirements-brian.txt` of this folder. A ratio is one of two
figures of the same run: figures of different files are not to be divided by each other.
"""


def readme(results: Path = HERE / "results") -> str:
    """The whole file."""
    parts = [
        HEAD,
        *neurons_on_gpu(read(results, "neurons_h200")),
        *neurons_on_cpu(read(results, "neurons_cpu")),
        *memory(read(results, "memory_h200")),
        *delays(read(results, "delays_h200"), read(results, "delays_cpu")),
        *training_step(read(results, "training_step_h200")),
        *energy(read(results, "energy_h200")),
        *simulators(read(results, "simulators_cpu")),
        *microcircuit(
            read(results, "microcircuit_h200"), read(results, "microcircuit_h200_batch8")
        ),
        *beside_nest(read(results, "microcircuit_h200_statistics")),
        *plastic(read(results, "plastic_h200")),
        *several(read(results, "several_h200")),
    ]
    return "\n".join(parts)


def read(results: Path, name: str) -> dict[str, Any] | None:
    """One file of results, if it is there."""
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    print(readme(), end="")
