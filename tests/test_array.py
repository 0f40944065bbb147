"""Arrays that carry their format do NumPy's arithmetic and functions, every result rounded once."""

import operator
import pickle

import numpy as np
import pytest

import lpsim as lp

FORMATS = ["half", "bf16", "e4m3fn", "e5m2", "tf32", "float32", "float64", "E3M2"]
RNG = np.random.default_rng(8)


def same(array, values):
    """Compare with values of an array's carrier, in bits."""
    assert isinstance(array, lp.Array)
    values = np.asarray(values)
    assert array.shape == values.shape
    assert array.dtype == array.format.carrier
    bits = "u4" if array.dtype.itemsize == 4 else "u8"
    np.testing.assert_array_equal(np.array(array).view(bits), values.astype(array.dtype).view(bits))


@pytest.fixture(params=FORMATS)
def fmt(request):
    return lp.format(request.param)


@pytest.fixture
def pair(fmt):
    return lp.array(RNG.normal(size=(4, 5)), fmt), lp.array(RNG.normal(size=(4, 5)), fmt)


# Operators and ufuncs.


@pytest.mark.parametrize(
    ("operation", "function"),
    [(operator.add, lp.add), (operator.sub, lp.sub), (operator.mul, lp.mul), (operator.truediv, lp.div)],
)
@pytest.mark.parametrize("rounding", ["ties_to_even", "toward_zero", "to_odd"])
def test_operators_round_once_in_the_arrays_mode(pair, fmt, operation, function, rounding):
    x, y = (one.with_context(lp.Context(rounding)) for one in pair)
    same(operation(x, y), function(x.values, y.values, fmt, rounding=rounding))
    same(operation(x, 0.3), function(x.values, lp.round(0.3, fmt), fmt, rounding=rounding))
    same(operation(0.3, x), function(lp.round(0.3, fmt), x.values, fmt, rounding=rounding))
    same(operation(x, y[0]), function(x.values, y.values[0], fmt, rounding=rounding))
    z = x.copy()
    view = z[1:]
    view = operation(view, 2)
    same(view, function(x.values[1:], 2, fmt, rounding=rounding))
    same(z, x.values)


def test_unary_ufuncs(pair, fmt):
    x = abs(pair[0])
    same(x, np.abs(pair[0].values))
    same(np.sqrt(x), lp.sqrt(x.values, fmt))
    same(x**2, lp.mul(x.values, x.values, fmt))
    same(np.square(x), lp.mul(x.values, x.values, fmt))
    same(x**0.5, lp.sqrt(x.values, fmt))
    same(x**-1, lp.div(1, x.values, fmt))
    same(np.reciprocal(x), lp.div(1, x.values, fmt))
    same(-x, -x.values)
    same(+x, x.values)
    same(np.floor(x), np.floor(x.values))
    same(np.maximum(x, pair[1]), np.maximum(x.values, pair[1].values))
    same(np.copysign(x, pair[1]), np.copysign(x.values, pair[1].values))
    same(np.nextafter(x, 0), lp.nextafter(x.values, 0, fmt))
    assert np.isfinite(x).all()
    assert not np.signbit(x).any()


def test_in_place_operators_write_into_views(pair, fmt):
    x, y = pair
    before = x.values.copy()
    alias = x[1]
    alias += y[1]
    expected = before.copy()
    expected[1] = lp.add(before[1], y.values[1], fmt)
    same(x, expected)
    x *= x
    same(x, lp.mul(expected, expected, fmt))
    x[0] = 0.3
    assert float(x[0, 0]) == lp.round(0.3, fmt)
    np.add(x, y, out=x)
    assert x[0, 0] == lp.add(lp.round(0.3, fmt), y.values[0, 0], fmt)


def test_comparisons_are_exact(fmt):
    x = lp.array([1, 2, 3], fmt)
    assert (x < 2).tolist() == [True, False, False]
    assert (x == lp.array([1, 2.5, 3], "float64")).tolist() == [True, False, True]
    assert (x < 1e300).all()
    assert lp.array(0.1, "half") != 0.1
    assert 2 in x
    assert bool(x[0] == 1)


