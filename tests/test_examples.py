"""Algorithms on arrays that carry a format: bits of a plain loop, and behaviour that the literature describes."""

import numpy as np
import pytest

import lpsim as lp
from lpsim.examples import conjugate_gradients, iterative_refinement, lorenz63, lu_factor, lu_solve, runge_kutta4

RNG = np.random.default_rng(63)
FORMATS = ["half", "bf16", "e5m2", "float32"]


def random_matrix(n, condition):
    """Return a matrix with singular values from 1 down to 1 / condition, geometrically."""
    u, v = (np.linalg.qr(RNG.normal(size=(n, n)))[0] for _ in range(2))
    return u @ np.diag(np.geomspace(1, 1 / condition, n)) @ v


class Loop:
    """Scalar arithmetic, one call of lpsim an operation."""

    def __init__(self, fmt, rounding="ties_to_even"):
        self.how = {"fmt": lp.format(fmt), "rounding": rounding}

    def __getattr__(self, name):
        return lambda *operands: getattr(lp, name)(*operands, **self.how)

    def dot(self, x, y):
        total = 0.0
        for one, other in zip(x, y, strict=True):
            total = self.add(total, self.mul(one, other))
        return total


def solve_by_loops(a, b, do):
    n = len(b)
    lu, x = [list(row) for row in a], list(b)
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: (abs(lu[i][k]), -i))
        lu[k], lu[pivot], x[k], x[pivot] = lu[pivot], lu[k], x[pivot], x[k]
        for i in range(k + 1, n):
            lu[i][k] = do.div(lu[i][k], lu[k][k])
            for j in range(k + 1, n):
                lu[i][j] = do.sub(lu[i][j], do.mul(lu[i][k], lu[k][j]))
    for k in range(n):
        for i in range(k + 1, n):
            x[i] = do.sub(x[i], do.mul(lu[i][k], x[k]))
    for k in reversed(range(n)):
        x[k] = do.div(x[k], lu[k][k])
        for i in range(k):
            x[i] = do.sub(x[i], do.mul(lu[i][k], x[k]))
    return x


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rounding", ["ties_to_even", "toward_zero"])
def test_gaussian_elimination_is_the_plain_loop(fmt, rounding):
    a, b = lp.round(RNG.normal(size=(8, 8)), fmt), lp.round(RNG.normal(size=8), fmt)
    context = lp.Context(rounding)
    solution = lu_solve(lu_factor(lp.Array(a, fmt, context)), lp.Array(b, fmt, context))
    assert solution.tolist() == [float(x) for x in solve_by_loops(a, b, Loop(fmt, rounding))]


