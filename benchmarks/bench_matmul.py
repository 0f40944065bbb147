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

    params = ["1 x 4096 x 1", "1 x 4096 x 64", "1000 x 64 x 1", "64 x 1797 x 64"]
    param_names = ("m x k x n",)

    def setup(self, shape):
        m, k, n = map(int, shape.split(" x "))
        rng = np.random.default_rng(0)
        self.a, self.b = rng.normal(size=(m, k)), rng.normal(size=(k, n))
        lp.matmul(self.a, self.b)

    def time_matmul(self, shape):
        lp.matmul(self.a, self.b)
