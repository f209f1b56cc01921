import subprocess
import sys

import pytest
import torch
from torch.func import vmap

from metarun.system.gradient import grad, grad_and_value


def cubes(x: torch.Tensor) -> torch.Tensor:
    return x.pow(3).sum()


def test_gradients_are_those_of_torch():
    x = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(vmap(grad(cubes))(x), vmap(torch.func.grad(cubes))(x))
    gradient, value = vmap(grad_and_value(cubes))(x)
    torch.testing.assert_close(gradient, 3 * x**2)
    torch.testing.assert_close(value, x.pow(3).sum(1))


def run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_gradient_does_not_import_torchs_compiler():
    run("""if True:
        import sys, torch
        from metarun.system.gradient import grad
        assert grad(lambda x: grad(lambda y: y ** 3)(x))(torch.tensor(2.0)) == 12
        assert "torch._dynamo" not in sys.modules""")


@pytest.mark.slow
def test_torchs_compiler_is_imported_when_it_is_used():
    run("""if True:
        import sys, torch
        from metarun.system.gradient import grad
        third = grad(lambda x: x ** 3)
        third(torch.tensor(2.0))
        placeholder = torch._dynamo
        assert not placeholder.is_compiling()
        assert torch._dynamo is sys.modules["torch._dynamo"] is not placeholder
        assert placeholder.compiled_autograd is torch._dynamo.compiled_autograd
        assert third(torch.tensor(2.0)) == 12""")
