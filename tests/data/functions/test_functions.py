"""Families by formula: linear functions, polynomials and draws from Gaussian processes."""

import math

import pytest
import torch
from sklearn.gaussian_process.kernels import RBF

from metarun.data import GaussianProcess, Polynomial, Sinusoid
from metarun.data.functions.gaussian_process import JITTER
from metarun.errors import UserError


def double(*numbers) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_a_linear_function_is_its_intercept_plus_slopes_times_inputs():
    family = Polynomial(degree=1, inputs=2, outputs=2)
    assert (family.name, family.parameter_count) == ("linear", 6)
    coefficients = double([[1, 2, 3, 10, 20, 30]])  # intercept and slopes of one output, then of the other
    x = double([[0, 0], [1, -1], [0.5, 2]])
    expected = double([[1, 10], [0, 0], [8, 80]])
    assert torch.equal(family.outputs(coefficients, x[None]), expected[None])


def test_a_polynomial_has_all_products_up_to_its_degree():
    family = Polynomial(degree=2, inputs=2)
    a, b = 3.0, -2.0
    terms = (1, a, b, a * a, a * b, b * b)
    for number, term in enumerate(terms):
        alone = torch.eye(len(terms), dtype=torch.float64)[number][None, None]
        assert family.outputs(alone, double([[a, b]])[None]).item() == term
    assert Polynomial(degree=3).parameter_count == 4


def test_parameters_fill_their_ranges():
    zero_and_one = double([0, 0], [1, 1])
    process = GaussianProcess(lengthscale=[1, 2], amplitude=[3, 3], x=[5, 6])
    assert process.parameters(zero_and_one).tolist() == [[1, 3], [2, 3]]
    assert process.inputs(zero_and_one).tolist() == [[5, 5], [6, 6]]
    assert Polynomial(coefficients=[-4, 4], x=[1, 2]).parameters(zero_and_one).tolist() == [[-4, -4], [4, 4]]


def test_draws_have_the_covariance_of_the_kernel():
    """Exactly: the draws of the unit vectors are the columns of a factor L with L L' equal to scikit-learn's kernel."""
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(1, 12, 2)
    parameters = double([[0.7, 3.0]])
    factor = GaussianProcess(inputs=2, outputs=12).outputs(parameters, x, torch.eye(12, dtype=torch.float64)[None])[0]
    expected = 9 * torch.from_numpy(RBF(0.7)(x[0].numpy()))
    assert (factor @ factor.T - expected).abs().max() < 10 * JITTER
    assert factor.triu(1).abs().max() == 0


def test_points_close_together_can_be_drawn():
    x = torch.zeros(1, 60, 1, dtype=torch.float64)
    values = GaussianProcess().outputs(double([[1.0, 1.0]]), x, torch.ones(1, 60, 1, dtype=torch.float64))
    assert values.isfinite().all()
    assert values.max() - values.min() < 60 * math.sqrt(JITTER)


@pytest.mark.parametrize(
    ("family", "test_family"),
    [
        (Sinusoid(test_x=[5, 10]), Sinusoid(x=[5, 10])),
        (Sinusoid(test_phase=[4, 5]), Sinusoid(phase=[4, 5])),
        (Polynomial(test_x=[2, 3], test_coefficients=[1, 2]), Polynomial(x=[2, 3], coefficients=[1, 2])),
        (GaussianProcess(test_lengthscale=[0.1, 0.2]), GaussianProcess(lengthscale=[0.1, 0.2])),
    ],
)
def test_meta_test_draws_from_its_own_ranges(family, test_family):
    uniform = torch.linspace(0, 0.9, 20, dtype=torch.float64).reshape(10, 2)
    of_test = family.for_split("test")
    assert torch.equal(of_test.parameters(uniform), test_family.parameters(uniform))
    assert torch.equal(of_test.inputs(uniform), test_family.inputs(uniform))
    assert of_test.hash == test_family.hash
    assert family.for_split("train").hash == family.for_split("val").hash == type(family)().hash != family.hash


def test_everything_that_changes_a_task_is_in_the_hash():
    families = [
        *(GaussianProcess(), GaussianProcess(inputs=2), GaussianProcess(outputs=2), GaussianProcess(noise=0.1)),
        *(GaussianProcess(x=[0, 1]), GaussianProcess(amplitude=[1, 2]), GaussianProcess(test_x=[0, 1])),
        *(Polynomial(), Polynomial(degree=2), Polynomial(inputs=2), Polynomial(outputs=2), Polynomial(noise=0.1)),
        *(Polynomial(coefficients=[0, 1]), Polynomial(test_x=[0, 1])),
        *(Sinusoid(), Sinusoid(noise=0.1), Sinusoid(test_x=[0, 1]), Sinusoid(test_phase=[0, 1])),
    ]
    assert len({family.hash for family in families}) == len(families)


def test_families_say_what_they_draw():
    assert Polynomial(1, inputs=2, test_x=[5, 10]).check() == (
        "2 inputs, 1 output; coefficients -1 to 1, x -2 to 2; meta-test: x 5 to 10"
    )
    process = GaussianProcess(noise=0.1)
    assert process.check() == (
        "1 input, 1 output; lengthscale 0.25 to 1, amplitude 1 to 1, x -2 to 2; noise 0.1 on support targets"
    )
    assert process.load() is process
    assert process.where() == "built in (a formula)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Polynomial(inputs=0), r"inputs=0 but it must be from 1 to 10,000; correct `data\.inputs`"),
        (lambda: Polynomial(degree=21), r"degree=21 but it must be from 1 to 20; correct `data\.degree`"),
        (lambda: Polynomial(10, 10), r"degree=10, inputs=10, outputs=1 make 184,756 coefficients; at most 10,000 are"),
        (
            lambda: Polynomial(x=[1, 1]),
            r"x=\[1, 1\] but a range is \[low, high\] with low below high; correct",
        ),
        (lambda: Polynomial(test_x=[2, 1]), r"test_x=\[2, 1\] but a range is"),
        (lambda: Polynomial(noise=-0.1), r"noise=-0\.1 but a standard deviation cannot be negative or infinite; raise"),
        (lambda: Sinusoid(noise=math.nan), "noise=nan but a standard deviation"),
        (lambda: Sinusoid(test_x=[1]), r"test_x=\[1\] but a range is"),
        (lambda: GaussianProcess(outputs=-1), r"outputs=-1 but it must be from 1 to 10,000"),
        (lambda: GaussianProcess(lengthscale=[0, 1]), r"lengthscale=\[0, 1\] but a range is .* with 0 < low <= high"),
        (lambda: GaussianProcess(test_amplitude=[2, 1]), r"test_amplitude=\[2, 1\] but a range is"),
    ],
)
def test_invalid_settings_name_their_key(make, message):
    with pytest.raises(UserError, match=message):
        make()
