import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metarun.data import Sinusoid
from metarun.errors import UserError


def test_outputs_are_amplitude_times_sine_of_x_minus_phase():
    parameters = torch.tensor([[[2.0, 0.5]], [[0.1, 3.0]]], dtype=torch.float64)  # (tasks, 1, parameters)
    x = torch.tensor([[[1.0], [-4.0]], [[0.0], [3.0]]], dtype=torch.float64)  # (tasks, points, 1)
    expected = [[2 * math.sin(0.5), 2 * math.sin(-4.5)], [0.1 * math.sin(-3.0), 0.0]]
    assert torch.allclose(Sinusoid().outputs(parameters, x)[..., 0], torch.tensor(expected, dtype=torch.float64))


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_parameters_and_inputs_stay_in_the_papers_ranges(one, other):
    uniform = torch.tensor([one, other], dtype=torch.float64)
    amplitude, phase = Sinusoid().parameters(uniform)
    assert 0.1 <= amplitude <= 5
    assert 0 <= phase <= math.pi
    assert (Sinusoid().inputs(uniform).abs() <= 5).all()
    assert uniform.tolist() == [one, other], "the argument is unchanged"


def test_the_unit_interval_maps_onto_the_ranges():
    family = Sinusoid(amplitude=[1, 2], phase=[3, 4], x=[5, 6])
    assert family.parameters(torch.tensor([[0.0, 0.0], [1.0, 1.0]])).tolist() == [[1, 3], [2, 4]]
    assert family.inputs(torch.tensor([0.0, 0.5, 1.0])).tolist() == [5, 5.5, 6]


def test_the_hash_identifies_a_family():
    assert Sinusoid().hash == Sinusoid([0.1, 5], [0, math.pi], [-5, 5]).hash
    assert Sinusoid().hash != Sinusoid(x=(-4.0, 5.0)).hash


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (1.0,), (0.0, math.inf), (math.nan, 1.0)])
def test_an_invalid_range_names_its_key(bounds):
    with pytest.raises(UserError, match=r"phase=.* with low below high; correct `data.phase`"):
        Sinusoid(phase=bounds)


def test_it_needs_no_files_and_loads_as_itself():
    family = Sinusoid()
    assert family.load() is family
    assert family.where() == "built in (a formula)"
    assert family.check() == "amplitude 0.1 to 5, phase 0 to 3.14159, x -5 to 5"