def test_products_round_every_step(fmt):
    a, b = lp.array(RNG.normal(size=(3, 7)), fmt), lp.array(RNG.normal(size=(7, 2)), fmt)
    expected = np.zeros((3, 2), fmt.carrier)
    for k in range(7):
        product = lp.mul(a.values[:, k : k + 1], b.values[k], fmt)
        expected = lp.add(product, expected, fmt)
    same(a @ b, expected)
    same(np.dot(a, b), expected)
    same(a.dot(b), expected)
    same(a[0] @ b, expected[0])
    same(np.vdot(a[0], b[:, 0]), expected[0, 0])
    same(np.inner(a, b.T), expected)
    same(np.outer(a[0], b[0]), lp.mul(a.values[0][:, None], b.values[0], fmt))
    same(np.multiply.outer(a[0], b[0]), lp.mul(a.values[0][:, None], b.values[0], fmt))


def test_products_by_a_matrix_unit():
    a, b = RNG.normal(size=(2, 6, 6))
    x, y = (lp.array(one, "half", unit="h100.fp16") for one in (a, b))
    same(x @ y, lp.round(lp.matmul(x.values, y.values, lp.units.h100.fp16), "half"))


def test_sums_and_means(pair, fmt):
    x = pair[0]
    for axis in (None, 0, 1, (0, 1)):
        total = lp.sum(x.values, fmt, axis=axis)
        same(np.sum(x, axis=axis), total)
        same(np.add.reduce(x, axis=axis), total)
        same(x.sum(axis=axis), total)
        count = x.size // np.size(total)
        same(np.mean(x, axis=axis), lp.div(total, count, fmt))
        same(x.max(axis=axis), x.values.max(axis=axis))
        same(np.min(x, axis=axis, keepdims=True), x.values.min(axis=axis, keepdims=True))
    column = x.values[:, 0]
    running = [column[0]]
    product = column[0]
    for value in column[1:]:
        running.append(lp.add(running[-1], value, fmt))
        product = lp.mul(product, value, fmt)
    same(np.cumsum(x[:, 0]), np.array(running))
    same(np.add.accumulate(x[:, 0]), np.array(running))
    same(np.cumsum(x, axis=0)[:, 0], np.array(running))
    same(np.prod(x[:, 0]), product)
    same(np.prod(x, axis=0)[0], product)
    same(np.sum(x, axis=1, keepdims=True), lp.sum(x.values, fmt, axis=1, keepdims=True))


def test_the_mean_divides_by_the_exact_count():
    # 500 itself is no value of the format.
    assert float(np.mean(lp.array([448.0] + [0.0] * 499, "e4m3fn"))) == lp.round(448 / 500, "e4m3fn")


def test_norms(pair, fmt):
    x = pair[0]
    same(np.linalg.norm(x), lp.sqrt(lp.sum(lp.mul(x.values, x.values, fmt), fmt), fmt))
    same(np.linalg.norm(x, axis=1), lp.sqrt(lp.sum(lp.mul(x.values, x.values, fmt), fmt, axis=1), fmt))
    same(np.linalg.norm(x[0], 1), lp.sum(np.abs(x.values[0]), fmt))
    same(np.linalg.norm(x, 1), lp.sum(np.abs(x.values), fmt, axis=0).max())
    same(np.linalg.norm(x, np.inf), lp.sum(np.abs(x.values), fmt, axis=1).max())
    same(np.linalg.norm(x[0], np.inf), np.abs(x.values[0]).max())
    with pytest.raises(TypeError, match=r"numpy\.linalg\.norm is called with ord=-2"):
        np.linalg.norm(x, -2)


# Functions that move elements.


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x[::-1, 1:3],
        lambda x: x[[0, 2, 2]],
        lambda x: x.T,
        lambda x: np.reshape(x, (5, 4)),
        lambda x: x.reshape(2, 10),
        np.ravel,
        lambda x: np.concatenate([x, x[:1]]),
        lambda x: np.stack([x, x], axis=1),
        lambda x: np.vstack([x, np.zeros(5)]),
        np.transpose,
        lambda x: np.moveaxis(x, 0, 1),
        lambda x: np.sort(x, axis=0),
        np.triu,
        lambda x: np.diag(x[:4, :4]),
        np.flip,
        lambda x: np.roll(x, 2),
        lambda x: np.tile(x, 2),
        np.zeros_like,
        np.ones_like,
        lambda x: np.full_like(x, 2.0),
        lambda x: np.where(x > 0, x, 0.0),
        lambda x: np.clip(x, -0.5, 0.5),
        lambda x: np.broadcast_to(x[0], (3, 5)),
        lambda x: np.split(x, 2)[1],
        lambda x: x.take([1, 0], axis=1),
        lambda x: np.expand_dims(x, 0),
        lambda x: x.swapaxes(0, 1),
        lambda x: np.block([[x, x], [x, x]]),
    ],
)
def test_elements_move_as_numpys_do(pair, move):
    same(move(pair[0]), move(pair[0].values))


