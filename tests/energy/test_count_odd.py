"""Counts of what models in the wild are made of: sparse, complex, compiled, random, nested."""

from collections.abc import Callable

import pytest
import torch
from counted import only, spikes
from torch import Tensor, nn

from spikesim.energy import count
from spikesim.errors import UserError

T, B = 3, 2


class Does(nn.Module):
    """Whatever a function does with a weight ``[5, 4]`` and the data."""

    def __init__(self, function: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.rand(5, 4) + 0.1)

    def forward(self, x: Tensor) -> object:
        return self.function(self.w, x)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("how", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.parametrize("is_parameter", [False, True])
def test_weights_kept_sparse_by_rows_or_columns(how: str, is_parameter: bool) -> None:
    w = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])

    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kept = getattr(w, how)()
            if is_parameter:
                self.kept = nn.Parameter(kept)
            else:
                self.register_buffer("kept", kept)

        def forward(self, x: Tensor) -> Tensor:
            return (self.kept @ x.flatten(0, 1).mT).mT

    x = spikes(T, B, 3)
    line = only(count(Kept(), x))
    assert line.macs == T * 6
    assert line.effective_acs == (x.flatten(0, 1) @ (w != 0).float().mT).sum() / B
    assert (line.weights, line.nonzero_weights) == (6, 3)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("how", ["to_sparse", "to_sparse_csr"])
def test_spikes_kept_sparse_for_a_product(how: str) -> None:
    x = spikes(T, B, 5)
    line = only(count(Does(lambda w, x: getattr(x.flatten(0, 1), how)() @ w), x))
    assert (line.macs, line.effective_acs, line.ann_macs) == (T * 20, 4 * x.sum() / B, 20)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_batch_kept_sparse() -> None:
    x = torch.eye(2, 5)
    line = only(count(Does(lambda w, x: x @ w), x.to_sparse_csr(), layout="B"))
    assert (line.macs, line.effective_acs) == (20, 4)


def test_complex_numbers_are_listed() -> None:
    def function(w: Tensor, x: Tensor) -> Tensor:
        x = torch.view_as_complex(torch.stack((x, x), -1))
        return (x @ w.to(x.dtype)).abs() * 2.0

    counts = count(Does(function), spikes(T, B, 5))
    assert [text.split(",")[0] for text in counts.uncovered] == [
        "model (Does): mm of complex numbers",
        "model (Does): abs of complex numbers",
    ]
    assert counts.total("multiplications") == T * 4  # what is real is counted


def test_random_numbers_are_functions_wherever_they_come_from() -> None:
    """An encoder inside the model: with or without a tensor that shows it the shape."""
    functions: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda w, x: (torch.rand_like(x) < x).float() @ w,
        lambda w, x: (torch.rand(x.shape) < x).float() @ w,
        lambda w, x: torch.bernoulli(x) @ w,
        lambda w, x: x.clone().uniform_().round() @ w,
    ]
    for function in functions:
        counts = count(Does(function), torch.full((T, B, 5), 0.5))
        assert not counts.uncovered
        assert counts.total("functions") == T * 5
        assert counts.total("effective_macs") == 0 < counts.total("effective_acs")


def test_shapes_changed_in_place_are_free() -> None:
    x = spikes(T, B, 5)
    model = Does(lambda w, x: x.clone().unsqueeze_(0).squeeze_(0).transpose_(0, 1) @ w)
    assert only(count(model, x)).macs == T * 20


