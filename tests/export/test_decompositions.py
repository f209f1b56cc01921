"""The derivatives that an exported graph is made of, against torch's own, in float64."""

import pytest
import torch
import torch.nn.functional as F

from metarun.errors import UserError
from metarun.export import decompositions as ours

aten = torch.ops.aten
WANTED = [True, True, True]


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 1), (2, 9)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0), (3, 0), (5, 2)])
def test_the_gradients_of_a_convolution(size, stride, kernel, padding):
    if min(size) + 2 * padding < kernel:
        return
    torch.manual_seed(0)
    x, w = torch.randn(3, 2, *size).double(), torch.randn(4, 2, kernel, kernel).double()
    g = torch.randn_like(F.conv2d(x, w, None, stride, padding))
    geometry = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, WANTED)
    expected = aten.convolution_backward(g, x, w, [4], *geometry)
    for found, true in zip(ours.convolution_backward(g, x, w, [4], *geometry), expected, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-12, atol=1e-12)


def test_only_the_gradients_that_are_wanted():
    x, w, g = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 4, 4)
    found = ours.convolution_backward(g, x, w, [1], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, False, True])
    assert found[:2] == (None, None)
    assert found[2].tolist() == [16]


def test_the_gradient_of_a_grouped_convolution_is_refused():
    x, w, g = torch.zeros(1, 2, 4, 4), torch.zeros(2, 1, 3, 3), torch.ones(1, 2, 4, 4)
    with pytest.raises(UserError, match=r"grouped or dilated cannot be exported; export a method that does not adapt"):
        ours.convolution_backward(g, x, w, [2], [1, 1], [1, 1], [1, 1], False, [0, 0], 2, WANTED)


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_pooling_sends_the_gradient_to_the_first_of_equal_pixels(size):
    torch.manual_seed(0)
    x = torch.randint(0, 3, (2, 3, *size)).double()  # many are equal
    expected, indices = F.max_pool2d(x, 2, return_indices=True)
    found, which = ours.max_pool(x, [2, 2])
    assert torch.equal(found, expected)
    g = torch.randn_like(expected)
    true = aten.max_pool2d_with_indices_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)
    assert torch.equal(ours.max_pool_backward(g, x, [2, 2], [2, 2], [0, 0], [1, 1], False, which), true)


def test_windows_of_another_size_are_left_to_torch_but_have_no_gradient():
    x = torch.zeros(1, 1, 6, 6)
    assert ours.max_pool(x, [3, 3]) is NotImplemented
    with pytest.raises(UserError, match=r"max-pooling with windows of \(3, 3\) cannot be exported, only that of 2x2"):
        ours.max_pool_backward(x, x, [3, 3], [3, 3], [0, 0], [1, 1], False, x)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5, 5)])
def test_batch_norm_by_running_statistics(shape):
    torch.manual_seed(0)
    x, (weight, bias, mean) = torch.randn(shape).double(), torch.randn(3, 3).double()
    variance = torch.rand(3).double()
    found, *_ = ours.batch_norm_with_running_statistics(x, weight, bias, mean, variance, 0.1, 1e-5)
    torch.testing.assert_close(found, F.batch_norm(x, mean, variance, weight, bias), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("condition", [1e1, 1e4, 1e6])
@pytest.mark.parametrize("size", [1, 5, 40])
def test_a_linear_system_is_solved_by_products(size, condition):
    torch.manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(size, size).double())
    matrix = directions @ torch.diag(torch.logspace(0, torch.tensor(condition).log10(), size).double()) @ directions.T
    right = torch.randn(size, 3).double()
    found = ours.cholesky_solve(right, ours.cholesky(matrix)[0])
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right), rtol=1e-7, atol=1e-9)
