"""PyTorch's models under simulated units: the bits of a model written by hand, forward and backward."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import lpsim as lp

torch = pytest.importorskip("torch")

import lpsim.torch  # noqa: E402
from lpsim.minilm import find_model, load  # noqa: E402
from lpsim.torch import Cast, Rule, simulate  # noqa: E402

functional = torch.nn.functional
RNG = np.random.default_rng(18)

#: A unit that is exact for sums of small integers.
EXACT = lp.MatrixUnit("float64", accumulator_format="float64", name="exact")


def integers(*shape, dtype=torch.float32):
    return torch.from_numpy(RNG.integers(-8, 9, size=shape).astype(np.float32)).to(dtype)


def bits(x):
    return x.detach().contiguous().view(torch.int32 if x.dtype == torch.float32 else torch.int64)


def same(x, y):
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    # Sums that start from +0 are never -0, PyTorch's may be.
    assert torch.equal(bits(x + 0), bits(y + 0))


def by_hand(a, b, unit):
    return torch.from_numpy(np.asarray(lp.matmul(a.detach().numpy(), b.detach().numpy(), unit))).to(a.dtype)


# Products.


@pytest.mark.parametrize(
    ("product", "shapes"),
    [
        (torch.matmul, [(3, 4), (4, 5)]),
        (torch.matmul, [(2, 3, 4), (4, 5)]),
        (torch.matmul, [(2, 1, 3, 4), (5, 4, 2)]),
        (torch.matmul, [(4,), (4,)]),
        (torch.matmul, [(3, 4), (4,)]),
        (torch.matmul, [(4,), (4, 3)]),
        (torch.mm, [(3, 4), (4, 5)]),
        (torch.mv, [(3, 4), (4,)]),
        (torch.dot, [(4,), (4,)]),
        (torch.bmm, [(2, 3, 4), (2, 4, 5)]),
        (torch.addmm, [(3, 5), (3, 4), (4, 5)]),
        (lambda c, a, b: torch.addmm(c, a, b, beta=2, alpha=3), [(5,), (3, 4), (4, 5)]),
        (lambda c, a, b: torch.addmm(c * math.nan, a, b, beta=0), [(5,), (3, 4), (4, 5)]),
        (torch.addmv, [(3,), (3, 4), (4,)]),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)]),
        (functional.linear, [(2, 3, 4), (5, 4), (5,)]),
        (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 3, 4), (2, 5, 4)]),
        (lambda a, b: torch.tensordot(a, b, dims=2), [(2, 3, 4), (3, 4, 5)]),
        (lambda a, b: a @ b.T, [(3, 4), (5, 4)]),
        (functional.scaled_dot_product_attention, [(2, 3, 4, 16), (2, 3, 5, 16), (2, 3, 5, 16)]),
        (functional.conv1d, [(2, 3, 9), (4, 3, 3)]),
        (lambda x, w, b: functional.conv1d(x, w, b, stride=2, padding=2, dilation=2), [(2, 3, 9), (4, 3, 3), (4,)]),
        (lambda x, w: functional.conv2d(x, w, stride=(2, 1), padding=(1, 2)), [(2, 3, 7, 6), (4, 3, 3, 2)]),
        (lambda x, w: functional.conv2d(x, w, groups=2, dilation=(1, 2)), [(2, 4, 6, 7), (6, 2, 2, 3)]),
        (lambda x, w: functional.conv2d(x, w, padding="same"), [(1, 2, 5, 5), (3, 2, 3, 3)]),
        (lambda x, w: functional.conv2d(x, w, stride=3), [(1, 2, 8, 7), (3, 2, 2, 2)]),
        (lambda x, w: functional.conv2d(x, w, padding=4), [(1, 2, 3, 3), (3, 2, 2, 2)]),
        (functional.conv3d, [(1, 2, 4, 4, 4), (3, 2, 2, 2, 2)]),
        (lambda x, w: functional.conv_transpose1d(x, w, stride=2, padding=1), [(2, 3, 5), (3, 4, 3)]),
        (
            lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=(2, 3), output_padding=(1, 0), dilation=2),
            [(2, 3, 4, 3), (3, 4, 2, 3), (4,)],
        ),
        (lambda x, w: functional.conv_transpose2d(x, w, groups=2), [(1, 4, 4, 3), (4, 3, 2, 3)]),
        (lambda x, w: functional.conv_transpose2d(x, w, padding=3), [(1, 2, 5, 6), (2, 3, 3, 3)]),
    ],
)
def test_each_product_forward_and_backward(product, shapes):
    """With integers, every order of summation gives the same bits as PyTorch; attention is compared below."""
    operands = [integers(*shape).requires_grad_() for shape in shapes]
    attention = product is functional.scaled_dot_product_attention
    expected = product(*operands)
    slope = integers(*expected.shape)
    gradients = torch.autograd.grad(expected, operands, slope, allow_unused=True)
    with simulate(EXACT) as report:
        result = product(*operands)
        found = torch.autograd.grad(result, operands, slope, allow_unused=True)
    if attention:
        torch.testing.assert_close(result, expected)
        assert report.simulated.total() == 6
        return
    same(result, expected)
    for one, other in zip(found, gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            same(one, other)
    assert {phase for _, _, phase, _ in report.simulated} >= {"forward"}
    assert not any("mm" in name or "conv" in name for name, _ in report.native)


@pytest.mark.parametrize("unit", ["tf32", "bf16", "fp16_fp16acc", "fp8_e4m3", "h100.e4m3"])
def test_products_have_the_units_bits(unit):
    a, b = torch.randn(5, 33), torch.randn(33, 7)
    a.requires_grad_()
    with simulate(unit):
        result = a @ b
        result.backward(torch.ones(5, 7))
    same(result, by_hand(a, b, unit))
    same(a.grad, by_hand(torch.ones(5, 7), b.T, unit))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_results_have_the_tensors_dtype(dtype):
    a, b = torch.randn(3, 8).to(dtype), torch.randn(8, 2).to(dtype)
    with simulate("bf16"):
        result = a @ b
    assert result.dtype == dtype
    expected = lp.matmul(a.double().numpy(), b.double().numpy(), "bf16")
    assert torch.equal(result, torch.from_numpy(expected).to(dtype))


# Models.


def encoder(layers=2, width=32, heads=4, **options):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True, **options)
    return torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def encoder_by_hand(model, x, unit):
    """A transformer encoder of post-norm layers with lpsim's products."""

    def linear(x, weight, bias):
        return by_hand(x, weight.T, unit) + bias

    for layer in model.layers:
        attention = layer.self_attn
        batch, tokens, width = x.shape
        size = width // attention.num_heads
        joint = linear(x, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = (
            one.reshape(batch, tokens, attention.num_heads, size).transpose(1, 2) for one in joint.chunk(3, dim=-1)
        )
        scale = math.sqrt(1 / math.sqrt(size))  # PyTorch scales both factors
        weights = torch.softmax(by_hand(q * scale, (k * scale).transpose(-1, -2), unit), dim=-1)
        heads = by_hand(weights, v, unit).transpose(1, 2).reshape(batch, tokens, width)
        x = layer.norm1(x + linear(heads, attention.out_proj.weight, attention.out_proj.bias))
        inner = layer.activation(linear(x, layer.linear1.weight, layer.linear1.bias))
        x = layer.norm2(x + linear(inner, layer.linear2.weight, layer.linear2.bias))
    return x.detach()


def minilm_in_torch(minilm):
    """Return PyTorch's own encoder with the weights of MiniLM."""
    values = {name: torch.tensor(value) for name, value in minilm.weights.items()}
    width, inner = values["encoder.layer.0.intermediate.dense.weight"].shape[::-1]
    options = {"activation": "gelu", "layer_norm_eps": minilm.epsilon, "dropout": 0.0, "batch_first": True}
    layer = torch.nn.TransformerEncoderLayer(width, minilm.heads, inner, **options)
    model = torch.nn.TransformerEncoder(layer, minilm.layers, enable_nested_tensor=False)
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    state = {}
    for i in range(minilm.layers):
        for kind in ("weight", "bias"):
            theirs = f"encoder.layer.{i}"
            state[f"layers.{i}.self_attn.in_proj_{kind}"] = torch.cat(
                [values[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            for ours, other in names.items():
                state[f"layers.{i}.{ours}.{kind}"] = values[f"{theirs}.{other}.{kind}"]
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("unit", ["tf32", "bf16", "h100.e4m3"])
@pytest.mark.parametrize("training", [True, False])
def test_a_stock_transformer_encoder_is_the_model_by_hand(unit, training):
    model = encoder(dropout=0.0).train(training)
    x = torch.randn(2, 9, 32)
    with torch.no_grad():
        expected = encoder_by_hand(model, x, unit)
        with simulate(unit) as report:
            result = model(x)
    same(result, expected)
    assert report.total_simulated == 2 * 6
    assert {layer for layer, *_ in report.simulated} == {
        f"layers.{i}.{name}" for i in range(2) for name in ("self_attn", "linear1", "linear2")
    }


def test_backward_of_the_encoder_is_simulated_in_its_layers():
    model = encoder(dropout=0.0)
    x = torch.randn(2, 9, 32)
    with simulate("bf16") as report:
        model(x).square().mean().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters())
    backward = {layer for layer, _, phase, _ in report.simulated if phase == "backward"}
    assert backward == {layer for layer, _, phase, _ in report.simulated if phase == "forward"}
    # Two products for each of the forward pass, but for the gradient of x, which no one asked for.
    total = sum(calls for (_, _, phase, _), calls in report.simulated.items() if phase == "backward")
    assert total == 2 * 12 - 1
    text = str(report)
    assert "layers.1.linear2: addmm forward by bf16, 1 calls" in text
    assert "native:" in text


@pytest.mark.skipif(find_model() is None, reason="the package with MiniLM's weights is not installed")
@pytest.mark.parametrize("unit", ["tf32", "fp8_e4m3"])
def test_a_stock_encoder_with_minilms_weights(unit):
    minilm = load()
    stock, x = minilm_in_torch(minilm), torch.randn(2, 11, 384)
    with torch.no_grad():
        expected = encoder_by_hand(stock, x, unit)
        with simulate(unit) as report:
            result = stock(x)
    same(result, expected)
    assert report.total_simulated == 6 * len(stock.layers)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_recurrent_layers(kind):
    torch.manual_seed(1)
    model, x = kind(4, 6, batch_first=True), torch.randn(2, 5, 4)
    expected, _ = model(x)
    with simulate("fp32") as report:
        result, _ = model(x)
        result.sum().backward()
    torch.testing.assert_close(result, expected)
    assert report.total_simulated > 5
    assert model.weight_hh_l0.grad is not None


def test_multihead_attention_in_evaluation_takes_the_path_that_is_simulated():
    attention = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.randn(1, 3, 16)
    with torch.inference_mode(), simulate("tf32") as report:
        attention(x, x, x)
    assert report.total_simulated == 4
    assert torch.backends.mha.get_fastpath_enabled()


# Rules, roles and casts.


def small_model():
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))


def test_rules_for_layers():
    model, x = small_model(), torch.randn(4, 6)
    with simulate("bf16", layers={"2": Rule("fp8_e4m3", backward="fp8_e5m2")}) as report:
        model(x).sum().backward()
    units = {(layer, phase): unit for layer, _, phase, unit in report.simulated}
    assert units == {
        ("0", "forward"): "bf16",
        ("2", "forward"): "fp8_e4m3",
        ("2", "backward"): "fp8_e5m2",
        ("0", "backward"): "bf16",
    }
    with simulate("bf16", layers={"0": None}) as report:
        result = model(x)
    assert {layer for layer, *_ in report.simulated} == {"2"}
    assert report.native["addmm", "forward"] == 1
    hidden = torch.tanh(model[0](x))
    same(result, by_hand(hidden, model[2].weight.T, "bf16") + model[2].bias)


def test_casts_of_weights_activations_and_gradients():
    model, x = small_model(), torch.randn(4, 6)
    x.requires_grad_()
    layer = model[0]
    slope = torch.randn(4, 5)
    with simulate("fp32", weights="e4m3fn", activations="e5m2", grads="bf16"):
        result = layer(x)
        result.backward(slope)
    rounded = {
        "w": lpsim.torch.round(layer.weight, "e4m3fn"),
        "x": lpsim.torch.round(x, "e5m2"),
        "g": lpsim.torch.round(slope, "bf16"),
    }
    same(result, by_hand(rounded["x"], rounded["w"].T, "fp32") + layer.bias)
    same(x.grad, by_hand(rounded["g"], rounded["w"], "fp32"))
    same(layer.weight.grad, by_hand(rounded["g"].T, rounded["x"], "fp32"))


def test_casts_without_a_unit_leave_the_product_to_torch():
    model, x = small_model(), torch.randn(4, 6)
    with simulate(weights="e4m3fn"):
        result = model[0](x)
    expected = functional.linear(x, lpsim.torch.round(model[0].weight, "e4m3fn")) + model[0].bias
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e6])
def test_scaling_by_a_power_of_two(magnitude):
    a, b = torch.randn(5, 8) * magnitude, torch.randn(8, 3)
    cast = Cast("e4m3fn", scaling="tensor")
    with simulate("fp8_e4m3", activations=cast):
        result = a @ b
    shifts = []
    scaled = []
    for one in (a, b):
        exponent = max(e for e in range(-40, 40) if float(one.abs().max()) * 2.0**e <= 448)
        shifts.append(exponent)
        scaled.append(one * 2.0**exponent)
    same(result, by_hand(*scaled, "fp8_e4m3") * 2.0 ** -sum(shifts))
    assert torch.linalg.norm(result - a @ b) < 0.1 * torch.linalg.norm(a @ b)


