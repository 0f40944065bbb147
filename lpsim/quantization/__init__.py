"""Quantisation: the number systems of deep learning, to the bit.

A *scheme* says how real numbers become codes with scales. `lpsim.quantize` applies one and returns a `Quantized`, which
knows its codes as the tool packs them, its bytes and its values.
"""

from __future__ import annotations

from lpsim.quantization.names import NAMED_SCHEMES, SchemeLike, get
from lpsim.quantization.quantized import QuantizationError, Quantized, fake_quantize, quantize
from lpsim.quantization.scheme import Layout, Parts, Scheme, scheme_from_dict

__all__ = [
    "NAMED_SCHEMES",
    "Layout",
    "Parts",
    "QuantizationError",
    "Quantized",
    "Scheme",
    "SchemeLike",
    "fake_quantize",
    "get",
    "quantize",
    "scheme_from_dict",
]
