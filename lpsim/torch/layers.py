"""Which layer a product belongs to, and what its operands are."""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import Any

import torch
from torch.nn.modules import module as hooks

__all__ = ["Layers"]

#: How many products of forward passes are remembered, the latest ones: more than one backward pass can need.
_MOST_PRODUCTS = 1 << 18


class Layers:
    """Follows modules as they run, so that products have the names of their layers; a context."""

    def __init__(self) -> None:
        self._running: list[str] = []
        self._names: dict[int, str] = {}
        #: Memory of the parameters of each outermost module that lives.
        self._weights: weakref.WeakKeyDictionary[Any, frozenset[int]] = weakref.WeakKeyDictionary()
        #: Of products of the forward pass: layer and operands' memory, by the number of the node of autograd.
        self._products: dict[int, tuple[str, frozenset[int]]] = {}
        self._handles: list[Any] = []
        self._onednn: list[bool] = []

    def __enter__(self) -> Layers:
        self._handles = [
            hooks.register_module_forward_pre_hook(self._entered),
            hooks.register_module_forward_hook(self._left, always_call=True),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _entered(self, module: torch.nn.Module, args: Any) -> None:
        if not self._running:
            self._names = {id(one): name for name, one in module.named_modules()}
            self._weights[module] = frozenset(_memory(one) for one in module.parameters())
        self._running.append(self._names.get(id(module), type(module).__name__))
        if isinstance(module, torch.nn.RNNBase):
            # oneDNN's recurrent layer is one operation, which hides its products. Elsewhere it stays: with it, GELU
            # and others have other bits.
            self._onednn.append(torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)

    def _left(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if self._running:
            self._running.pop()
            if isinstance(module, torch.nn.RNNBase):
                torch._C._set_mkldnn_enabled(self._onednn.pop())

    @property
    def current(self) -> str:
        """Name of the layer that runs."""
        return self._running[-1] if self._running else ""

    def of_product(self, phase: str, operands: list[torch.Tensor]) -> str:
        """Return the name of a product's layer."""
        if phase == "backward":
            return self._product_behind()[0]
        # Autograd has made the node of this operation just now, and numbers nodes in the order in which they are made.
        if torch.is_grad_enabled() and any(one.requires_grad for one in operands):
            node = torch.autograd._get_sequence_nr() - 1
            self._products[node] = (self.current, frozenset(map(_memory, operands)))
            if len(self._products) > _MOST_PRODUCTS:
                del self._products[next(iter(self._products))]
        return self.current

    def role(self, phase: str, operand: torch.Tensor) -> str:
        """Return what an operand is: ``"weights"``, ``"activations"`` or ``"grads"``."""
        memory = _memory(operand)
        if any(memory in weights for weights in self._weights.values()):
            return "weights"
        if phase == "forward" or memory in self._product_behind()[1]:
            return "activations"
        return "grads"

    def _product_behind(self) -> tuple[str, frozenset[int]]:
        """Return what is known of the product of the forward pass whose gradient is being computed."""
        node = torch._C._current_autograd_node()
        return self._products.get(node._sequence_nr(), ("", frozenset()))


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())
