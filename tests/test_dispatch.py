"""Arguments of other kinds do lpsim's functions in their own way."""

import numpy as np
import pytest

import lpsim as lp


class Wrapped:
    """An array in a box."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __lpsim_function__(self, function, args, kwargs):
        args = [one.array if isinstance(one, Wrapped) else one for one in args]
        kwargs = {name: one.array if isinstance(one, Wrapped) else one for name, one in kwargs.items()}
        return Wrapped(function(*args, **kwargs))


X = np.array([[1.0, 2.5], [0.1, -3.0]])


@pytest.mark.parametrize(
    ("call", "operands"),
    [
        (lambda x: lp.round(x, "e4m3fn"), 1),
        (lambda x: lp.encode(x=x, fmt="e4m3fn"), 1),
        (lambda x: lp.decode(x, "E8M23"), 1),
        (lambda x: lp.neg(x, "bf16"), 1),
        (lambda x: lp.abs(x, "bf16"), 1),
        (lambda x: lp.sqrt(x, "bf16"), 1),
        (lambda x: lp.sum(x, "bf16", axis=0), 1),
        (lambda x, y: lp.add(x, y, "bf16"), 2),
        (lambda x, y: lp.sub(x, y, "bf16"), 2),
        (lambda x, y: lp.mul(x, y, "bf16"), 2),
        (lambda x, y: lp.div(x, y, "bf16"), 2),
        (lambda x, y: lp.fma(x, y, y, fmt="bf16"), 2),
        (lambda x, y: lp.matmul(x, b=y, unit=lp.units.bf16), 2),
        (lambda x, y: lp.dot(x, y, lp.units.bf16), 2),
    ],
)
def test_each_function_is_left_to_its_arguments(call, operands, request):
    x = X.astype(np.uint32) if "decode" in str(call.__code__.co_names) else X
    given = [x, x[::-1]][:operands] if "dot" not in str(call.__code__.co_names) else [x[0], x[1]]
    plain = call(*given)
    for position in range(operands):
        boxed = [Wrapped(one) if i == position else one for i, one in enumerate(given)]
        result = call(*boxed)
        assert type(result) is Wrapped
        np.testing.assert_array_equal(result.array, plain)


def test_a_type_can_refuse():
    quantized = lp.quantize(X, "int8")
    with pytest.raises(TypeError, match=r"lpsim\.add is called with a quantised array .*; allowed: its values"):
        lp.add(quantized, 1.0, "fp16")
