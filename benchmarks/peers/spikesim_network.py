"""A recipe of ``spikesim.network.recipes``, or ``plastic_brunel``: ``--recipe NAME key=value ...``.

Compiling is no part of any figure: a small network is built first, and the measured one runs for
20 ms, then goes back to its first state.
"""

import argparse
import ast
import time
from typing import Any

import numpy as np
import peer
from plastic_brunel import plastic_brunel

import spikesim
from spikesim.network.network import Network
from spikesim.network.population import Population
from spikesim.network.probe import SpikeProbe
from spikesim.network.recipes import RECIPES

NETWORKS = RECIPES | {"plastic_brunel": plastic_brunel}
WARM_UP_MS = 20.0
SMALL = 0.05


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--recipe", required=True, choices=tuple(NETWORKS))
    options.add_argument("keys", nargs="*", metavar="key=value")
    chosen = options.parse_args()
    keys = {name: ast.literal_eval(value) for name, value in (k.split("=") for k in chosen.keys)}
    scale = chosen.scale * keys.pop("scale", 1.0)
    build(chosen, keys | {"scale": scale * min(SMALL / chosen.scale, 1.0)})
    start = time.perf_counter()
    net, probes = build(chosen, keys | {"scale": scale})
    build_s = time.perf_counter() - start
    first = net.state_dict()
    net.run(WARM_UP_MS)
    net.load_state_dict(first)
    begun, cpu = time.perf_counter(), time.process_time()
    net.run(chosen.ms)
    cpu_s, run_s = time.process_time() - cpu, time.perf_counter() - begun
    offsets = np.cumsum([0, *(len(probe.group) for probe in probes)])
    peer.finish(
        chosen,
        network=" ".join([chosen.recipe, *chosen.keys]),
        simulator="spikesim",
        version=spikesim.__version__,
        neurons=net.neurons,
        synapses=net.synapses,
        times=np.concatenate([probe.times for probe in probes]),
        senders=np.concatenate([p.senders + o for p, o in zip(probes, offsets, strict=False)]),
        dtype=str(net.dtype),
        build_s=build_s,
        run_s=run_s,
        cpu_s=cpu_s,
    )


def build(chosen: argparse.Namespace, keys: dict[str, Any]) -> tuple[Network, list[SpikeProbe]]:
    """A network that is ready to run, all neurons recorded."""
    net = NETWORKS[chosen.recipe](**keys, seed=chosen.seed, threads=chosen.threads)
    probes = [net.probe(group, "spikes") for group in net.groups if isinstance(group, Population)]
    net.run(0.0)
    return net, probes


if __name__ == "__main__":
    main()
