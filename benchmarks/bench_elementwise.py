"""Rounding and arithmetic: every operation, in formats of each kind, sizes, and numbers of threads."""

import ml_dtypes
import numba
import numpy as np

import lpsim as lp
from lpsim.cli.timing import numbers, ratio

OPERANDS = {"round": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
#: Elements: what a call costs in itself, and what an element costs.
SIZES = {"10^3": 1_000, "10^6": 1_000_000}
MODES = ["ties_to_even", "toward_zero", "stochastic"]


def operands(operation, fmt, size):
    numbers_of_all = [np.abs(np.roll(numbers(size), i)) + 1 for i in range(OPERANDS[operation])]
    return numbers_of_all if operation == "round" else [lp.round(x, fmt) for x in numbers_of_all]


class Elementwise:
    params = (list(OPERANDS), ["float16", "float8_e4m3fn", "float64"], MODES, list(SIZES), ["one", "all"])
    param_names = ("operation", "format", "rounding", "size", "threads")
    # Many combinations, each of them soon done.
    warmup_time, sample_time, repeat = 0.02, 0.01, (3, 20, 0.3)

    def setup(self, operation, fmt, mode, size, threads):
        given = operands(operation, fmt, SIZES[size])
        options = {"rounding": mode, "out": np.empty(SIZES[size], lp.format(fmt).carrier)}
        options |= {"seed": 1} if lp.Rounding[mode.upper()].is_stochastic else {}
        function = getattr(lp, operation)
        self.call = lambda: function(*given, fmt, **options)
        self.threads = numba.get_num_threads()
        if threads == "one":
            numba.set_num_threads(1)
        self.call()

    def teardown(self, *_):
        numba.set_num_threads(self.threads)

    def time_operation(self, *_):
        self.call()


class Dtypes:
    """Relative to the operations of the dtype itself."""

    params = (["add", "mul", "div"], ["float16", "bfloat16", "float32"])
    param_names = ("operation", "format")

    def setup(self, operation, fmt):
        size = SIZES["10^6"]
        self.x, self.y = lp.round(numbers(size), fmt), lp.round(np.roll(numbers(size), 1), fmt)

    def track_operation_over_dtype(self, operation, fmt):
        function = getattr(lp, operation)
        peer = {"add": np.add, "mul": np.multiply, "div": np.divide}[operation]
        dtype = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}[fmt]
        x, y = self.x.astype(dtype), self.y.astype(dtype)
        out, peer_out = np.empty_like(self.x), np.empty_like(x)
        return ratio(lambda: function(self.x, self.y, fmt, out=out), lambda: peer(x, y, out=peer_out))

    track_operation_over_dtype.unit = "times"
