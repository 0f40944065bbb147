"""Rounding, encoding and decoding a million numbers."""

import ml_dtypes
import numpy as np

import lpsim as lp
from lpsim.cli import timing
from lpsim.cli.timing import ratio

SIZE = 1_000_000
DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}


def numbers(dtype=np.float32):
    return timing.numbers(SIZE, dtype)


class Round:
    params = (["float16", "bfloat16", "tf32", "float8_e4m3fn", "E6M5"], ["float32", "float64"])
    param_names = ("format", "input")

    def setup(self, fmt, dtype):
        self.x = numbers(dtype)
        self.out = lp.round(self.x, fmt)

    def time_round(self, fmt, dtype):
        lp.round(self.x, fmt, out=self.out)

    def track_round_over_memcpy(self, fmt, dtype):
        copy = np.empty_like(self.x)
        return ratio(lambda: lp.round(self.x, fmt, out=self.out), lambda: np.copyto(copy, self.x))

    track_round_over_memcpy.unit = "times"


class Modes:
    params = [mode.name.lower() for mode in lp.Rounding]
    param_names = ("rounding",)

    def setup(self, mode):
        self.x = numbers()
        self.options = {"rounding": mode} | ({"seed": 1} if lp.Rounding[mode.upper()].is_stochastic else {})
        self.out = lp.round(self.x, "bfloat16", **self.options)

    def time_round_to_bfloat16(self, mode):
        lp.round(self.x, "bfloat16", out=self.out, **self.options)


class Codes:
    params = list(DTYPES)
    param_names = ("format",)

    def setup(self, fmt):
        self.x = numbers()
        self.codes = lp.encode(self.x, fmt)
        lp.decode(self.codes, fmt)

    def time_encode(self, fmt):
        lp.encode(self.x, fmt)

    def time_decode(self, fmt):
        lp.decode(self.codes, fmt)

    def track_encode_over_cast(self, fmt):
        """The peer is NumPy's cast for float16, else that of ml_dtypes."""
        return ratio(lambda: lp.encode(self.x, fmt), lambda: self.x.astype(DTYPES[fmt]))

    track_encode_over_cast.unit = "times"

    def track_decode_over_cast(self, fmt):
        cast = self.x.astype(DTYPES[fmt])
        return ratio(lambda: lp.decode(self.codes, fmt), lambda: cast.astype(np.float32))

    track_decode_over_cast.unit = "times"