@pytest.mark.parametrize("heads", [5, 6])
def test_a_matrix_for_each_head_has_the_steps_of_its_input(heads: int) -> None:
    """Also where as many heads as steps times samples: steps are not taken for heads."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.rand(heads, 5, 4) + 0.1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("tbhi,hio->tbho", x, self.w)

    x = spikes(T, B, heads, 5)
    x[0] = 0
    line = only(count(Heads(), x))
    assert (line.macs, line.ann_macs, line.passes) == (T * heads * 20, heads * 20, T)
    assert line.effective_acs == 4 * x.sum() / B
    assert line.operations_per_step == ()  # they cannot be told apart


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_models() -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(5, 4), nn.GELU()))
    counts = count(model, spikes(T, B, 5))
    assert not counts.uncovered
    assert counts.total("macs") == T * 20
    assert counts.total("functions") == T * 4


def test_operations_below_vmap() -> None:
    layer, x = nn.Linear(5, 4), spikes(T, B, 5)
    line = only(count(layer, x, forward=lambda m, x: torch.vmap(m)(x)))
    assert (line.macs, line.effective_acs, line.weights) == (T * 20, 4 * x.sum() / B, 20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LazyLinear(4), "weight of the model has no size yet; run the model once"),
        (lambda: nn.Linear(5, 4, device="meta"), "on device 'meta', which holds no numbers"),
    ],
)
def test_models_that_hold_no_numbers_are_refused(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        count(make(), spikes(T, B, 5))


@pytest.mark.parametrize(
    ("function", "additions", "multiplications", "functions"),
    [
        (lambda w, x: nn.functional.glu(x), 2, 2, 2),
        (lambda w, x: nn.functional.softshrink(x), 12, 0, 0),
        (lambda w, x: nn.functional.mish(x), 8, 4, 8),
        (lambda w, x: x.norm(dim=-1), 4, 4, 1),
    ],
    ids=["glu", "softshrink", "mish", "norm"],
)
def test_elementwise_by_hand(
    function: Callable[[Tensor, Tensor], Tensor],
    additions: int,
    multiplications: int,
    functions: int,
) -> None:
    """Of four values a step."""
    line = only(count(Does(function), torch.rand(T, B, 4)))
    found = line.additions / T, line.multiplications / T, line.functions / T
    assert found == (additions, multiplications, functions)


@torch.library.custom_op("spikesim_test::doubled_into", mutates_args={"out"})
def doubled_into(x: Tensor, out: Tensor) -> None:
    """A kernel that gives nothing but writes."""
    out.copy_(2 * x)


def test_operations_that_give_nothing_but_write_are_listed() -> None:
    def foreign(w: Tensor, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        doubled_into(x, out)
        return out @ w

    def many(w: Tensor, x: Tensor) -> Tensor:
        x = x.clone()
        torch._foreach_mul_([x], 2.0)
        return x @ w

    for function, name in ((foreign, "spikesim_test::doubled_into"), (many, "_foreach_mul")):
        counts = count(Does(function), spikes(T, B, 5))
        assert [text.split(",")[0] for text in counts.uncovered] == [f"model (Does): {name}"]
        assert counts.total("macs") == T * 20


@pytest.mark.filterwarnings("ignore:The reduce argument")
def test_values_added_at_places() -> None:
    """An addition each; what writes over a place is free, what adds by a flag is listed."""
    at, places = torch.tensor([0, 1, 0]), torch.zeros(T, B, 3, dtype=torch.long)
    adds: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda w, x: torch.zeros(T, B, 2).index_add(2, at, x),
        lambda w, x: torch.zeros(T, B, 2).scatter_add_(2, places, x),
    ]
    x = spikes(T, B, 3)
    for function in adds:
        assert only(count(Does(function), x)).additions == T * 3
    over = count(Does(lambda w, x: torch.zeros(T, B, 2).scatter(2, places, x)), x)
    assert not over.uncovered
    assert over.total("additions") == 0
    flags: list[tuple[str, Callable[[Tensor, Tensor], Tensor]]] = [
        ("scatter", lambda w, x: torch.zeros(T, B, 2).scatter(2, places, x, reduce="add")),
        ("index_put", lambda w, x: torch.zeros(3).index_put((at,), x[0, 0], accumulate=True)),
    ]
    for name, function in flags:
        (text,) = count(Does(function), x).uncovered
        assert text.startswith(f"model (Does): {name}, 1 call")