@pytest.mark.parametrize("fmt", FORMATS)
def test_conjugate_gradients_are_the_plain_loop(fmt):
    a, b = lp.round(np.eye(6) * 4 + 1, fmt), lp.round(RNG.normal(size=6), fmt)
    do = Loop(fmt)
    x, r = [0.0] * 6, list(b)
    p, square = r, do.dot(r, r)
    for _ in range(4):
        image = [do.dot(row, p) for row in a]
        curvature = do.dot(p, image)
        if not (square > 0 and curvature > 0):
            break
        step = do.div(square, curvature)
        x = [do.add(one, do.mul(step, other)) for one, other in zip(x, p, strict=True)]
        r = [do.sub(one, do.mul(step, other)) for one, other in zip(r, image, strict=True)]
        before, square = square, do.dot(r, r)
        ratio = do.div(square, before)
        p = [do.add(one, do.mul(ratio, other)) for one, other in zip(r, p, strict=True)]
    solution, norms = conjugate_gradients(lp.array(a, fmt), lp.array(b, fmt), 4)
    assert solution.tolist() == [float(one) for one in x]
    assert norms[-1] == lp.sqrt(square, fmt)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_runge_kutta_step_is_the_plain_loop(fmt):
    do = Loop(fmt)
    literal = lambda value: lp.round(value, fmt)  # noqa: E731

    def derivative(s):
        x, y, z = s
        return [
            do.mul(10, do.sub(y, x)),
            do.sub(do.mul(x, do.sub(28, z)), y),
            do.sub(do.mul(x, y), do.mul(literal(8 / 3), z)),
        ]

    def moved(s, factor, slope):
        return [do.add(one, do.mul(literal(factor), other)) for one, other in zip(s, slope, strict=True)]

    h, state = 1 / 64, [1.0, 1.5, 20.0]
    k1 = derivative(state)
    k2 = derivative(moved(state, 0.5 * h, k1))
    k3 = derivative(moved(state, 0.5 * h, k2))
    k4 = derivative(moved(state, h, k3))
    mean = [do.add(do.add(a, do.mul(2, do.add(b, c))), d) for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
    result = runge_kutta4(lorenz63, lp.array(state, fmt), h)
    assert result.tolist() == [float(one) for one in moved(state, h / 6, mean)]


def test_the_algorithms_run_on_numpys_arrays():
    a = random_matrix(10, 10)
    x = RNG.normal(size=10)
    np.testing.assert_allclose(lu_solve(lu_factor(a), a @ x), x, rtol=1e-12)
    spd = a @ a.T + np.eye(10)
    np.testing.assert_allclose(conjugate_gradients(spd, spd @ x, 30)[0], x, rtol=1e-10)
    assert runge_kutta4(lambda y: -y, np.ones(2), 0.1)[0] == pytest.approx(np.exp(-0.1), abs=1e-7)


def forward_error(x, exact):
    return float(np.max(np.abs(np.asarray(x, np.float64) - exact)) / np.max(np.abs(exact)))


@pytest.mark.parametrize("condition", [10, 100])
def test_refinement_in_three_precisions_reaches_the_working_precision(condition):
    # Carson and Higham 2018, table 4.1: factors in half, kappa below 1e4: forward errors near the unit roundoff of
    # single precision. Half precision alone stays at kappa times its own unit roundoff or so.
    n = 40
    a = lp.round(random_matrix(n, condition), "float32").astype(np.float64)
    x = lp.round(RNG.normal(size=n), "float32").astype(np.float64)
    b = a @ x
    refined, corrections = iterative_refinement(a, b, factor="half", iterations=25)
    exact = np.linalg.solve(a, lp.round(b, "float32").astype(np.float64))
    half = lu_solve(lu_factor(lp.array(a, "half")), lp.array(b, "half"))
    assert forward_error(refined, exact) < 4 * lp.finfo("float32").unit_roundoff
    assert forward_error(half, exact) > 1e3 * forward_error(refined, exact)
    assert corrections[-1] < 1e-6
    # One precision for all: the corrections stop at that of half.
    fixed, _ = iterative_refinement(a, b, factor="half", working="half", residual="half", iterations=25)
    assert forward_error(fixed, exact) > 1e2 * forward_error(refined, exact)


def test_refinement_fails_where_theory_says_so():
    # kappa times the unit roundoff of the factors over 1: no convergence is promised, and bfloat16 shows none here.
    n = 40
    a = random_matrix(n, 1e6)
    _, corrections = iterative_refinement(a, a @ np.ones(n), factor="bf16", iterations=15)
    assert not corrections[-1] < 1e-6


def test_conjugate_gradients_stagnate_at_the_precision():
    # The attainable accuracy follows the unit roundoff: Greenbaum, doi:10.1137/S0895479895284944.
    n = 60
    a = random_matrix(n, 6)
    spd = a @ a.T
    b = spd @ np.ones(n)
    reached = {}
    for fmt in ("e5m2", "bf16", "half", "float32"):
        x, norms = conjugate_gradients(lp.array(spd, fmt), lp.array(b, fmt), 60)
        best = np.linalg.norm(b - spd @ np.asarray(x, np.float64)) / np.linalg.norm(b)
        reached[fmt] = best / lp.finfo(fmt).unit_roundoff
        assert all(np.isfinite(norms))
    assert all(0.01 < ratio < 100 for ratio in reached.values()), reached


def test_lorenz_in_few_bits_falls_into_a_cycle_which_stochastic_rounding_leaves():
    # Paxton et al., "Climate modeling in low precision", 2022, doi:10.1175/JCLI-D-21-0343.1: rounded to nearest,
    # a chaotic system of few states becomes periodic, or stops; stochastic rounding keeps it going.
    fmt, h, steps = "E5M5", 1 / 64, 1500

    def orbit(context):
        state, seen = lp.Array([1, 1, 20], fmt, context), {}
        for i in range(steps):
            key = tuple(state.codes.tolist())
            if key in seen:
                return i - seen[key], state
            seen[key] = i
            state = runge_kutta4(lorenz63, state, h)
        return None, state

    period, _ = orbit(lp.Context())
    assert period is not None
    assert period < steps
    xs = []
    state = lp.Array(np.array([[1.0], [1.0], [20.0]]) + np.zeros((3, 8)), fmt, lp.Context("stochastic", seed=1))
    for i in range(steps):
        state = runge_kutta4(lorenz63, state, h)
        if i >= steps // 2:
            xs.append(state[0].tolist())
    late = np.array(xs)
    assert np.ptp(late, axis=0).min() > 10  # all of them still move around the attractor
