"""A context in which PyTorch's products are those of a matrix unit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from lpsim.arguments import RealArray, as_seed
from lpsim.formats import FormatLike
from lpsim.linalg import matmul as multiply_by_unit
from lpsim.rounding import Rounding
from lpsim.torch.layers import Layers
from lpsim.torch.products import PRODUCTS, UNSUPPORTED
from lpsim.torch.report import Report
from lpsim.torch.rules import Cast, Rule, as_rules, rule_for
from lpsim.torch.tensors import as_array, check_real
from lpsim.units import MatrixUnit

__all__ = ["simulate"]


@contextlib.contextmanager
def simulate(
    matmul: MatrixUnit | str | None = None,
    backward: MatrixUnit | str | None = None,
    *,
    weights: Cast | FormatLike | None = None,
    activations: Cast | FormatLike | None = None,
    grads: Cast | FormatLike | None = None,
    layers: Any = None,
    seed: int | None = None,
    unsupported: str = "error",
) -> Iterator[Report]:
    """Run PyTorch models, forward and backward, with the products of a matrix unit.

    Every product in the context - of linear layers, attention, convolutions and recurrent layers, `torch.matmul` and
    einsum, and of their backward passes - is what `lpsim.matmul` gives. All else is PyTorch's own. Models need no
    change.

    Parameters
    ----------
    matmul, backward, weights, activations, grads
        What is simulated in all layers for which ``layers`` says nothing else, as for `Rule`.
    layers : mapping, optional
        Rules by patterns of layers' names (as `fnmatch` reads them, of the names that ``named_modules`` of the
        outermost module gives; the first match counts): a `Rule`, a unit, or None for PyTorch's own products.
    seed : int, optional
        Seed of stochastic units and casts, 0 to ``2**64 - 1``; required for these. Each operand and product takes bits
        of its own, in the order of execution.
    unsupported : str
        What to do with operations that contain products and are not simulated: ``"error"``, or ``"native"``, which
        leaves them to PyTorch.

    Yields
    ------
    Report
        Which operations were simulated and which were not; it is complete when the context ends.

    Raises
    ------
    ValueError, TypeError
        If an argument names no unit, format or mode, or random bits are used without a seed.
    TypeError
        In the context, for products of tensors on other devices, and for operations that are not simulated.

    Notes
    -----
    A product's operands are the matrices that PyTorch multiplies, k in their order; a convolution is a product over
    input channels and kernel in C order, its gradients one over output channels and kernel, and over batch and places.
    A bias is added to the product in the tensors' dtype. Attention takes PyTorch's unfused path, whose two products
    are simulated.

    Backward passes are simulated if they run in the context. An operand of the backward pass is a weight if it shares
    memory with a parameter of the model, an activation if it was an operand of the forward pass, and a gradient
    otherwise. Layers' names are known while a module runs; products outside of modules have the name ``""``.

    Examples
    --------
    >>> import torch
    >>> import lpsim as lp, lpsim.torch
    >>> layer = torch.nn.Linear(4, 1, bias=False)
    >>> _ = torch.nn.init.constant_(layer.weight, 0.1)
    >>> with lpsim.torch.simulate(lp.units.fp8_e4m3) as report:
    ...     y = layer(torch.ones(1, 4))
    ...     y.backward()
    >>> y.tolist(), layer.weight.grad.tolist(), report.total_simulated
    ([[0.40625]], [[1.0, 1.0, 1.0, 1.0]], 2)
    """
    if unsupported not in ("error", "native"):
        raise ValueError(f"unsupported is {unsupported!r}; allowed: 'error' or 'native'")
    default = Rule(matmul, backward, weights, activations, grads)
    rules = as_rules(default, layers)
    stochastic = any(rule.is_stochastic for _, rule in rules)
    number = as_seed(seed, Rounding.STOCHASTIC if stochastic else Rounding.TIES_TO_EVEN)
    report = Report()
    simulation = _Simulation(rules, number, report, unsupported)
    # Fused attention and encoder layers are one operation each, which hides its products.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), simulation.layers, simulation:
            yield report
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _Simulation(TorchDispatchMode):
    """What PyTorch asks for each operation, below autograd."""

    def __init__(self, rules: list[tuple[str, Rule]], seed: int, report: Report, unsupported: str) -> None:
        super().__init__()
        self.layers = Layers()
        self._rules = rules
        self._seed = seed
        self._drawn = 0
        self._report = report
        self._unsupported = unsupported

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function._opname
        phase = "backward" if torch._C._current_autograd_node() is not None else "forward"
        product = PRODUCTS.get(function)
        if product is None:
            if torch.is_inference_mode_enabled():
                # Without autograd, operations that are made of others arrive whole.
                with self:
                    parts = function.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            if any(part in name for part in UNSUPPORTED):
                self._refuse(name)
            self._report.native[name, phase] += 1
            return function(*args, **kwargs)
        operands = [one for one in args if isinstance(one, torch.Tensor)]
        layer = self.layers.of_product(phase, operands)
        rule = rule_for(layer, self._rules)
        if rule.is_native or not all(one.is_floating_point() for one in operands):
            self._report.native[name, phase] += 1
            return function(*args, **kwargs)
        for i, one in enumerate(operands):
            check_real(one, f"operand {i} of {name}" + (f" in layer {layer}" if layer else ""))
        unit = rule.matmul if phase == "forward" else rule.backward
        key = (layer, name, phase, "native" if unit is None else str(unit))
        self._report.simulated[key] += 1

        def multiply(a: torch.Tensor, b: torch.Tensor, left: RealArray, right: RealArray) -> RealArray:
            columns = right.shape[-1] if right.ndim > 1 else 1
            self._report.multiplications[key] += left.size * columns
            return self._multiplied(rule, unit, phase, (a, left), (b, right))

        return product(multiply, *args, **kwargs)

    def _multiplied(
        self,
        rule: Rule,
        unit: MatrixUnit | None,
        phase: str,
        a: tuple[torch.Tensor, RealArray],
        b: tuple[torch.Tensor, RealArray],
    ) -> RealArray:
        prepared, shift = [], 0
        for i, (tensor, values) in enumerate((a, b)):
            cast: Cast | None = getattr(rule, self.layers.role(phase, tensor))
            if cast is not None:
                fmt = None if unit is None else (unit.a_format, unit.b_format)[i]
                seed = self._next_seed() if cast.rounding.is_stochastic else None
                values, exponent = cast.apply(values, fmt, seed)  # noqa: PLW2901
                shift += exponent
            prepared.append(values)
        if unit is None:
            result = as_array(torch.matmul(*(torch.from_numpy(np.ascontiguousarray(one)) for one in prepared)))
        else:
            result = multiply_by_unit(
                prepared[0], prepared[1], unit, seed=self._next_seed() if unit.is_stochastic else None
            )
        return np.ldexp(result, -shift) if shift else np.asarray(result)

    def _next_seed(self) -> int:
        number = self._drawn
        self._drawn += 1
        return int(np.random.SeedSequence((self._seed, number)).generate_state(1, np.uint64)[0])

    def _refuse(self, name: str) -> None:
        if self._unsupported == "error":
            where = f" in layer {self.layers.current}" if self.layers.current else ""
            raise TypeError(
                f"{name}{where} contains products that are not simulated; allowed: unsupported='native', which leaves "
                "them to PyTorch"
            )
