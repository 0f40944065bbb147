"""Quantisation: the number systems of deep learning, to the bit.

A *scheme* says how real numbers become codes with scales. `lpsim.quantize` applies one and returns a `Quantized`, which
knows its codes as the tool packs them, its bytes and its values.
"""

from __future__ import annotations

from lpsim.quantization.blocks import MX_SCHEMES, BlockFloat, bfp, block_float, mx
from lpsim.quantization.gptq import GPTQ, gptq
from lpsim.quantization.hessian import Hessian
from lpsim.quantization.names import NAMED_SCHEMES, SchemeLike, get
from lpsim.quantization.nvfp4 import NVFP4, nvfp4
from lpsim.quantization.quantized import QuantizationError, Quantized, fake_quantize, quantize
from lpsim.quantization.scheme import Layout, Parts, Scheme, scheme_from_dict
from lpsim.quantization.words import pack_words, unpack_words

NAMED_SCHEMES["mx"] = mx
NAMED_SCHEMES.update(MX_SCHEMES)
NAMED_SCHEMES["block_float"] = block_float
NAMED_SCHEMES["bfp"] = bfp
NAMED_SCHEMES["nvfp4"] = nvfp4
NAMED_SCHEMES["gptq"] = gptq

__all__ = [
    "GPTQ",
    "NAMED_SCHEMES",
    "NVFP4",
    "BlockFloat",
    "Hessian",
    "Layout",
    "Parts",
    "QuantizationError",
    "Quantized",
    "Scheme",
    "SchemeLike",
    "bfp",
    "block_float",
    "fake_quantize",
    "get",
    "gptq",
    "mx",
    "nvfp4",
    "pack_words",
    "quantize",
    "scheme_from_dict",
    "unpack_words",
]
