"""The ``lpsim`` command, run in this process; packaging tests run it as a program."""

import re
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest
from commands import complaint, run, run_json

import lpsim as lp
from lpsim.cli.digits import UNITS
from lpsim.cli.multiply import multiply
from lpsim.errors import product_error

UNIT_NAMES = ("tf32", "bf16", "fp16_fp16acc")


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(size=(6, 9)))
    np.save(tmp_path / "b.npy", rng.normal(size=(9, 4)).astype(np.float32))
    return tmp_path / "a.npy", tmp_path / "b.npy"


# describe


def test_describe_shows_the_fields_of_a_negative_number():
    lines = dict(line.split(None, 1) for line in run("describe", "-27.15625", "--format", "fp16").stdout.splitlines())
    assert lines["sign"].strip() == "1"
    assert lines["exponent"].strip() == "10011"
    assert lines["fraction"].strip() == "1011001010"
    assert lines["code"].strip() == "0xCECA"
    assert lines["value"].strip() == "-27.15625"
    assert lines["error"].strip() == "0 (exact)"


def test_describe_takes_several_values_and_formats():
    found = run_json("describe", "-27.15625", "1", "--format", "fp16,bf16", "--format", "E4M3FN", "--format", "e5m2")
    assert [(d["input"], d["format"]) for d in found[:4]] == [
        (-27.15625, "float16"),
        (-27.15625, "bfloat16"),
        (-27.15625, "float8_e4m3fn"),
        (-27.15625, "float8_e5m2"),
    ]
    assert [d["hex"] for d in found[:4]] == ["0xCECA", "0xC1D9", "0xDE", "0xCF"]
    assert [d["value"] for d in found[:4]] == [-27.15625, -27.125, -28.0, -28.0]
    assert [d["exact"] for d in found[:4]] == [True, False, False, False]
    assert [d["input"] for d in found[4:]] == [1.0] * 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1.8p3", 12.0),
        ("-0x1.8p3", -12.0),
        ("-1e-3", -0.001),
        ("-inf", "-inf"),
        ("nan", "nan"),
        (".5", 0.5),
    ],
)
def test_describe_reads_every_notation(text, value):
    assert run_json("describe", text, "--format", "float64")[0]["input"] == value


def test_describe_obeys_modes():
    arguments = ("describe", "464", "465", "--format", "e4m3fn")
    assert [d["value"] for d in run_json(*arguments)] == [448.0, "nan"]
    assert [d["value"] for d in run_json(*arguments, "--overflow", "saturate")] == [448.0, 448.0]
    up = run_json("describe", "1.0000001", "--format", "bf16", "--rounding", "toward_positive")
    assert up[0]["value"] == 1.0078125


def test_describe_reads_codes():
    found = run_json("describe", "--code", "0xCECA", "--code", "0b1", "--format", "fp16")
    assert [d["value"] for d in found] == [-27.15625, 2.0**-24]
    assert [d["code"] for d in found] == [0xCECA, 1]


def test_describe_keeps_the_payload_of_a_nan_code():
    found = run_json("describe", "--code", "0xFD01", "--format", "fp16")[0]
    assert (found["kind"], found["hex"], found["sign"]) == ("nan", "0xFD01", "1")
    assert (found["exponent_bits"], found["fraction_bits"]) == ("11111", "0100000001")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["abc", "--format", "fp16"], ["VALUE", "'abc'", "allowed"]),
        (["1", "--format", "fp17"], ["--format", "'fp17'", "allowed"]),
        (["1", "--format", "E12M3"], ["--format", "exponent_bits is 12", "allowed"]),
        (["1"], ["--format is missing"]),
        (["--format", "fp16"], ["VALUE is missing"]),
        (["1", "--fromat", "fp16"], ["no option '--fromat'"]),
        (["1", "--format", "fp16", "--rounding", "up"], ["rounding", "'up'", "allowed"]),
        (["1", "--format", "fp16", "--rounding", "stochastic"], ["stochastic", "random"]),
        (["1", "--format", "fp16", "--overflow", "wrap"], ["overflow", "'wrap'", "allowed"]),
        (["--code", "0x100", "--format", "e5m2"], ["--code", "0x100", "allowed: 0 to 0xff"]),
        (["--code", "-1", "--format", "e5m2"], ["--code", "'-1'", "allowed"]),
        (["--code", "xyz", "--format", "e5m2"], ["--code", "'xyz'", "allowed"]),
    ],
)
def test_describe_complains_in_one_sentence(arguments, words):
    sentence = complaint("describe", *arguments)
    for word in words:
        assert word in sentence


