"""Memory at its peak, of whole processes: an operation that writes to ``out`` takes no array of its own."""

import numpy as np

import lpsim as lp

#: Elements. An array of them has 200 MB, more than Numba and its compiler take.
SIZE = 50_000_000


class Elementwise:
    params = ["nothing", "round", "add", "round, not contiguous"]
    param_names = ("operation",)
    timeout = 120

    def setup(self, operation):
        self.x = np.full(SIZE, 1.1, np.float32)
        self.y = np.full(SIZE, 0.3, np.float32)
        self.out = np.empty(SIZE, np.float32)

    def peakmem_with_out(self, operation):
        self.out[:] = 0  # memory counts when it is written to
        if operation == "round":
            lp.round(self.x, "half", out=self.out)
        elif operation == "add":
            lp.add(self.x, self.y, "half", out=self.out)
        elif operation == "round, not contiguous":
            lp.round(self.x[::2], "half", out=self.out[::2])
