"""The kernels of lpsim.cuda; without a GPU, nothing runs."""

import time

import numpy as np

import lpsim as lp
import lpsim.cuda

SIZE = 100_000_000
ORDER = 4096


def gpu():
    """Return numba.cuda, or tell asv that there is nothing to do."""
    if not lpsim.cuda.is_available():
        raise NotImplementedError("needs a GPU and lpsim[cuda]")
    from numba import cuda

    return cuda


def seconds(call, repetitions=5):
    """Return the shortest time of a call on the GPU, which is waited for."""
    cuda = gpu()
    call()
    cuda.synchronize()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


class Elementwise:
    params = (["float16", "bfloat16", "float8_e4m3fn"], ["ties_to_even", "toward_zero", "stochastic"])
    param_names = ("format", "rounding")

    def setup(self, fmt, mode):
        cuda = gpu()
        self.x = cuda.to_device(np.random.default_rng(0).standard_normal(SIZE, np.float32))
        self.out = cuda.device_array(SIZE, np.float32)
        self.options = {"rounding": mode} | ({"seed": 1} if mode == "stochastic" else {})

    def track_nanoseconds_per_element(self, fmt, mode):
        return seconds(lambda: lp.round(self.x, fmt, **self.options)) / SIZE * 1e9

    def track_round_over_device_copy(self, fmt, mode):
        copying = seconds(lambda: self.out.copy_to_device(self.x))
        return seconds(lambda: lp.round(self.x, fmt, **self.options)) / copying

    track_nanoseconds_per_element.unit = "ns"
    track_round_over_device_copy.unit = "times"


class Products:
    params = (["tf32", "fp16_fp16acc", "bf16_bf16acc"],)
    param_names = ("unit",)

    def setup(self, unit):
        cuda = gpu()
        rng = np.random.default_rng(0)
        self.a, self.b = (cuda.to_device(rng.standard_normal((ORDER, ORDER), np.float32)) for _ in range(2))

    def track_gflops(self, unit):
        return 2 * ORDER**3 / seconds(lambda: lp.matmul(self.a, self.b, unit)) / 1e9

    def track_over_sgemm(self, unit):
        try:
            import torch
        except ImportError:
            return float("nan")
        torch.backends.cuda.matmul.allow_tf32 = False
        a, b = (torch.as_tensor(one, device="cuda") for one in (self.a, self.b))
        return seconds(lambda: lp.matmul(self.a, self.b, unit)) / seconds(lambda: a @ b)

    track_gflops.unit = "GFLOP/s"
    track_over_sgemm.unit = "times"
