"""Matrix products under units, beside NumPy's float32 product."""

import numpy as np

import lpsim as lp

from .compare import ratio


class Matmul:
    params = (list(lp.units.NAMED_UNITS), [64, 256])
    param_names = ("unit", "n")
    timeout = 300

    def setup(self, unit, n):
        rng = np.random.default_rng(0)
        self.a, self.b = rng.normal(size=(2, n, n)).astype(np.float32)
        lp.matmul(self.a, self.b, unit)

    def time_matmul(self, unit, n):
        lp.matmul(self.a, self.b, unit)

    def track_matmul_over_sgemm(self, unit, n):
        return ratio(lambda: lp.matmul(self.a, self.b, unit), lambda: self.a @ self.b, rounds=5)

    track_matmul_over_sgemm.unit = "times"


class Shapes:
    """TF32 products of shapes that are hard to spread over threads and vectors."""

    params = [(1, 4096, 1), (1, 4096, 64), (1000, 64, 1), (64, 1797, 64)]
    param_names = ("m, k, n",)

    def setup(self, shape):
        m, k, n = shape
        rng = np.random.default_rng(0)
        self.a, self.b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
        lp.matmul(self.a, self.b)

    def time_matmul(self, shape):
        lp.matmul(self.a, self.b)