def test_functions_that_tell_something(pair):
    x, y = pair
    assert np.argmax(x) == np.argmax(x.values)
    assert x.argmin() == x.values.argmin()
    np.testing.assert_array_equal(np.argsort(x, axis=0), np.argsort(x.values, axis=0))
    assert np.array_equal(x, x.copy())
    assert not np.array_equal(x, y)
    assert np.allclose(x, x.values)
    assert np.count_nonzero(x) == np.count_nonzero(x.values)
    assert np.shape(x) == (4, 5)
    assert (len(x), x.ndim, x.size) == (4, 2, 20)
    np.testing.assert_array_equal(np.where(x > 0)[0], np.where(x.values > 0)[0])
    assert np.any(x) == np.any(x.values)
    assert np.shares_memory(x, x[1:])


def test_views_share_memory_and_copies_do_not():
    x = lp.array([1, 2, 3], "half")
    view, copy = x[1:], x.copy()
    view[0] = 7
    assert x.tolist() == [1, 7, 3]
    assert copy.tolist() == [1, 2, 3]
    source = np.array([1, 2, 3], np.float32)
    y = lp.array(source, "half")
    source[0] = 9
    assert y.tolist() == [1, 2, 3]


def test_iteration_and_scalars():
    x = lp.array([[1.5, 2], [3, 4]], "half")
    assert [row.tolist() for row in x] == [[1.5, 2], [3, 4]]
    assert (float(x[0, 0]), int(x[1, 1]), x[0, 0].item()) == (1.5, 4, 1.5)
    with pytest.raises(TypeError, match="float is called with an array of shape"):
        float(x)
    assert f"{x[0, 0]:.2f}" == "1.50"
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


# Formats and contexts.


def test_conversions(fmt):
    x = lp.array([0.1, 1, -2.5], "float64")
    y = x.astype(fmt)
    same(y, lp.round([0.1, 1, -2.5], fmt))
    np.testing.assert_array_equal(y.codes, lp.encode([0.1, 1, -2.5], fmt))
    same(lp.Array.from_codes(y.codes, fmt), y.values)
    values = np.asarray(y)
    assert values.dtype == fmt.carrier
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1
    assert np.array(y).flags.writeable
    assert np.asarray(y, dtype=np.float64).dtype == np.float64
    same(lp.array(y, fmt), y.values)


def test_lpsims_functions_take_the_values(fmt):
    x = lp.array([1, 2], fmt)
    result = lp.add(x, x, "float64")
    assert type(result) is np.ndarray
    assert result.tolist() == [2, 4]


@pytest.mark.parametrize(
    "operation",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y,
        lambda x, y: np.where(x > 0, x, y),
        lambda x, y: np.concatenate([x, y]),
        np.dot,
        operator.iadd,
        lambda x, y: operator.setitem(x, 0, y[0]),
        np.copyto,
    ],
)
def test_formats_are_not_mixed(operation):
    with pytest.raises(TypeError, match=r"float16 (and|for one in) bfloat16|bfloat16 (and|for one in) float16"):
        operation(lp.array([1, 2], "half"), lp.array([1, 2], "bf16"))


def test_numpys_numbers_must_be_values_of_the_format():
    x = lp.array([1, 2], "half")
    assert (x + np.array([0.5, 1])).tolist() == [1.5, 3]
    assert (np.array([0.5, 1]) + x).tolist() == [1.5, 3]
    assert (np.float64(2) * x).tolist() == [2, 4]
    assert (x + np.array([1, 2])).tolist() == [2, 4]
    with pytest.raises(TypeError, match=r"numpy\.add is called with 0\.1 in an operand of dtype float64.*no value of"):
        x + np.array([0.5, 0.1])
    with pytest.raises(TypeError, match=r"no value of float16"):
        x[0] = np.float32(0.1)


@pytest.mark.parametrize("wrong", ["one", 1j, None, object()])
def test_what_is_no_number_is_refused(wrong):
    x = lp.array([1, 2], "half")
    with pytest.raises(TypeError):
        x + wrong
    with pytest.raises((TypeError, ValueError)):
        x[0] = wrong


