"""Brunel's balanced network: asynchronous irregular firing, and the rate that theory predicts.

10,000 excitatory and 2,500 inhibitory neurons, 15.6 million synapses and 0.5 s by default. The mean
rate is printed beside the self-consistent rate of a diffusion (Siegert) approximation.

    python examples/brunel.py [--g 5] [--eta 2] [--ms 500] [--threads 1] [--picture brunel.png]

Reference: Brunel (2000), *Dynamics of sparsely connected networks of excitatory and inhibitory
spiking neurons*, J. Comput. Neurosci. 8:183, model A; figure 8C is g = 5, eta = 2.
"""

import argparse
import math
import time

import numpy as np

from spikesim.network import FixedIndegree, Network, SpikeProbe, correlation, cv_isi
from spikesim.neurons import LIFDelta

EXCITATORY, INHIBITORY, SHARE = 10_000, 2_500, 0.1
TAU, THRESHOLD, RESET, REFRACTORY = 20.0, 20.0, 10.0, 2.0
J, DELAY = 0.1, 1.5


def build(g: float, eta: float, threads: int) -> tuple[Network, SpikeProbe]:
    """The network, and a probe of its excitatory spikes."""
    net = Network(dt=0.1, seed=1, threads=threads)
    neuron = LIFDelta(TAU, e_l=0.0, v_threshold=THRESHOLD, v_reset=RESET, t_ref=REFRACTORY)
    exc = net.population(neuron, EXCITATORY, name="excitatory")
    inh = net.population(neuron, INHIBITORY, name="inhibitory")
    for post in (exc, inh):
        net.connect(exc, post, FixedIndegree(int(SHARE * EXCITATORY)), weight=J, delay=DELAY)
        net.connect(inh, post, FixedIndegree(int(SHARE * INHIBITORY)), weight=-g * J, delay=DELAY)
        net.poisson(post, rate=eta * THRESHOLD / (J * TAU) * 1e3, weight=J)
    net.probe(inh, "spikes", neurons=np.arange(50))
    return net, net.probe(exc, "spikes", neurons=np.arange(200))


def siegert(mean: float, deviation: float) -> float:
    """Rate in Hz of a neuron whose free potential has this mean and standard deviation, mV."""
    y = np.linspace(RESET - mean, THRESHOLD - mean, 2001) / (math.sqrt(2.0) * deviation)
    integrand = np.array([math.exp(u * u) * math.erfc(-u) for u in y])
    integral = float(((integrand[1:] + integrand[:-1]) / 2 * np.diff(y)).sum())
    return 1e3 / (REFRACTORY + TAU * math.sqrt(math.pi) * integral)


def predicted(g: float, eta: float) -> float:
    """The rate, Hz, that gives itself, by halving."""
    inputs = SHARE * EXCITATORY
    low, high = 0.0, 1e3 / REFRACTORY
    for _ in range(60):
        rate = (low + high) / 2
        drive = eta * THRESHOLD / (J * TAU) * 1e3
        mean = TAU * 1e-3 * J * (drive + inputs * rate * (1 - g / 4))
        variance = TAU * 1e-3 / 2 * J**2 * (drive + inputs * rate * (1 + g**2 / 4))
        low, high = (rate, high) if siegert(mean, math.sqrt(variance)) > rate else (low, rate)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--g", type=float, default=5.0, help="inhibitory over excitatory weight")
    parser.add_argument("--eta", type=float, default=2.0, help="drive over the drive to threshold")
    parser.add_argument("--ms", type=float, default=500.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", default="brunel.png")
    options = parser.parse_args()

    began = time.perf_counter()
    net, probe = build(options.g, options.eta, options.threads)
    net.run(100.0)  # the transient
    probe.clear()
    built = time.perf_counter()
    net.run(options.ms, progress=True)
    spent = time.perf_counter() - built

    net.plot(max(net.time - 200.0, 100.0)).savefig(options.picture, dpi=120)
    print(f"{net.neurons:,} neurons, {net.synapses:,} synapses, built in {built - began:.1f} s, "
          f"{options.ms:.0f} ms in {spent:.2f} s")  # fmt: skip
    print(f"rate {probe.rate:.1f} Hz, predicted {predicted(options.g, options.eta):.1f} Hz; "
          f"CV of intervals {np.nanmean(cv_isi(probe)):.2f}, "
          f"correlation {correlation(probe).mean():.4f}; picture: {options.picture}")  # fmt: skip


if __name__ == "__main__":
    main()
