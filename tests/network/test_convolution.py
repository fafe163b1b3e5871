"""Convolution as synapses against torch's."""

from math import prod

import numpy as np
import pytest
import torch
from torch.nn import functional

from spikesim.errors import UserError
from spikesim.network import Convolution

CASES = [
    Convolution((3, 7), channels=4, kernel_size=3, padding=1),
    Convolution((3, 7, 6), channels=4, kernel_size=3, padding=1),
    Convolution((2, 9, 8), channels=3, kernel_size=(3, 2), stride=(2, 3), padding=(0, 1)),
    Convolution((4, 6, 7), channels=6, kernel_size=3, padding=2, dilation=2, groups=2),
    Convolution((5, 8, 8), channels=5, kernel_size=2, stride=2, groups=5),
    Convolution((1, 5, 5), channels=2, kernel_size=5, padding=6),
    Convolution((2, 4, 5, 6), channels=3, kernel_size=(2, 3, 3), stride=(1, 2, 1), padding=1),
]


@pytest.mark.parametrize("rule", CASES, ids=str)
def test_synapses_are_the_dense_matrix_of_torch(rule: Convolution) -> None:
    kernel = torch.arange(1.0, prod(rule.kernel_shape) + 1.0, dtype=torch.float64)
    kernel = kernel.reshape(rule.kernel_shape)
    n_pre, n_post = prod(rule.shape), prod(rule.target_shape)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[len(rule.shape) - 2]
    images = torch.eye(n_pre, dtype=torch.float64).reshape(n_pre, *rule.shape)
    how = {"stride": rule.stride, "padding": rule.padding, "dilation": rule.dilation}
    expected = convolve(images, kernel, groups=rule.groups, **how)
    assert expected.shape[1:] == rule.target_shape
    synapses = rule.build(n_pre, n_post)
    dense = synapses.to_scipy(kernel.numpy()).toarray()
    assert np.array_equal(dense, expected.reshape(n_pre, n_post).numpy())
    assert synapses.count == (dense != 0).sum() == rule.expected(n_pre, n_post)
    rows = np.split(synapses.target, synapses.indptr[1:-1])
    assert all((np.diff(row) > 0).all() for row in rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution((3,), 4, 3), r"shape must be \(C, L\)"),
        (lambda: Convolution((3, 4, 4), 4, (3, 3, 3)), "one for each of the 2 axes"),
        (lambda: Convolution((3, 4, 4), 4, 3, stride=0), "stride must be a whole number >= 1"),
        (lambda: Convolution((3, 4, 4), 4, 3, padding=-1), "padding must be a whole number >= 0"),
        (lambda: Convolution((3, 4, 4), 4, 3, groups=2), "2 groups do not divide 3"),
        (lambda: Convolution((3, 4, 4), 0, 3), "channels must be a whole number >= 1"),
        (lambda: Convolution((3, 4, 4), 4, 7), "does not fit into"),
        (lambda: Convolution((3, 4, 4), 4, 3).build(47, 16), "source has 47 neurons"),
        (lambda: Convolution((3, 4, 4), 4, 3).build(48, 15), "target has 15 neurons"),
    ],
)
def test_bad_input_is_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
