"""Matrix products under units, beside NumPy's products."""

import numba
import numpy as np

import lpsim as lp
from lpsim.cli.timing import ratio

#: What sizes are divided by, in tests.
SHRINK = 1

#: Units of every kind of kernel.
UNITS = [
    *(name for name in lp.units.NAMED_UNITS if "." not in name),
    *("v100.fp16", "a100.tf32", "h100.fp16", "h100.fp16_fp16", "h100.e4m3", "b200.mxfp4", "mi300.fp16", "amx.bf16"),
]


def operands(n, unit):
    n = max(n // SHRINK, 32)  # a block of scales at least
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, n, n)).astype(np.float32)
    if unit.scale_format is None:
        return a, b, {}
    ones = np.ones((n, n // unit.scale_block))
    return a, b, {"a_scale": ones, "b_scale": ones.T}


def rectangles(shape):
    """Return matrices of a shape such as ``"64 x 4096 x 64"``: m, k and n."""
    m, k, n = (max(int(size) // SHRINK, 1) for size in shape.split(" x "))
    rng = np.random.default_rng(0)
    return rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)


class Matmul:
    params = (UNITS, [64, 256])
    param_names = ("unit", "n")
    timeout = 300

    def setup(self, unit, n):
        self.unit = lp.units.get(unit)
        self.a, self.b, self.scales = operands(n, self.unit)
        lp.matmul(self.a, self.b, self.unit, **self.scales)

    def time_matmul(self, unit, n):
        lp.matmul(self.a, self.b, self.unit, **self.scales)

    def track_matmul_over_sgemm(self, unit, n):
        return ratio(lambda: lp.matmul(self.a, self.b, self.unit, **self.scales), lambda: self.a @ self.b, rounds=5)

    track_matmul_over_sgemm.unit = "times"


class Sgemm:
    """TF32 products over NumPy's float32 products of the same shape; both take all their threads."""

    params = ["1024 x 1024 x 1024", "256 x 256 x 256", "4096 x 64 x 4096", "64 x 4096 x 64"]
    param_names = ("m x k x n",)
    timeout = 300

    def setup(self, shape):
        self.a, self.b = rectangles(shape)

    def track_tf32_over_sgemm(self, shape):
        return ratio(lambda: lp.matmul(self.a, self.b), lambda: self.a @ self.b)

    track_tf32_over_sgemm.unit = "times"


class Steps:
    """Every step rounded, on one thread, over NumPy's float16 product, which rounds once."""

    params = (
        ["half", "bf16", "e4m3fn", "e5m2"],
        ["multiply, then add", "fma"],
    )
    param_names = ("format", "step")
    timeout = 300

    def setup(self, fmt, step):
        product = fmt if step != "fma" else None
        self.unit = lp.MatrixUnit(fmt, accumulator_format=fmt, product_format=product)
        self.a, self.b, _ = operands(512, self.unit)
        self.halves = self.a.astype(np.float16), self.b.astype(np.float16)
        self.threads = numba.get_num_threads()
        numba.set_num_threads(1)

    def teardown(self, fmt, step):
        numba.set_num_threads(self.threads)

    def track_steps_over_numpy_half(self, fmt, step):
        left, right = self.halves
        return ratio(lambda: lp.matmul(self.a, self.b, self.unit), lambda: left @ right, rounds=3)

    track_steps_over_numpy_half.unit = "times"


class Dots:
    """Fused dots on one thread."""

    params = ["v100.fp16", "a100.fp16", "h100.fp16", "h100.tf32", "h100.e4m3"]
    param_names = ("unit",)

    def setup(self, unit):
        self.unit = lp.units.get(unit)
        self.a, self.b, _ = operands(512, self.unit)
        self.threads = numba.get_num_threads()
        numba.set_num_threads(1)
        lp.matmul(self.a, self.b, self.unit)

    def teardown(self, unit):
        numba.set_num_threads(self.threads)

    def time_dots_512(self, unit):
        lp.matmul(self.a, self.b, self.unit)


class Shapes:
    """TF32 products of shapes that are hard to spread over threads and vectors."""

    params = ["1 x 4096 x 1", "1 x 4096 x 64", "1000 x 64 x 1", "64 x 1797 x 64"]
    param_names = ("m x k x n",)

    def setup(self, shape):
        self.a, self.b = (x.astype(np.float64) for x in rectangles(shape))
        lp.matmul(self.a, self.b)

    def time_matmul(self, shape):
        lp.matmul(self.a, self.b)
