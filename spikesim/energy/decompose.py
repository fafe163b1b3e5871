r"""Layers that torch runs as one operation, in the products that they are made of.

.. math::
    \text{RNN}: \quad h' &= f(W_{ih} x + b_{ih} + W_{hh} h + b_{hh}) \\
    \text{LSTM}: \quad (i, f, g, o) &= W_{ih} x + b_{ih} + W_{hh} h + b_{hh}, \quad
    c' = \sigma(f) c + \sigma(i) \tanh g, \quad h' = W_{hr} [\sigma(o) \tanh c'] \\
    \text{GRU}: \quad (r, z, n) &= W_{ih} x + b_{ih}, \; (r', z', n') = W_{hh} h + b_{hh}, \quad
    \tilde n = \tanh(n + \sigma(r + r') n'), \quad h' = \tilde n + \sigma(z + z') (h - \tilde n) \\
    \text{Bilinear}: \quad y_o &= \sum_j \Big( \sum_i x_i W_{oij} \Big) z_j + b_o

They are the equations of torch's documentation of these layers, step by step, and give its numbers.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

State: TypeAlias = tuple[Tensor, ...]
"""``h`` ``[B, hidden]``, and ``c`` of an LSTM."""

Cell: TypeAlias = Callable[..., State]
"""One step: ``x`` ``[B, F]``, a state and weights to the next state.

Weights are in torch's order: ``W_ih``, ``W_hh``, perhaps ``b_ih`` and ``b_hh``.
"""


def rnn_cell(function: Callable[[Tensor], Tensor], x: Tensor, state: State, *w: Tensor) -> State:
    """One step of an RNN."""
    (h,) = state
    return (function(_linear(x, w[0::2]) + _linear(h, w[1::2])),)


def gru_cell(x: Tensor, state: State, *w: Tensor) -> State:
    """One step of a GRU."""
    (h,) = state
    r, z, n = _linear(x, w[0::2]).chunk(3, -1)
    r_h, z_h, n_h = _linear(h, w[1::2]).chunk(3, -1)
    new = torch.tanh(n + torch.sigmoid(r + r_h) * n_h)
    return (new + torch.sigmoid(z + z_h) * (h - new),)


def lstm_cell(x: Tensor, state: State, *w: Tensor) -> State:
    """One step of an LSTM, whose last weight, if their number is odd, projects ``h``."""
    h, c = state
    w, projection = (w[:-1], w[-1]) if len(w) % 2 else (w, None)
    i, f, g, o = (_linear(x, w[0::2]) + _linear(h, w[1::2])).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h if projection is None else F.linear(h, projection), c


def _linear(x: Tensor, w: Sequence[Tensor]) -> Tensor:
    """By a weight and perhaps a bias."""
    return F.linear(x, *w)


def _step(cell: Cell, x: Tensor, hx: Tensor | State, *w: Tensor | None) -> Any:
    """``torch.lstm_cell`` and its like."""
    given = tuple(one for one in w if one is not None)
    found = cell(x, (hx,) if isinstance(hx, Tensor) else tuple(hx), *given)
    return found[0] if isinstance(hx, Tensor) else found


def _sequence(cell: Cell, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """``torch.lstm`` and its like, which also take what is packed."""
    args, is_packed = list(given), isinstance(given[2], list | tuple)
    batch_first = not is_packed and args.pop()
    steps: Sequence[Tensor] = (
        torch.split(x, args.pop(0).tolist()) if is_packed else x.unbind(int(batch_first))
    )
    hx, weights, _, layers, dropout, train, both_ways = args
    first = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    ways = 2 if both_ways else 1
    number = len(weights) // (layers * ways)
    last: list[State] = []
    for n in range(layers):
        outs = []
        for way in range(ways):
            place = n * ways + way
            w = weights[place * number : (place + 1) * number]
            out, state = _one_way(cell, steps, tuple(h[place] for h in first), w, way == 1)
            outs.append(out)
            last.append(state)
        steps = [torch.cat(parts, -1) for parts in zip(*outs, strict=True)]
        if dropout and train and n < layers - 1:
            steps = [F.dropout(step, dropout) for step in steps]
    whole = torch.cat(list(steps)) if is_packed else torch.stack(list(steps), int(batch_first))
    return whole, *(torch.stack(parts) for parts in zip(*last, strict=True))


def _one_way(
    cell: Cell, steps: Sequence[Tensor], state: State, w: Sequence[Tensor], is_reversed: bool
) -> tuple[list[Tensor], State]:
    """One layer in one direction; of sequences that have ended, or not begun, the state stays."""
    outs = []
    for x in reversed(steps) if is_reversed else steps:
        rows = len(x)
        new = cell(x, tuple(h[:rows] for h in state), *w)
        outs.append(new[0])
        if rows < len(state[0]):
            new = tuple(torch.cat((a, h[rows:])) for a, h in zip(new, state, strict=True))
        state = new
    return outs[::-1] if is_reversed else outs, state


def bilinear(x: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.bilinear``: ``x`` ``[..., I]`` times ``weight`` ``[O, I, J]``, then ``z``."""
    outputs, _, others = weight.shape
    matrix = weight.mT.flatten(0, 1)  # [O * J, I]
    met = F.linear(x, matrix).view(*x.shape[:-1], outputs, others)
    y = torch.matmul(met, z[..., None])[..., 0]
    return y if bias is None else y + bias


CELLS: dict[str, Cell] = {
    "lstm": lstm_cell,
    "gru": gru_cell,
    "rnn_tanh": partial(rnn_cell, torch.tanh),
    "rnn_relu": partial(rnn_cell, torch.relu),
}

MADE_OF: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.bilinear: bilinear,
    **{getattr(torch, name): partial(_sequence, cell) for name, cell in CELLS.items()},
    **{getattr(torch, f"{name}_cell"): partial(_step, cell) for name, cell in CELLS.items()},
}
"""Functions of torch, and what gives the same by operations that are counted."""