# formats


def test_formats_lists_every_named_format():
    found = {row["name"]: row for row in run_json("formats")}
    assert list(found) == list(lp.formats.NAMED_FORMATS)
    assert (found["float16"]["max"], found["float16"]["smallest_subnormal"]) == (65504.0, 2.0**-24)
    assert found["float8_e8m0fnu"]["smallest_subnormal"] is None
    for row in found.values():
        assert lp.format(row["spec"]) == lp.format(row["name"])
    table = run("formats").stdout
    assert all(name in table for name in found)
    assert "3.38953e+38" in table


# matmul


def test_matmul_reports_the_errors_of_each_unit(files):
    a, b = (np.load(file) for file in files)
    report = run_json("matmul", *files, "--unit", ",".join(UNIT_NAMES))
    assert (report["a"]["shape"], report["b"]["dtype"]) == ([6, 9], "float32")
    assert [row["unit"] for row in report["units"]] == list(UNIT_NAMES)
    for row in report["units"]:
        expected = product_error(lp.matmul(a, b, row["unit"]), a, b, row["unit"])
        for name in ("max_absolute", "relative_frobenius", "max_componentwise"):
            assert row[name] == getattr(expected, name)
            assert 0 < row[name] <= row[f"{name}_bound"]


def test_matmul_prints_a_table(files):
    lines = run("matmul", *files, "--unit", "tf32,bf16").stdout.splitlines()
    assert lines[0].split()[0] == "Unit"
    assert [line.split()[0] for line in lines[1:]] == ["tf32", "bf16"]
    assert all(len(line.split()) == 7 for line in lines[1:])


def test_matmul_saves_one_product(files, tmp_path):
    out = tmp_path / "c.npy"
    run("matmul", *files, "--unit", "bf16", "--out", out)
    expected = lp.matmul(np.load(files[0]), np.load(files[1]), "bf16")
    saved = np.load(out)
    assert saved.dtype == expected.dtype
    np.testing.assert_array_equal(saved, expected)


def test_matmul_saves_a_product_for_each_unit(files, tmp_path):
    report = run_json("matmul", *files, "--unit", "tf32,bf16", "--out", tmp_path / "c.npy")
    assert [row["out"] for row in report["units"]] == [str(tmp_path / f"c.{u}.npy") for u in ("tf32", "bf16")]
    assert not (tmp_path / "c.npy").exists()
    for unit in ("tf32", "bf16"):
        expected = lp.matmul(np.load(files[0]), np.load(files[1]), unit)
        np.testing.assert_array_equal(np.load(tmp_path / f"c.{unit}.npy"), expected)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", ">f4", ">f8"])
def test_matmul_reads_every_real_dtype(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.eye(3, dtype=dtype))
    report = run_json("matmul", tmp_path / "a.npy", tmp_path / "a.npy", "--unit", "bf16")
    assert report["units"][0]["max_absolute"] == 0


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_matmul_plots(files, tmp_path, suffix):
    plot = tmp_path / f"errors.{suffix}"
    run("matmul", *files, "--unit", "tf32,bf16", "--plot", plot)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert plot.read_bytes().startswith(start)


def test_matmul_says_how_much_overflowed(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[300.0, 1.0], [1.0, 1.0]]))
    arguments = ("matmul", tmp_path / "a.npy", tmp_path / "a.npy", "--unit", "fp16,fp16_fp16acc")
    fp16, narrow = run_json(*arguments)["units"]
    assert (fp16["not_finite"], fp16["max_absolute"]) == (0, 0.0)
    assert (narrow["not_finite"], narrow["max_absolute"], narrow["relative_frobenius_bound"]) == (
        1,
        "inf",
        "inf",
    )
    assert "infinite or NaN" in run(*arguments, "--plot", tmp_path / "e.png").stdout


