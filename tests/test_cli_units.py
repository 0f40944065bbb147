"""``lpsim units`` and its subcommands, and hardware's units in ``lpsim matmul``."""

import numpy as np
import pytest
from commands import complaint, run, run_json

import lpsim as lp
from lpsim.cli.pareto import Point, mark_front
from lpsim.errors import product_error, ulp_error

NAMED = lp.units.NAMED_UNITS
#: Units by their own name; the others are the same under another chip's.
OWN = [name for name, unit in NAMED.items() if unit.name == name]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.normal(size=(6, 40)))
    np.save(tmp_path / "b.npy", rng.normal(size=(40, 5)).astype(np.float32))
    return tmp_path / "a.npy", tmp_path / "b.npy"


# The list


def test_units_lists_every_unit_once():
    groups = run_json("units")
    assert [unit["unit"] for group in groups for unit in group["units"]] == OWN
    assert {name for group in groups for name in group["hardware"]} == set(lp.units.HARDWARE)
    words = [line.split()[0] for line in run("units").stdout.splitlines()]
    assert [word for word in words if word in NAMED] == OWN
    assert words.count("Unit") == len(groups)


def test_units_says_how_each_one_sums():
    facts = {unit["unit"]: unit for group in run_json("units") for unit in group["units"]}
    expected = {
        "tf32": "sequential fma",
        "bf16_bf16acc": "sequential, bfloat16 products",
        "h100.fp16": "16 at once, 25 bits, toward zero",
        "h100.fp16_fp16": "16 at once, 25 bits",
        "h100.e4m3_mma": "16 at once, 25 bits, toward zero, blocks of 32",
        "b200.nvfp4": "64 at once, 35 bits, toward zero, groups of 16",
        "mi100.fp16": "4 at once, exact",
        "mi200.bf16": "blocked(2, pairwise), float32 products, no subnormals",
        "mi300.fp16": "8 at once, 24 bits, then c",
        "mi300.e4m3": "16 at once, 24 bits, odd and even apart, then c",
        "amx.bf16": "blocked(32, interleaved(2)) fma, no subnormals",
        "arm.bfdot": "blocked(2, pairwise), float32 products, to odd, no subnormals",
    }
    assert {name: facts[name]["summation"] for name in expected} == expected
    assert facts["a100.tf32"]["throughput"] == 8
    assert facts["b200.nvfp4"]["scale_format"] == "UE4M3"
    assert (facts["h100.e4m3"]["accumulator_format"], facts["tf32"]["throughput"]) == ("E8M13", None)


def test_units_of_some_hardware():
    groups = run_json("units", "--hardware", "H200, mi300")
    assert [group["hardware"] for group in groups] == [["h100", "h200"], ["mi300"]]
    lines = run("units", "--hardware", "a2").stdout.splitlines()
    assert lines[0].startswith("a100 (also a2, a30, rtx30): NVIDIA A100")
    assert [line.split()[0] for line in lines[2:]] == [f"a100.{key}" for key in lp.units.a100]
    assert lines[2].split()[-1] == "arXiv:2512.07004"


def test_units_complains():
    assert "--hardware is 'h101'; allowed: v100, t4" in complaint("units", "--hardware", "h100,h101")
    assert "allowed: options after it" in complaint("units", "--json", "compare", "a.npy", "b.npy")
    run("units", "nonsense", code=2)


# compare


def test_compare_finds_the_differences(files):
    report = run_json("units", "compare", *files, "--unit", "a100.tf32,h100.tf32")
    a, b = (np.load(file) for file in files)
    one, other = (lp.matmul(a, b, name) for name in ("a100.tf32", "h100.tf32"))
    assert report["reference"] == "a100.tf32"
    same, row = report["units"]
    assert (same["unit"], same["differ"], same["worst"]) == ("a100.tf32", 0, None)
    assert row["differ"] == np.count_nonzero(one != other) > 0
    assert row["share"] == row["differ"] / 30
    ulps = ulp_error(other, one, "float32")
    assert row["largest_ulps"] == ulps.max()
    assert row["largest_relative"] == (np.abs(other.astype(float) - one) / np.abs(one)).max()
    i, j = row["worst"]["index"]
    assert ulps[i, j] == ulps.max()
    assert (row["worst"]["reference"], row["worst"]["value"]) == (one[i, j], other[i, j])
    last = run("units", "compare", *files, "--unit", "a100.tf32,h100.tf32").stdout.splitlines()[2].split()
    assert last[:3] == ["h100.tf32", str(row["differ"]), f"{row['share']:.2%}"]
    assert last[5:7] == [f"[{i},", f"{j}]"]


def test_compare_takes_all_fp16_units_by_default(files):
    rows = run_json("units", "compare", *files)["units"]
    names = [row["unit"] for row in rows]
    assert names[0] == "fp16"
    assert {"v100.fp16", "a100.fp16", "h100.fp16", "mi300.fp16", "amx.fp16"} < set(names)
    for name in names:
        assert (str(NAMED[name].a_format), str(NAMED[name].result_format)) == ("float16", "float32")
    by_name = {row["unit"]: row for row in rows}
    assert by_name["t4.fp16"]["worst"] == by_name["a100.fp16"]["worst"]  # the same rule


