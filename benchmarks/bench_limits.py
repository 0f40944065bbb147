"""What no library on arrays can beat: the speed of memory and of the BLAS: a slow machine is not a slow commit."""

import numpy as np

from lpsim.cli.timing import numbers

#: What sizes are divided by, in tests.
SHRINK = 1


class Memory:
    params = [10**3, 10**6, 10**7]
    param_names = ("elements of 4 bytes",)

    def setup(self, size):
        self.x = numbers(size // SHRINK)
        self.out = self.x.copy()  # memory is there before the clock starts

    def time_memcpy(self, size):
        np.copyto(self.out, self.x)

    def time_add(self, size):
        np.add(self.x, self.x, out=self.out)


class Blas:
    params = [256, 512, 1024]
    param_names = ("n",)

    def setup(self, n):
        n //= SHRINK
        self.a, self.b = np.random.default_rng(0).normal(size=(2, n, n)).astype(np.float32)
        self.out = self.a @ self.b

    def time_sgemm(self, n):
        np.matmul(self.a, self.b, out=self.out)