def test_matmul_of_empty_matrices(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    np.save(tmp_path / "b.npy", np.zeros((3, 2)))
    report = run_json("matmul", tmp_path / "a.npy", tmp_path / "b.npy", "--plot", tmp_path / "e.png")
    assert report["units"][0]["max_absolute"] == 0


def test_slices_of_rows_give_the_bits_of_the_whole(monkeypatch):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(23, 8)), rng.normal(size=(8, 5))
    monkeypatch.setattr("lpsim.cli.multiply._OPERATIONS_PER_SLICE", 4 * 8 * 5)
    parts = []
    product = multiply(a, b, lp.units.tf32, advance=parts.append)
    assert len(parts) == 6
    assert sum(parts) == pytest.approx(1)
    np.testing.assert_array_equal(product, lp.matmul(a, b, lp.units.tf32))


@pytest.fixture
def bad_files(tmp_path):
    good = tmp_path / "good.npy"
    np.save(good, np.ones((4, 4)))
    content = good.read_bytes()
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "cut.npy").write_bytes(content[:-8])
    (tmp_path / "header.npy").write_bytes(content.replace(b"(4, 4)", b"(((((4"))
    np.savez(tmp_path / "archive.npz", a=np.ones((4, 4)))
    np.save(tmp_path / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "complex.npy", np.ones((4, 4), complex))
    np.save(tmp_path / "string.npy", np.array([["a"]]))
    np.save(tmp_path / "vector.npy", np.ones(4))
    np.save(tmp_path / "batch.npy", np.ones((2, 4, 4)))
    np.save(tmp_path / "wide.npy", np.ones((3, 5)))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.npy", ["B: ", "nowhere.npy"]),
        (".", ["B: "]),
        ("text.npy", ["no .npy file", "allowed"]),
        ("empty.npy", ["no .npy file", "allowed"]),
        ("archive.npz", ["no .npy file", "allowed"]),
        ("cut.npy", ["cannot read"]),
        ("header.npy", ["cannot read"]),
        ("object.npy", ["cannot read", "pickle"]),
        ("complex.npy", ["complex128", "allowed: real numbers"]),
        ("string.npy", ["<U1", "allowed: real numbers"]),
        ("vector.npy", ["shape (4,)", "allowed: two dimensions"]),
        ("batch.npy", ["shape (2, 4, 4)", "allowed: two dimensions"]),
        ("wide.npy", ["(4, 4)", "(3, 5)", "allowed"]),
    ],
)
def test_matmul_complains_of_bad_files(bad_files, name, words):
    sentence = complaint("matmul", bad_files / "good.npy", bad_files / name)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--unit", "fp12"], ["--unit", "'fp12'", "allowed"]),
        (["--unit", "tf32,"], ["--unit", "''", "allowed"]),
        (["--plot", "errors.xyz"], ["--plot", "errors.xyz", "allowed", ".png"]),
        (["--plot", "nowhere/errors.png"], ["--plot", "nowhere", "folder"]),
        (["--out", "nowhere/c.npy"], ["--out", "nowhere", "folder"]),
    ],
)
def test_matmul_complains_of_bad_options(files, options, words):
    sentence = complaint("matmul", *files, *options)
    for word in words:
        assert word in sentence


# demo