def test_stochastic_rounding_follows_its_seed():
    model, x = small_model(), torch.randn(4, 6)

    def run(seed):
        with simulate("fp32", weights=Cast("e4m3fn", "stochastic"), seed=seed):
            return model(x)

    same(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    with pytest.raises(ValueError, match="seed is None"), simulate("fp32", weights=Cast("e4m3fn", "stochastic")):
        pass


def test_passes_without_gradients_do_not_take_the_place_of_those_with():
    model, x = small_model(), torch.randn(4, 6)
    with simulate("bf16", layers={"2": "fp8_e4m3"}) as report:
        result = model(x)
        with torch.no_grad():
            model[0](x)
        result.sum().backward()
    assert {(layer, unit) for layer, _, phase, unit in report.simulated if phase == "backward"} == {
        ("0", "bf16"),
        ("2", "fp8_e4m3"),
    }


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("lpsim.torch.layers._MOST_PRODUCTS", 4)
    model, x = small_model(), torch.randn(4, 6)
    with simulate("bf16") as report:
        for _ in range(5):
            model(x).sum().backward()
    assert report.simulated["0", "mm", "backward", "bf16"] == 5


# Rounding with gradients.


def test_round_passes_gradients():
    x = torch.tensor([0.1, -3.3, 500.0], requires_grad=True)
    y = lpsim.torch.round(x, "e4m3fn", overflow="saturate")
    assert y.tolist() == lp.round([0.1, -3.3, 500.0], "e4m3fn", overflow="saturate").tolist()
    (y * torch.tensor([1.0, 2.0, 3.3])).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0, 2.0, 3.3])
    x.grad = None
    z = lpsim.torch.round(x, "half", gradient_format="e5m2")
    (z * torch.tensor([1.0, 2.0, 3.3])).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.5]


