"""Sees what a model does while it runs: every operation of torch, and the modules around it."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode

from spikesim.batch_norm import Normalisation
from spikesim.delays.layer import Delayed
from spikesim.energy.arithmetic import Arithmetic
from spikesim.energy.cost import Cost, Rule
from spikesim.energy.elementwise import ACTIVATIONS, NORMS, RANDOM, elementwise, is_free, pooling
from spikesim.energy.fan_out import FanOut, storage_of
from spikesim.energy.ledger import Line
from spikesim.energy.modes import Calls, is_mapped, look_away, set_fast_path, unwatched
from spikesim.energy.neurons import has_all_steps, is_neuron, neuron, tensors
from spikesim.energy.origins import ACTIVE, NOTHING, WEIGHT, Origins, written
from spikesim.energy.products import CONVOLUTIONS, products
from spikesim.energy.rules import Costs, costs_of, rule_of
from spikesim.energy.site import Site, site_of, text_of
from spikesim.energy.steps import Steps, Timing
from spikesim.neuron import Neuron

FOLDED = "folded into its neighbour at inference"
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
HIDDEN = "weight_hh"
"""How torch calls weights from the last step's hidden values to this one's."""
UNSEEN = "a kernel that is no operation of torch"


@dataclass(frozen=True)
class Running:
    """A module that is running.

    Args:
        name: of the module.
        hides: what of it is not counted: nothing, ``"arithmetic"`` (of neurons) or ``"all"``.
        begins: whether it is this one that hides, not one around it.
        rule: what tells its cost, if it has one.
        entered: memory of what entered a layer of neurons.
        quiet: undone when it is left.
    """

    name: str = ""
    hides: str = ""
    begins: bool = False
    rule: Rule | None = None
    entered: frozenset[int] = frozenset()
    quiet: ExitStack = field(default_factory=ExitStack)


class Watcher(TorchDispatchMode):
    """Counts what runs while it is watching.

    Args:
        model: whose modules give lines their names.
        costs: rules of the user.
        fold_batch_norm: whether batch norm costs nothing.
        each_call: see :meth:`Line.add`.

    Attributes:
        lines: by module, kind, place in the program and parameter.
        uncovered: calls by module and operation.
        modules: of the model, by name.
        is_first: see :meth:`Line.add`.
    """

    def __init__(
        self, model: nn.Module, costs: Costs, *, fold_batch_norm: bool, each_call: bool
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model, self.costs = model, costs
        self.folds, self.each_call = fold_batch_norm, each_call
        self.lines: dict[tuple[str, str, Site | str, str], Line] = {}
        self.uncovered: Counter[tuple[str, str]] = Counter()
        self._calls = Calls()
        self.is_first = True
        self.origins = Origins(model)
        self.modules: dict[str, nn.Module] = dict(model.named_modules())
        self._names = {id(module): name for name, module in self.modules.items()}
        self._running = [Running()]
        self._latest: tuple[Any, Line | None] = (), None
        self._resting = False

    def found_states(self) -> bool:
        """Whether buffers turn out to be states; what was counted as if not is forgotten."""
        found = self.origins.found_states()
        if found:
            self.lines.clear()
            self.uncovered.clear()
        return found

    @contextmanager
    def watching(self, timing: Timing) -> Iterator[None]:
        """Count a batch while inside, which begins with all neurons in their first state."""
        self._timing = timing
        self.origins.begin()
        with ExitStack() as stack:
            # Global hooks: one of its own would keep a norm from joining its neuron's kernel.
            for handle in (
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after),
            ):
                stack.callback(handle.remove)
            for module in self.modules.values():
                if isinstance(module, Neuron):
                    # One that has hooks is called as a module, by its norm too.
                    stack.callback(module.register_forward_hook(look_away).remove)
            # Attention in the operations that it is made of, not in one.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.callback(torch.backends.mha.set_fastpath_enabled, set_fast_path(False))
            stack.enter_context(self._calls)
            stack.enter_context(self)
            stack.callback(self._leave_all)
            yield
        for line in self.lines.values():
            line.close(timing.steps)

    # Operations.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and count it."""
        kwargs, hides = kwargs or {}, self._running[-1].hides
        name = _name(func)
        entered = list(tensors((args, kwargs)))
        moves = is_free(func, name, args, kwargs)
        if not moves and name != "linear" and func.has_kernel_for_dispatch_key(_COMPOSITE):
            with self:  # in inference mode, operations come whole
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        left = list(tensors(out)) or written(func, args, kwargs)
        kind = self.origins.follow(func, name, entered, left)
        if name == "constant_pad_nd" and kind == ACTIVE:
            self.origins.pad(args, out)
        if left and not func.is_view:
            self.origins.follow_time(name, args, kwargs, left, self._timing)
        if moves or not left or not (entered or name in RANDOM):
            return out
        if any(x.is_complex() for x in entered):
            if kind == ACTIVE:
                self.uncovered[self._running[-1].name, f"{name} of complex numbers"] += 1
        elif self._product(name, args, kwargs, out):
            return out
        elif (kind == ACTIVE or name in RANDOM) and not hides:
            self._arithmetic(name, args, out, sys._getframe(1))
        return out

    def _product(self, name: str, args: Any, kwargs: Any, out: Any) -> bool:
        """Count a product; whether it is one."""
        origins, running = self.origins, self._running[-1]
        inside = origins.inside(args[0]) if name in CONVOLUTIONS else None
        cost = products(name, args, kwargs, out, origins.is_weight, inside)
        if cost is None:
            return False
        factors = [*cost.factors, *([] if cost.weight is None else [cost.weight])]
        # A first state times weights is work, weights times weights are a weight.
        if {origins.of(factor) for factor in factors} not in ({WEIGHT}, {NOTHING}):
            origins.activate(tensors(out))
            if running.entered and cost.kind == "linear":
                is_input = storage_of(cost.factors[0]) in running.entered
                cost = replace(cost, kind="linear" if is_input else "recurrent")
            elif cost.weight is not None and HIDDEN in self.origins.name(cost.weight):
                cost = replace(cost, kind="recurrent")
            self._add(running.name, cost, self._steps(cost, args), site_of(sys._getframe(1)))
        return True

    def _arithmetic(self, name: str, args: Any, out: Any, frame: FrameType) -> None:
        """Count what is no product, or note that it is not known."""
        running = self._running[-1].name
        x = next(tensors((args, out)))
        flat = self._when(x, is_flat=True)
        if (work := pooling(name, args, out)) is not None:
            self._add(running, _priced("pool", work), flat, "pool")
        elif name in NORMS:
            takes_batch = not name.endswith("no_training") and bool(args[5])
            self._norm(running, x, takes_batch, flat)
        elif (work := elementwise(name, args, out)) is not None:
            site = site_of(frame)
            if name == "add" and self._bias(running, args, site):
                return
            is_pool = "Pool" in type(self.modules[running]).__name__
            cost = _priced("pool" if is_pool else "elementwise", work)
            cost = replace(cost, emitted=out) if name in ACTIVATIONS else cost
            self._add(running, cost, self._steps(cost, args), site)
        else:
            self.uncovered[running, name] += 1

    def _bias(self, running: str, args: Any, site: Site) -> bool:
        """Whether this adds parameters to a product of the same call, as ``linear`` may do."""
        added = [x for x in tensors(args) if self.origins.is_weight(x)]
        before, line = self._latest
        if line is None or before != (running, "linear", site) or not added:
            return False
        line.cost = replace(line.cost, bias=added[0])
        return True

    def _steps(self, cost: Cost, args: Any) -> Steps:
        """By the shape of the first activation that the user's program gave."""
        if cost.kind == "conv":
            return self._when(cost.factors[0], is_flat=True)
        called = list(tensors(self._calls.args))
        given = (*([] if any(map(is_mapped, called)) else called), *cost.factors, *tensors(args))
        return self._when(next((x for x in given if not self.origins.is_weight(x)), None))

    def _when(self, x: Tensor | None, *, is_flat: bool = False) -> Steps:
        """The steps in an activation."""
        if x is None or self.origins.is_timeless(x, self._timing):
            return Steps(batch=self._timing.batch, is_once=x is not None)
        return self._timing.of(x.shape, is_flat=is_flat)

    def _norm(self, name: str, x: Tensor, takes_batch: bool, steps: Steps) -> None:
        if self.folds and not takes_batch:
            cost = Cost(kind="norm", note=FOLDED)
        else:
            cost = _priced(
                "norm", x.numel() * (Arithmetic(4, 3) if takes_batch else Arithmetic(1, 1))
            )
        self._add(name, cost, steps, "norm")

    def _add(self, name: str, cost: Cost, steps: Steps, site: Site | str) -> None:
        if isinstance(cost.fan_out, FanOut):
            cost = replace(cost, fan_out=self.origins.fan_out(cost.fan_out))
        weight = "" if cost.weight is None else self.origins.name(cost.weight)
        key = (name, cost.kind, site, weight)
        if key not in self.lines:
            text = site if isinstance(site, str) else text_of(site, weight.removeprefix(f"{name}."))
            self.lines[key] = Line(name, cost, text)
        self._latest = key[:3], self.lines[key]
        place = None if cost.weight is None else self.origins.place(cost.weight)
        line = self.lines[key]
        line.add(cost, steps, place, each_call=self.each_call, is_first=self.is_first)

    # Modules.

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        outer = self._running[-1]
        name, hides, entered = outer.name, outer.hides, outer.entered
        quiet = ExitStack()
        rule = rule_of(module, self.costs)
        begins = True
        if rule is not None or isinstance(module, _BatchNorm | Neuron):
            hides = "all"
            quiet.enter_context(unwatched())
        elif is_neuron(module):
            hides = hides or "arithmetic"
            with unwatched():
                entered = frozenset(storage_of(x) for x in tensors(inputs[:1]))
        else:
            begins = False
        name = self._names.get(id(module), name)
        self._running.append(Running(name, hides, begins, rule, entered, quiet))

    def _leave_all(self) -> None:
        """Modules that an exception left."""
        while len(self._running) > 1:
            self._running.pop().quiet.close()

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        running = self._running.pop()
        running.quiet.close()
        if isinstance(module, ParametrizationList) and isinstance(output, Tensor):
            with unwatched():
                self.origins.call(output, running.name.replace(".parametrizations", ""))
        entered = next(tensors(inputs), None)
        if entered is None or self._resting:  # what a rule itself runs, such as a parametrization
            return
        with self._rest():
            hidden, steps = self._running[-1].hides, self._when(entered)
            if isinstance(module, _BatchNorm):
                if not hidden:
                    flat = self._when(entered, is_flat=True)
                    self._norm(running.name, entered, module.running_mean is None, flat)
            elif running.rule is not None:
                if not hidden:
                    for cost in costs_of(running.rule, module, inputs, output):
                        self._add(running.name, cost, steps, cost.part)
            elif is_neuron(module):
                if hidden != "arithmetic":
                    self._neuron(module, running.name, inputs, output)
            elif not hidden and self.origins.unseen(tensors(inputs), tensors(output)):
                self.uncovered[running.name, UNSEEN] += 1
                self.origins.activate(tensors(output))
            if running.begins:
                left = list(tensors(output))
                self.origins.activate(left, is_timeless=steps.is_once)
                if isinstance(module, Delayed):
                    self._timing.lengths.add(len(left[0]))

    def _neuron(self, module: nn.Module, name: str, inputs: Any, output: Any) -> None:
        x = next(tensors(inputs))
        steps = self._when(x)
        if has_all_steps(module) is False:
            steps = Steps(batch=self._timing.batch)
        for norm in inputs:
            if isinstance(norm, Normalisation):
                owner = self.origins.owner(norm.weight, norm.mean)
                self._norm(owner or name, x, norm.count is not None, steps)
        self._add(name, neuron(module, inputs, output), steps, "")

    @contextmanager
    def _rest(self) -> Iterator[None]:
        """What is done inside is not counted."""
        before, self._resting = self._resting, True
        try:
            with unwatched():
                yield
        finally:
            self._resting = before


def _priced(kind: str, work: Arithmetic) -> Cost:
    return Cost(kind=kind, **asdict(work))


def _name(func: Any) -> str:
    """Of an operation, without its overload; one that writes in place is called like the other."""
    name: str = func.overloadpacket.__name__
    if not name.endswith("__"):
        name = name.removesuffix("_")
    return name if func.namespace == "aten" else f"{func.namespace}::{name}"