def test_contexts_are_not_mixed():
    x, y = lp.array([1, 2], "half"), lp.array([1, 2], "half", rounding="toward_zero")
    with pytest.raises(TypeError, match=r"arrays of Context\(\) and Context\(rounding='toward_zero'\)"):
        x + y
    assert (x.with_context(y.context) + y).tolist() == [2, 4]
    same(lp.array(0.1, "half", rounding="toward_positive"), lp.round(0.1, "half", rounding="toward_positive"))


def test_random_bits_follow_from_the_seed():
    def run(seed):
        context = lp.Context("stochastic", seed=seed)
        x, y = lp.Array(np.full(100, 0.1), "e4m3fn", context), lp.Array(np.full(100, 0.3), "e4m3fn", context)
        return [(x + y).tolist(), (x + y).tolist(), (x @ y).tolist(), np.sum(x).tolist()]

    first, second = run(1), run(1)
    assert first == second
    assert first[0] != first[1]
    assert run(2) != first
    with pytest.raises(TypeError, match="the same one if it uses random bits"):
        lp.array(1, "half", rounding="stochastic", seed=1) + lp.array(1, "half", rounding="stochastic", seed=1)
    with pytest.raises(ValueError, match="seed is None"):
        lp.Context("stochastic")


def test_pickles_hold_format_and_context():
    context = lp.Context("stochastic", seed=3)
    x = lp.Array([0.1, 0.2], "e5m2", context)
    again, other = pickle.loads(pickle.dumps((x, x * 2)))
    same(again, x.values)
    assert again.format == x.format
    assert again.context is other.context
    plain = pickle.loads(pickle.dumps(lp.array([1], "half", rounding="to_odd")))
    assert plain.context == lp.Context("to_odd")


# Refusals.


@pytest.mark.parametrize("ufunc", [np.exp, np.sin, np.log, np.arctan2, np.remainder, np.hypot, np.divmod, np.modf])
def test_undefined_ufuncs_are_named(ufunc):
    x = lp.array([1, 2], "half")
    with pytest.raises(TypeError, match=rf"numpy\.{ufunc.__name__} is not defined for arrays with a format"):
        ufunc(*[x] * ufunc.nin)


@pytest.mark.parametrize("function", [np.linalg.solve, np.linalg.inv, np.fft.fft, np.var, np.median, np.interp])
def test_undefined_functions_are_named(function):
    x = lp.array([[1, 2], [3, 4]], "half")
    with pytest.raises(TypeError, match=rf"{function.__name__} is not defined for arrays with a format"):
        function(x, x, x) if function is np.interp else function(*[x] * (2 if function is np.linalg.solve else 1))


def test_options_that_would_be_lost_are_named():
    x = lp.array([1, 2], "half")
    for call, word in [
        (lambda: np.add(x, x, where=[True, False]), "where"),
        (lambda: np.add(x, x, dtype=np.float64), "dtype"),
        (lambda: np.sum(x, dtype=np.float64), "dtype"),
        (lambda: np.sum(x, initial=3), "initial"),
        (lambda: np.add.accumulate(x, dtype=np.float64), "dtype"),
        (lambda: np.add.at(x, [0], 1), "add.at"),
        (lambda: np.add(x, x, out=np.empty(2)), "out"),
        (lambda: x**3, "exponent 3"),
        (lambda: np.mean(x, where=[True, False]), "where"),
        (lambda: np.concatenate([x, x], out=np.empty(4)), "out"),
    ]:
        with pytest.raises(TypeError, match=word):
            call()
    with pytest.raises(IndexError, match="an index is an array in float16"):
        x[lp.array([0, 1], "half")]
    with pytest.raises(TypeError, match="context is 'odd'"):
        lp.Array(1, "half", "odd")
    with pytest.raises(ValueError, match="copy is False"):
        x.__array__(np.float64, copy=False)


# Printing.


def test_values_print_with_the_fewest_digits_of_their_format():
    assert repr(lp.array([0.1, 448], "e4m3fn")) == "Array([0.1, 448.0], float8_e4m3fn)"
    assert str(lp.array([0.1, 65504], "half")) == "[0.1 65504.0]"
    assert str(lp.array(0.1, "bf16")) == "0.1"
    assert "seed=4" in repr(lp.array([1.0], "half", rounding="stochastic", seed=4))
    for value in RNG.normal(size=50):
        x = lp.array(value, "half")
        assert lp.round(float(str(x)), "half") == float(x)