def test_round_is_reproducible_by_its_seed():
    x = torch.rand(100)
    first = lpsim.torch.round(x, "e3m2", rounding="stochastic", seed=5)
    assert torch.equal(first, lpsim.torch.round(x, "e3m2", rounding="stochastic", seed=5))
    assert not torch.equal(first, lpsim.torch.round(x, "e3m2", rounding="stochastic", seed=6))


def test_loss_scaling_by_torchs_own_scaler():
    """Gradients that underflow in a format of five exponent bits survive with torch.amp.GradScaler."""
    torch.manual_seed(3)
    x, weight = torch.randn(8, 4), torch.nn.Parameter(torch.randn(4, 2))
    unit = lp.MatrixUnit("e5m2")

    def gradient(scaler):
        weight.grad = None
        with simulate(unit):
            loss = (x @ weight).square().mean() * 1e-6
            scaler.scale(loss).backward()
        optimizer = torch.optim.SGD([weight], 0.0)
        scaler.unscale_(optimizer)
        return weight.grad.clone()

    assert not gradient(torch.amp.GradScaler("cpu", enabled=False)).any()
    assert gradient(torch.amp.GradScaler("cpu", init_scale=2.0**20)).all()


# Refusals.


def test_refusals():
    with simulate("tf32"):
        with pytest.raises(TypeError, match=r"operand 0 of mm is on device 'meta'; allowed: 'cpu'"):
            torch.mm(torch.empty(2, 3, device="meta"), torch.empty(3, 2, device="meta"))
        with pytest.raises(TypeError, match=r"_int_mm contains products that are not simulated"):
            torch._int_mm(torch.zeros(32, 8, dtype=torch.int8), torch.zeros(8, 8, dtype=torch.int8))
        with pytest.raises(TypeError, match=r"_trilinear contains products"):
            torch.nn.Bilinear(2, 3, 4)(torch.ones(1, 2), torch.ones(1, 3))
        whole = torch.ones(2, 2, dtype=torch.int64)
        assert torch.mm(whole, whole).tolist() == [[2, 2], [2, 2]]
    with simulate("tf32", unsupported="native") as report:
        torch._int_mm(torch.zeros(32, 8, dtype=torch.int8), torch.zeros(8, 8, dtype=torch.int8))
    assert report.native["_int_mm", "forward"] == 1
    for wrong, message in [
        ({"matmul": "tf33"}, "tf33"),
        ({"weights": "e9"}, "weights is 'e9'"),
        ({"unsupported": "skip"}, "unsupported is 'skip'"),
        ({"layers": {"a": "tf33"}}, "tf33"),
        ({"matmul": "b200.nvfp4"}, "needs scales of blocks"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message), simulate(**wrong):
            pass
    with pytest.raises(TypeError, match="layers is"), simulate(layers=[1]):
        pass
    with pytest.raises(TypeError, match="layers has the key 3"), simulate(layers={3: None}):
        pass
    with pytest.raises(ValueError, match="scaling is 'row'"):
        Cast("e4m3fn", scaling="row")
    with pytest.raises(TypeError, match="x is"):
        lpsim.torch.round(np.ones(2), "half")
    with pytest.raises(TypeError, match=r"x has dtype torch\.int64"):
        lpsim.torch.round(torch.ones(2, dtype=torch.int64), "half")


def test_the_context_leaves_nothing_behind():
    x = torch.randn(3, 3)
    before = x @ x
    with pytest.raises(RuntimeError, match="inner"), simulate("fp8_e4m3"):
        raise RuntimeError("inner")
    assert torch.equal(x @ x, before)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch._C._get_mkldnn_enabled()
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.nn.modules.module._global_forward_hooks


def test_a_missing_torch_is_named():
    code = (
        "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *r: None if n == 'torch' else f(n, *r)\n"
    )
    code += "import lpsim.torch"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert "lpsim.torch needs the extra 'torch': pip install 'lpsim[torch]'" in result.stderr


def test_lpsims_functions_take_tensors_as_arrays():
    """PyTorch's tensors are of a type that may be on a GPU; these are not."""
    x = torch.tensor([1.0, 3.0]) / 7
    assert lp.round(x, "half").tolist() == lp.round(x.numpy(), "half").tolist()
    assert lp.add(np.ones(2, np.float32), x, "half").tolist() == lp.add(1, x.numpy(), "half").tolist()
    code = "import torch, lpsim as lp, sys; lp.round(torch.ones(2), 'half'); print('numba.cuda' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
