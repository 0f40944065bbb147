"""Elementwise arithmetic on a million numbers."""

import ml_dtypes
import numpy as np

import lpsim as lp

from .bench_round import numbers
from .compare import ratio

OPERANDS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}


class Arithmetic:
    params = (list(OPERANDS), ["bfloat16", "float16", "float32", "float64"], ["ties_to_even", "toward_zero"])
    param_names = ("operation", "format", "rounding")

    def setup(self, operation, fmt, rounding):
        carrier = lp.format(fmt).carrier
        operands = [lp.round(np.abs(np.roll(numbers(), i)) + 1, fmt) for i in range(OPERANDS[operation])]
        function, out = getattr(lp, operation), np.empty(operands[0].shape, carrier)
        self.call = lambda: function(*operands, fmt, rounding=rounding, out=out)
        self.call()

    def time_operation(self, operation, fmt, rounding):
        self.call()


class Peers:
    """Additions and products, relative to those of the dtype itself."""

    params = (["add", "mul", "div"], ["float16", "bfloat16", "float32"])
    param_names = ("operation", "format")

    def setup(self, operation, fmt):
        self.x, self.y = lp.round(numbers(), fmt), lp.round(np.roll(numbers(), 1), fmt)

    def track_operation_over_dtype(self, operation, fmt):
        function = getattr(lp, operation)
        peer = {"add": np.add, "mul": np.multiply, "div": np.divide}[operation]
        dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[fmt]
        x, y = self.x.astype(dtype), self.y.astype(dtype)
        out, peer_out = np.empty_like(self.x), np.empty_like(x)
        return ratio(lambda: function(self.x, self.y, fmt, out=out), lambda: peer(x, y, out=peer_out))

    track_operation_over_dtype.unit = "times"
