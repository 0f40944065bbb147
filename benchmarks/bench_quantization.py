"""Quantisation and back, beside memcpy of the array and the package `gguf`, which does it in NumPy."""

import numpy as np

import lpsim as lp
from lpsim.cli.timing import numbers, ratio

#: Numbers of a square matrix of 4096.
SIZE = 1 << 24

SCHEMES = ["int8", "int4", "fp8", "mxfp8_e4m3", "mxfp6_e2m3", "mxfp4", "nvfp4", "nf4", "dynamic8", "eetq", "llm_int8"]
SCHEMES += ["Q8_0", "Q4_0", "Q5_1"]
PEERS = {"Q8_0": "Q8_0", "Q4_0": "Q4_0", "Q4_1": "Q4_1", "MXFP4": "gguf(type='MXFP4')"}


def matrix(rows=None):
    width = 512 if SIZE < 1 << 20 else 4096
    return numbers(max(SIZE // width, 1) * width).reshape(-1, width)[:rows]


class Quantization:
    params = SCHEMES
    param_names = ("scheme",)

    def setup(self, scheme):
        self.x = matrix()
        self.out = self.x.copy()
        self.quantized = lp.quantize(self.x, scheme)

    def time_quantize(self, scheme):
        lp.quantize(self.x, scheme)

    def time_dequantize(self, scheme):
        self.quantized.dequantize()

    def track_quantize_over_memcpy(self, scheme):
        return ratio(lambda: lp.quantize(self.x, scheme), lambda: np.copyto(self.out, self.x))

    def track_dequantize_over_memcpy(self, scheme):
        return ratio(self.quantized.dequantize, lambda: np.copyto(self.out, self.x))

    track_quantize_over_memcpy.unit = track_dequantize_over_memcpy.unit = "times"


class Searches:
    """Types that try several scales for each group, on a part of the matrix."""

    params = ["Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
    param_names = ("type",)

    def setup(self, kind):
        self.x = matrix(rows=64)
        lp.quantize(self.x, kind)

    def time_quantize(self, kind):
        lp.quantize(self.x, kind)


class Package:
    params = list(PEERS)
    param_names = ("type",)

    def setup(self, kind):
        try:
            import gguf
        except ImportError as error:
            raise NotImplementedError from error
        self.quants, self.type = gguf.quants, gguf.GGMLQuantizationType[kind]
        self.x = matrix()
        self.scheme = lp.quantization.get(PEERS[kind])
        self.quantized = lp.quantize(self.x, self.scheme)

    def track_quantize_over_package(self, kind):
        return ratio(lambda: lp.quantize(self.x, self.scheme), lambda: self.quants.quantize(self.x, self.type))

    def track_dequantize_over_package(self, kind):
        codes = self.quantized.codes
        return ratio(self.quantized.dequantize, lambda: self.quants.dequantize(codes, self.type))

    track_quantize_over_package.unit = track_dequantize_over_package.unit = "times"
