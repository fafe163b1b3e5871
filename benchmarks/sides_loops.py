"""The neurons of snnTorch and Norse, which run one step at a time, in a Python loop."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from side import BETA, TAU, TAU_ADAPTATION, TAU_SYNAPSE, Layer, Side, fraction
from torch import Tensor


def _snntorch(
    cell_name: str, decays: dict[str, float], device: torch.device, dtype: torch.dtype
) -> Layer:
    import snntorch
    from snntorch import surrogate

    # "zero": a hard reset, one step later, as by default.
    atan = surrogate.atan(alpha=2.0)
    cell = getattr(snntorch, cell_name)(**decays, spike_grad=atan, reset_mechanism="zero")
    cell = cell.to(device, dtype)

    def run(x: Tensor) -> Tensor:
        state, spikes = tuple(torch.zeros_like(x[0]) for _ in decays), []
        for inputs in x.unbind(0):
            s, *state = cell(inputs, *state)
            spikes.append(s)
        return torch.stack(spikes)

    return run


def _norse(
    parts: Callable[[Callable[[float], Tensor]], tuple[Any, Any, Any, tuple[float, ...]]],
    device: torch.device,
    dtype: torch.dtype,
) -> Layer:
    step, p, state_type, start = parts(partial(torch.tensor, device=device))

    def run(x: Tensor) -> Tensor:
        state = state_type(*(torch.full_like(x[0], value) for value in start))
        spikes = []
        for inputs in x.unbind(0):
            s, state = step(inputs, state, p, 1.0)
            spikes.append(s)
        return torch.stack(spikes)

    return run


def _lif(number: Callable[[float], Tensor]) -> tuple[Any, Any, Any, tuple[float, ...]]:
    from norse.torch.functional import lif_box

    p = lif_box.LIFBoxParameters(
        tau_mem_inv=number(1.0 / TAU),
        v_leak=number(0.0),
        v_th=number(1.0),
        v_reset=number(0.0),
    )
    return lif_box.lif_box_feed_forward_step, p, lif_box.LIFBoxFeedForwardState, (0.0,)


def _cuba(number: Callable[[float], Tensor]) -> tuple[Any, Any, Any, tuple[float, ...]]:
    from norse.torch.functional import lif

    p = lif.LIFParameters(
        tau_syn_inv=number(fraction(TAU_SYNAPSE)),
        tau_mem_inv=number(fraction(TAU)),
        v_leak=number(0.0),
        v_th=number(1.0),
        v_reset=number(0.0),
    )
    return lif.lif_feed_forward_step, p, lif.LIFFeedForwardState, (0.0, 0.0)


def _alif(number: Callable[[float], Tensor]) -> tuple[Any, Any, Any, tuple[float, ...]]:
    from norse.torch.functional import lsnn

    p = lsnn.LSNNParameters(
        tau_syn_inv=number(1.0),
        tau_mem_inv=number(fraction(TAU)),
        tau_adapt_inv=number(fraction(TAU_ADAPTATION)),
        v_leak=number(0.0),
        v_th=number(1.0),
        v_reset=number(0.0),
        beta=number(BETA),
    )
    return lsnn.lsnn_feed_forward_step, p, lsnn.LSNNFeedForwardState, (0.0, 0.0, 0.0)


def _izhikevich(number: Callable[[float], Tensor]) -> tuple[Any, Any, Any, tuple[float, ...]]:
    from norse.torch.functional import izhikevich

    p = izhikevich.IzhikevichParameters(a=0.02, b=0.2, c=-65.0, d=8.0, tau_inv=1.0)
    step = izhikevich.izhikevich_feed_forward_step
    return step, p, izhikevich.IzhikevichState, (-65.0, -13.0)


SUPER = "surrogate SuperSpike"
SIDES: dict[str, list[Side]] = {
    "LIF": [
        Side(
            "snnTorch",
            "Leaky",
            partial(_snntorch, "Leaky", {"beta": 1.0 - 1.0 / TAU}),
            note="input not scaled by 1/tau",
        ),
        Side("Norse", "LIFBox", partial(_norse, _lif), note=SUPER),
    ],
    "CUBALIF": [
        Side(
            "snnTorch",
            "Synaptic",
            partial(
                _snntorch,
                "Synaptic",
                {"alpha": 1.0 - fraction(TAU_SYNAPSE), "beta": 1.0 - fraction(TAU)},
            ),
        ),
        Side("Norse", "LIF", partial(_norse, _cuba), note=SUPER),
    ],
    "ALIF": [
        Side("Norse", "LSNN", partial(_norse, _alif), note=f"{SUPER}, a synaptic current more")
    ],
    "Izhikevich": [
        Side(
            "Norse",
            "Izhikevich",
            partial(_norse, _izhikevich),
            drive=(10.0, 10.0),
            note=f"{SUPER}, one Euler step",
        )
    ],
}
