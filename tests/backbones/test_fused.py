"""Compiled blocks: values and derivatives of every order, compared with numerical ones and with torch's operations."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad as gradients
from torch.autograd import gradcheck, gradgradcheck

from metarun.algorithms import MAML
from metarun.backbones.fused import convolution, is_compiled, library, set_compiled, why_not_compiled
from metarun.backbones.fused.convolution import convolve
from metarun.backbones.fused.given_scale import moments, scale_pool_relu
from metarun.backbones.fused.operation import norm_pool_relu
from metarun.backbones.norm import NORMS, support_first
from tests.support.synthetic import make_conv4, make_stream, run_by
from tests.training.test_loop import make_training

pytestmark = pytest.mark.slow  # compiling takes seconds
EPSILON = 1e-5
LAYOUTS = [torch.contiguous_format, torch.channels_last]
HOW = ["loop", "vectorised"]
SIZES = [(6, 8), (7, 5), (3, 2), (40, 40)]  # odd ones have positions in no window


@pytest.fixture(autouse=True, scope="module")
def _has_compiler():
    assert why_not_compiled() is None


def draw(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype).requires_grad_()


def fused(slope, pool):
    return lambda x, scale, shift: norm_pool_relu(x, scale, shift, EPSILON, slope, pool)[0]


def plain(slope, pool):
    def compute(x, scale, shift):
        centred = x - x.mean((0, 2, 3), keepdim=True)
        deviation = (centred.square().mean((0, 2, 3), keepdim=True) + EPSILON).sqrt()
        y = centred / deviation * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        return F.leaky_relu(F.max_pool2d(y, 2) if pool else y, slope)

    return compute


def plain_scale(slope, pool):
    def compute(x, scale, shift):
        y = x * scale[..., None, None] + shift[..., None, None]
        return F.leaky_relu(F.max_pool2d(y, 2) if pool else y, slope)

    return compute


def moments_of(x):
    return torch.stack(moments(x))


def derivatives(compute, inputs, order):
    """Return the values and the derivatives up to an order, each of a random combination of the previous ones."""
    random = torch.Generator().manual_seed(1)
    current = [compute(*inputs)]
    found = [*current]
    for _ in range(order):
        mixed = [(each * torch.randn(each.shape, generator=random, dtype=each.dtype)).sum() for each in current]
        current = gradients(sum(mixed), inputs, create_graph=True, materialize_grads=True)
        found += current
    return found


def relative(found, expected):
    return ((found - expected).norm() / expected.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [True, False])
def test_three_derivatives_match_the_numerical_ones(pool, layout):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    inputs = (x, draw(2), draw(2))
    compute = fused(0.1, pool)
    weights = torch.randn(compute(*inputs).shape, dtype=torch.float64)
    assert gradcheck(compute, inputs)
    assert gradgradcheck(compute, inputs)

    def gradient(*inputs):
        return gradients((compute(*inputs).sin() * weights).sum(), inputs, create_graph=True)

    assert gradgradcheck(gradient, inputs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [True, False])
def test_three_derivatives_with_a_given_scale_match_the_numerical_ones(pool, layout):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()

    def compute(x, scale, shift):
        return scale_pool_relu(x, scale, shift, 0.1, pool)

    for function, inputs in ((compute, (x, draw(1, 2), draw(1, 2))), (moments_of, (x,))):
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)
        weights = torch.randn(function(*inputs).shape, dtype=torch.float64)

        def gradient(*inputs, function=function, weights=weights):
            return gradients((function(*inputs).sin() * weights).sum(), inputs, create_graph=True)

        assert gradgradcheck(gradient, inputs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "order", "tolerance"), [(torch.float64, 4, 1e-10), (torch.float32, 2, 1e-4)])
def test_every_order_with_a_given_scale_equals_torchs_operations(dtype, order, tolerance, size, pool, layout):
    torch.manual_seed(0)
    x = draw(4, 5, *size, dtype=dtype).detach().contiguous(memory_format=layout).requires_grad_()
    inputs = [x, draw(4, 5, dtype=dtype), draw(4, 5, dtype=dtype)]
    expected = derivatives(plain_scale(0.1, pool), inputs, order)
    found = derivatives(lambda *given: scale_pool_relu(*given, 0.1, pool), inputs, order)
    assert max(map(relative, found, expected)) < tolerance
    expected = derivatives(lambda x: torch.stack([x.mean((2, 3)), x.var((2, 3), correction=0)]), [x], 2)
    assert max(map(relative, derivatives(moments_of, [x], 2), expected)) < tolerance  # higher ones are 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("slope", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "order", "tolerance"), [(torch.float64, 4, 1e-10), (torch.float32, 2, 1e-4)])
def test_every_order_equals_torchs_operations(dtype, order, tolerance, size, pool, slope, layout):
    torch.manual_seed(0)
    x = draw(4, 5, *size, dtype=dtype).detach().contiguous(memory_format=layout).requires_grad_()
    inputs = [x, draw(5, dtype=dtype), draw(5, dtype=dtype)]
    expected = derivatives(plain(slope, pool), inputs, order)
    found = derivatives(fused(slope, pool), inputs, order)
    assert max(map(relative, found, expected)) < tolerance


@pytest.mark.sampled
@pytest.mark.parametrize(("norm", "how"), [(n, h) for n in NORMS for h in HOW if (n, h) != ("running", "vectorised")])
@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_mamls_meta_gradient_equals_that_of_torchs_operations(downsample, norm, how):
    torch.manual_seed(0)
    network = make_conv4(norm, downsample, shape=(1, 20, 20))
    method = run_by(how, MAML(network, 5, inner_lr=0.1, inner_steps=2, order=2)).double()
    tasks = make_stream(shape=(1, 20, 20), dtype=torch.float64).draw(0, 3)
    found = []
    for compiled in (False, True):
        set_compiled(method, compiled)
        loss = method.meta_loss(tasks)
        found.append(torch.cat([each.flatten() for each in (loss, *gradients(loss, list(method.parameters())))]))
    assert relative(found[1], found[0]) < 1e-10


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_running_statistics_are_updated_and_used_as_by_torch(downsample):
    torch.manual_seed(0)
    torchs = make_conv4("running", downsample).double()
    compiled = copy.deepcopy(torchs)
    set_compiled(compiled, True)
    for _ in range(2):
        x = torch.rand(6, 1, 16, 16, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), torchs(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dict(compiled.named_buffers()), dict(torchs.named_buffers()), rtol=1e-10, atol=1e-10)
    compiled.eval(), torchs.eval()
    torch.testing.assert_close(compiled(x), torchs(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "running"])
def test_every_norm_equals_torchs_operations_with_a_support_set_of_its_own(norm):
    torch.manual_seed(0)
    network = make_conv4(norm, "stride", shape=(1, 20, 20)).double()
    x = torch.rand(6, 1, 20, 20, dtype=torch.float64)
    with support_first(4):
        expected = network(x)
        set_compiled(network, True)
        torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


def test_a_number_normalised_by_itself_stays_exactly_0():
    network = make_conv4("instance", "stride")  # the last map is one number
    x = torch.rand(6, 1, 16, 16)
    assert not network(x).any()
    set_compiled(network, True)
    assert not network(x).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_of_equal_maxima_gets_the_gradient_and_nan_stays(layout):
    x = torch.tensor([[[[3.0, 3, 0], [3, 1, 0], [0, 0, 0]]]]).contiguous(memory_format=layout).requires_grad_()
    weights = (torch.ones(1), torch.zeros(1))
    for compute in (fused(0.0, True), plain(0.0, True)):
        # The gradient of the sum of a window's maximum and a function of the statistics: only the first differs.
        (gradient,) = gradients(compute(x, *weights).sum(), x)
        assert gradient[0, 0, 0, 0] > gradient[0, 0, 0, 1] == gradient[0, 0, 1, 0]
    assert fused(0.0, True)(torch.full_like(x, torch.nan), *weights).isnan().all()


def test_bits_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    for layout in LAYOUTS:
        x = draw(6, 8, 40, 40).detach().contiguous(memory_format=layout).requires_grad_()
        for compute, inputs in (
            (fused(0.0, True), [x, draw(8), draw(8)]),
            (lambda *given: scale_pool_relu(*given, 0.0, True), [x, draw(6, 8), draw(6, 8)]),
            (moments_of, [x]),
            (compiled_convolution(1), [x, draw(24, 8, 3, 3), draw(24)]),
            (torch.func.vmap(compiled_convolution(2)), [x[None], draw(1, 24, 8, 3, 3), draw(1, 24)]),
        ):
            found = []
            for number in (1, 2):
                torch.set_num_threads(number)
                found.append(derivatives(compute, inputs, 2))
            torch.set_num_threads(threads)
            assert all(map(torch.equal, *found))


def test_a_resumed_training_computes_blocks_as_before(monkeypatch):
    training, resumed = make_training(), make_training()
    set_compiled(training.algorithm, True)
    resumed.restore(training.state())
    assert is_compiled(resumed.algorithm)
    without = {key: value for key, value in training.state().items() if key != "compiled"}
    resumed.restore(without)  # of an earlier version
    assert not is_compiled(resumed.algorithm)


def test_a_compiler_that_fails_is_reported_with_its_first_line(root, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    assert library._compile(root / "compiled" / "x.so") == "false failed: "
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(library.shutil, "which", lambda _: None)
    assert library._compile(root / "compiled" / "x.so") == "there is no C++ compiler (g++, clang++, c++ or $CXX)"
    assert list((root / "compiled").iterdir()) == []


def torchs_convolution(stride):
    return lambda x, weight, bias: F.conv2d(x, weight, bias, stride, padding=1)


def compiled_convolution(stride):
    return lambda x, weight, bias: convolve(x, weight, bias, stride)


CONVOLUTIONS = [  # images, channels, filters, size; tiles are of 6 images or channels and 16 or 8 filters
    (1, 1, 1, (1, 1)),
    (4, 3, 5, (7, 5)),
    (7, 8, 17, (6, 9)),
    (13, 6, 32, (12, 12)),
]


@pytest.mark.parametrize("stride", [1, 2])
def test_three_derivatives_of_a_convolution_match_the_numerical_ones(stride):
    torch.manual_seed(0)
    inputs = (draw(2, 2, 3, 4), draw(3, 2, 3, 3), draw(3))
    compute = compiled_convolution(stride)
    assert gradcheck(compute, inputs)
    assert gradgradcheck(compute, inputs)

    def gradient(*inputs):
        return gradients(compute(*inputs).sin().sum(), inputs, create_graph=True)

    assert gradgradcheck(gradient, inputs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("images", "channels", "filters", "size"), CONVOLUTIONS)
@pytest.mark.parametrize(("dtype", "order", "tolerance"), [(torch.float64, 4, 1e-10), (torch.float32, 2, 1e-5)])
def test_every_order_of_a_convolution_equals_torchs(
    dtype, order, tolerance, images, channels, filters, size, stride, layout
):
    torch.manual_seed(0)
    x = draw(images, channels, *size, dtype=dtype).detach().contiguous(memory_format=layout).requires_grad_()
    inputs = [x, draw(filters, channels, 3, 3, dtype=dtype), draw(filters, dtype=dtype)]
    expected = derivatives(torchs_convolution(stride), inputs, order)
    found = derivatives(compiled_convolution(stride), inputs, order)
    assert max(map(relative, found, expected)) < tolerance


@pytest.mark.parametrize("shared", [(), ("weight", "bias"), ("bias",), ("x",)])
def test_a_convolution_of_tasks_is_that_of_each(shared):
    torch.manual_seed(0)
    shapes = {"x": (4, 3, 7, 6), "weight": (5, 3, 3, 3), "bias": (5,)}
    inputs = [draw(*shape) if name in shared else draw(2, 3, *shape) for name, shape in shapes.items()]
    dims = tuple(None if name in shared else 0 for name in shapes)

    def of_each(*inputs):
        tasks = [[each if dim is None else each[i] for each, dim in zip(inputs, dims, strict=True)] for i in range(2)]
        return torch.stack([inner(*task) for task in tasks])

    def inner(*inputs):
        tasks = [[each if dim is None else each[i] for each, dim in zip(inputs, dims, strict=True)] for i in range(3)]
        return torch.stack([torchs_convolution(2)(*task) for task in tasks])

    vectorised = torch.func.vmap(torch.func.vmap(compiled_convolution(2), dims), dims)
    expected, found = derivatives(of_each, inputs, 2), derivatives(vectorised, inputs, 2)
    assert max(map(relative, found, expected)) < 1e-10


def test_tasks_that_share_weights_are_convolved_as_examples_of_one(monkeypatch):
    found = []
    monkeypatch.setattr(convolution, "call", lambda _, *arguments: found.append(arguments[3:5]))
    vectorised = torch.func.vmap(compiled_convolution(1), (0, None, None))
    assert vectorised(torch.ones(3, 4, 2, 5, 5), torch.ones(6, 2, 3, 3), torch.ones(6)).shape == (3, 4, 6, 5, 5)
    assert found == [(1, 12)]  # tasks and examples


def test_a_convolution_of_float32_is_as_exact_as_torchs():
    torch.manual_seed(0)
    exact = [draw(64, 16, 14, 14), draw(32, 16, 3, 3), draw(32)]
    inputs = [each.detach().float().requires_grad_() for each in exact]
    expected = derivatives(torchs_convolution(1), exact, 1)
    errors = [
        [relative(each.double(), of) for each, of in zip(derivatives(compute(1), inputs, 1), expected, strict=True)]
        for compute in (compiled_convolution, torchs_convolution)
    ]
    assert max(errors[0]) < 2 * max(errors[1])