def test_compare_of_infinities_and_of_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[300.0, 1.0], [1.0, np.nan]]))
    _, narrow = run_json(
        "units", "compare", tmp_path / "a.npy", tmp_path / "a.npy", "--unit", "h100.fp16,h100.fp16_fp16"
    )["units"]
    assert (narrow["differ"], narrow["largest_ulps"]) == (1, "inf")
    assert narrow["worst"] == {"index": [0, 0], "reference": 90001.0, "value": "inf"}
    np.save(tmp_path / "e.npy", np.zeros((0, 2)))
    rows = run_json("units", "compare", tmp_path / "e.npy", tmp_path / "a.npy", "--unit", "fp16,a100.fp16")["units"]
    assert [row["differ"] for row in rows] == [0, 0]


# pareto


def test_pareto_sets_errors_against_speed(files):
    a, b = (np.load(file) for file in files)
    report = run_json("units", "pareto", *files)
    points = {point["unit"]: point for point in report["units"]}
    assert set(points) == {name for name in OWN if NAMED[name].throughput and NAMED[name].scale_format is None}
    for name, point in points.items():
        error = product_error(lp.matmul(a, b, name), a, b, name)
        assert point["speed"] == NAMED[name].throughput
        assert point["relative_frobenius"] == error.relative_frobenius
        assert point["max_componentwise"] == error.max_componentwise
        beaten = any(
            other["speed"] > point["speed"] and other["relative_frobenius"] < point["relative_frobenius"]
            for other in points.values()
        )
        assert not (point["pareto"] and beaten)
    fastest = max(point["speed"] for point in points.values())
    assert any(point["pareto"] for point in points.values() if point["speed"] == fastest)
    assert report["plot"] is None


def test_the_pareto_front_by_hand():
    inf = float("inf")
    given = [
        ("a", 1, 1e-3),
        ("b", 2, 1e-3),
        ("c", 2, 1e-3),
        ("d", 2, 1e-2),
        ("e", 4, 1e-1),
        ("f", 8, inf),
        ("g", 1, 0.0),
    ]
    points = [Point(name, "half", speed, error, error) for name, speed, error in given]
    mark_front(points)
    # b and c are equal, so that neither beats the other; f overflowed.
    assert "".join(point.unit for point in points if point.pareto) == "bceg"


def test_pareto_prints_a_table_and_saves_a_figure(files, tmp_path):
    plot = tmp_path / "pareto.png"
    units = "h100.tf32,h100.fp16,h100.e4m3"
    lines = run("units", "pareto", *files, "--unit", units, "--plot", plot).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["h100.e4m3", "h100.fp16", "h100.tf32"]
    assert [line.split()[-1] == "yes" for line in lines[1:4]] == [True, True, False]
    assert lines[-1] == f"plot: {plot}"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_pareto_plots_what_cannot_be_shown(tmp_path):
    np.save(tmp_path / "one.npy", np.eye(3))  # exact in every unit
    np.save(tmp_path / "big.npy", np.full((3, 3), 300.0))
    for name in ("one", "big"):
        file, plot = tmp_path / f"{name}.npy", tmp_path / f"{name}.svg"
        run("units", "pareto", file, file, "--plot", plot)
        assert plot.read_text().startswith("<?xml")


def test_labels_of_the_figure_do_not_overlap(files):
    from lpsim.cli.pareto_figure import pareto_figure

    points = [Point(**point) for point in run_json("units", "pareto", *files)["units"]]
    figure = pareto_figure(points, "A · B")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert {text.get_text() for text in axes.texts} == {point.unit for point in points}
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0 or along <= 0.35 * box.height
    assert axes.get_yscale() == "log"
    assert figure.get_suptitle().startswith("Accuracy")
    (front,) = [line for line in axes.lines if str(line.get_label()).startswith("Pareto")]
    assert len(front.get_xdata()) == sum(point.pareto for point in points)


# Both


@pytest.mark.parametrize("command", ["compare", "pareto"])
def test_bad_input(files, tmp_path, command):
    start = ("units", command)
    assert "--unit: unit is 'fp12'" in complaint(*start, *files, "--unit", "fp12")
    assert "'h100.e4m4'; allowed" in complaint(*start, *files, "--unit", "h100.e4m4")
    assert "'b200.nvfp4', which multiplies blocks with scales" in complaint(*start, *files, "--unit", "b200.nvfp4")
    assert "allowed: as many columns of A" in complaint(*start, files[0], files[0])
    assert "nowhere.npy" in complaint(*start, files[0], tmp_path / "nowhere.npy")


def test_bad_input_of_pareto(files):
    assert "'tf32', which has no published speed; allowed: v100.fp16, " in complaint(
        "units", "pareto", *files, "--unit", "a100.tf32,tf32"
    )
    assert "allowed" in complaint("units", "pareto", *files, "--plot", "pareto.xyz")


@pytest.mark.parametrize("command", [(), ("compare",), ("pareto",)])
def test_help(command):
    text = run("units", *command, "--help").stdout
    assert "--json" in text
    assert " ".join(("lpsim units", *command)) in text.split("Examples:")[1]


# lpsim matmul


def test_matmul_with_units_of_hardware(files, tmp_path):
    a, b = (np.load(file) for file in files)
    names = ("a100.tf32", "h100.e4m3", "mi200.bf16", "amx.bf16")
    rows = run_json("matmul", *files, "--unit", ",".join(names), "--out", tmp_path / "c.npy")["units"]
    for name, row in zip(names, rows, strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / f"c.{name}.npy"), lp.matmul(a, b, name))
        assert 0 < row["relative_frobenius"] <= row["relative_frobenius_bound"]
    assert "scales" in complaint("matmul", *files, "--unit", "b200.mxfp4")