def test_demo_makes_the_table_and_the_figure(tmp_path):
    plot = tmp_path / "demo.png"
    report = run_json("demo", "--output", plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows = {row["unit"]: row for row in report["units"]}
    assert tuple(rows) == UNITS
    for row in rows.values():
        gram = row["gram"]
        assert gram["not_finite"] == 0
        assert 0 < gram["relative_frobenius"] <= gram["relative_frobenius_bound"]
        assert row["pca"]["variance"] <= report["float64"]["variance"] + 1e-12
    error = {name: row["gram"]["relative_frobenius"] for name, row in rows.items()}
    assert error["fp32"] < error["tf32"] < error["bf16"] < error["fp8_e4m3"] < error["fp8_e5m2"]
    # Within their range TF32 and FP16 have the same values; the pixels leave that range here and there.
    assert error["tf32"] == pytest.approx(error["fp16"], rel=1e-3)
    # Narrow accumulators stagnate: errors far beyond those of the same inputs with FP32 sums.
    assert error["fp16_fp16acc"] > 50 * error["fp16"]
    assert error["bf16_bf16acc"] > 50 * error["bf16"]
    assert rows["bf16_bf16acc"]["pca"]["smallest_eigenvalue"] < -1
    assert report["float64"]["variance"] == pytest.approx(0.28509, abs=1e-5)


def test_demo_complains_before_it_works(tmp_path):
    assert "folder" in complaint("demo", "--output", tmp_path / "nowhere" / "demo.png")
    assert "allowed" in complaint("demo", "--output", tmp_path / "demo.xyz")


# all


@pytest.mark.parametrize("command", ["demo", "describe", "formats", "matmul"])
def test_help_of_each_command(command):
    assert "--json" in run(command, "--help").stdout


@pytest.mark.parametrize("command", ["describe", "matmul"])
def test_help_has_examples(command):
    assert f"lpsim {command} " in run(command, "--help").stdout.split("Examples:")[1]


def test_version():
    assert run("--version").stdout == f"lpsim {lp.__version__}\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "the memory is exhausted"),
        (MemoryError("Unable to allocate 1 TiB"), "Unable to allocate 1 TiB"),
        (OSError(5, "Input/output error", "x.npy"), "[Errno 5] Input/output error: 'x.npy'"),
        (BrokenPipeError(32, "Broken pipe", "out"), "[Errno 32] Broken pipe: 'out'"),
        (BrokenExecutor("a process was killed"), "a process was killed"),
    ],
)
def test_faults_of_the_machine_are_one_line_each(monkeypatch, error, sentence):
    from lpsim.cli import formats

    def fail(*arguments):
        raise error

    monkeypatch.setattr(formats, "show", fail)
    assert run("formats", code=1).output == f"lpsim: {sentence}\n"


def test_unknown_command():
    run("nonsense", code=2)


# lpsim verify


def test_verify_prints_a_table_and_writes_json(tmp_path):
    path = tmp_path / "proof.json"
    result = run("verify", "e2m1fn", "E2M2", "--op", "add,decode", "--mode", "to_odd", "--jobs", "1", "--json", path)
    assert re.search("E2M1_finite +decode +16 ", result.stdout)
    report = lp.testing.Report.from_json(path.read_text())
    assert report.ok
    assert f"{report.cases:,}" in result.stdout


def test_verify_exits_with_1_on_a_mismatch(monkeypatch):
    from lpsim.testing import verification

    monkeypatch.setitem(verification._KERNELS, "add", lp.sub)
    result = run("verify", "e2m1fn", "--op", "add", "--mode", "ties_to_even", "--jobs", "1", code=1)
    assert "gave" in result.stdout


def test_verify_exits_with_130_when_interrupted(monkeypatch):
    from lpsim.testing import verification

    compare = verification._compare_row

    def interrupted(given, rounding, *rest):
        if rounding == lp.Rounding.TIES_TO_ZERO:  # the third mode
            raise KeyboardInterrupt
        return compare(given, rounding, *rest)

    monkeypatch.setattr(verification, "_compare_row", interrupted)
    result = run("verify", "e2m1fn", "--op", "add", "--jobs", "1", code=130)
    assert "interrupted" in result.stdout
    # 18 operands, 4 policies, 2 modes.
    assert re.search(f"E2M1_finite +add +{18 * 18 * 4 * 2:,} ", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "FORMAT: fmt is 'nope'"),
        (["half", "--exhaustive"], "allowed: at most 8 bits"),
        (["e2m1fn", "--op", "pow"], "ops holds 'pow'"),
        (["e2m1fn", "--mode", "up"], "modes is 'up'"),
        (["e2m1fn", "--samples", "0"], "samples is 0"),
        (["e2m1fn", "--json", "no/such/folder.json"], "--json is"),
    ],
)
def test_verify_refuses_bad_input(arguments, sentence):
    assert sentence in complaint("verify", *arguments)
