"""The explorer: the page as a file, its arithmetic beside lpsim's, and what a user of it sees."""

import math
import re
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from browsing import chromium
from commands import complaint, run

import lpsim as lp
from lpsim import explorer, reference
from lpsim.formats import NAMED_FORMATS, SPECIALS
from lpsim.testing.operands import sampled_operands, unary_points

MODES = [mode.name.lower() for mode in lp.Rounding if not mode.is_stochastic]
POLICIES = [policy.name.lower() for policy in lp.Overflow]

_E5M7 = {"ieee": "E5M7", "fn": "E5M7FN", "fnuz": "E5M7FNUZ"}
#: Besides the named formats: each kind of special codes, and what is at an edge of what formats may be.
OTHERS = (
    *(_E5M7.get(kind, f"E5M7_{kind}") for kind in SPECIALS),
    *("E3M0", "E3M0FN", "E3M0_finite", "E0M5_finite", "E0M3FN", "E1M2", "E11M0", "E9M40"),
    *("E4M3_nosubnormals", "E5M2FNUZ_nosubnormals", "E4M3_unsigned", "E4M3FN_unsigned", "E3M2_finite_unsigned"),
    *("E4M0_finite_nosubnormals", "E4M0_nosubnormals_unsigned", "E4M3B-3", "E4M3B20FN", "E5M10B40"),
    *("binary8p3se", "binary8p4uf", "binary8p1ue", "binary6p3sf", "binary3p1se"),
)
FORMATS = [*NAMED_FORMATS.values(), *map(lp.format, OTHERS)]


# The page as a file.


def test_the_page_loads_nothing():
    html = explorer.page()
    assert not re.search(r"https?:|//[\w-]+\.|\bimport\b|@import|url\(|<iframe|<img|srcset|fetch\(|XMLHttp", html)
    assert re.findall(r"<(?:script|link)\b[^>]*>", html) == ['<link rel="icon" href="data:," />', "<script>"]
    assert "default-src 'none'" in html


def test_the_page_knows_the_formats_asked_for():
    html = explorer.page(["fp16", "E5M7", lp.p3109(8, 3), np.float32], number="1/3")
    assert '"shown": ["float16", "E5M7", "binary8p3se", "float32"]' in html
    assert '"number": "1/3"' in html
    assert html.count('"name": "E5M7"') == html.count('"name": "float16"') == 1
    for name in NAMED_FORMATS:
        assert f'"name": "{name}"' in html


def test_labels_of_a_users_own_are_no_names_on_the_page():
    mine = lp.Format(5, 7, name="</script><script>alert(1)</script>")
    html = explorer.page([mine, lp.Format(5, 10, name="mine")])
    assert '"shown": ["E5M7", "float16"]' in html
    assert "alert" not in html
    assert explorer.page(number="</script>").count("</script>") == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "formats is empty; allowed: one format or more"),
        (("fp16",), TypeError, "formats is 'fp16'; allowed: several formats, such as ['fp16', 'E5M7']"),
        ((["fp17"],), ValueError, "formats is 'fp17', which names no format; allowed: 'ExMy'"),
        ((["fp16"], 0.1), TypeError, "number is 0.1; allowed: a string such as '-27.15625' or '1/3'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        explorer.page(*arguments)


def test_the_command_writes_the_page(tmp_path):
    path = tmp_path / "fp16.html"
    assert run("explore", "-0.1", "--format", "fp16,bf16", "--format", "E5M7", "--output", path).stdout
    assert path.read_text(encoding="utf-8") == explorer.page(["fp16", "bf16", "E5M7"], "-0.1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "fp17"], "--format: fmt is 'fp17', which names no format"),
        (["--output", "page.txt"], "--output is 'page.txt'; allowed: a name that ends in .html"),
        (["--output", "no/such/folder/page.html"], "allowed: the name of a file in a folder that exists"),
    ],
)
def test_bad_options_are_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in complaint("explore", *arguments)
    assert list(tmp_path.iterdir()) == []


# In a browser.


class Errors(list):
    """What a page complained of."""

    def watch(self, page):
        page.on("console", lambda message: self.append(message.text))
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on(
            "request", lambda request: self.extend([request.url] * (not request.url.startswith(("file:", "data:"))))
        )


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextmanager
def opened(browser, folder):
    """Open the page; it must not complain of anything until it is closed."""
    path = folder / "explorer.html"
    path.write_text(explorer.page(), encoding="utf-8")
    page, errors = browser.new_page(), Errors()
    errors.watch(page)
    page.goto(path.as_uri())
    yield page
    page.close()
    assert errors == []


@pytest.fixture
def page(browser, tmp_path):
    with opened(browser, tmp_path) as page:
        yield page


@pytest.fixture(scope="module")
def core(browser, tmp_path_factory):
    """A page of which only the functions are called."""
    with opened(browser, tmp_path_factory.mktemp("explorer")) as page:
        yield page


def texts_of(numbers):
    return [float(x).hex() if math.isfinite(x) else str(x) for x in np.asarray(numbers, dtype=np.float64)]


# JavaScript: the codes of all numbers in a format, for each mode and policy; "" where there is none.
ENCODE_ALL = """([name, texts, modes, policies]) => {
  const f = parseFormat(name);
  const numbers = texts.map(parseNumber);
  return modes.flatMap((mode) => policies.map((policy) =>
    numbers.map((x) => encode(x, f, mode, policy).code ?? "").join(" ")));
}"""


def encode_in_page(core, fmt, numbers, modes=MODES, policies=POLICIES):
    rows = core.evaluate(ENCODE_ALL, [fmt.spec, texts_of(numbers), modes, policies])
    return [[int(code) if code else None for code in row.split(" ")] for row in rows]


def test_derived_facts_are_lpsims(core):
    rng = np.random.default_rng(5)
    formats = list(FORMATS)
    while len(formats) < 400:
        e, m = int(rng.integers(0, 12)), int(rng.integers(0, 53))
        options = {"specials": str(rng.choice(SPECIALS)), "subnormals": bool(rng.random() < 0.7)}
        bias = int(rng.integers(-40, 60)) if rng.random() < 0.3 else None
        try:
            formats.append(lp.Format(e, m, bias=bias, signed=bool(rng.random() < 0.7), **options))
        except ValueError:
            continue
    wanted = [{**explorer.facts(fmt), "source": None, "name": None} for fmt in formats]
    # derive() alone: parseFormat would return a format that the page brings along.
    found = core.evaluate(
        """(wanted) => wanted.map((facts) => {
          const { magnitudeMask, signMask, ...f } = derive(facts);
          const text = (code) => (code === null ? null : String(code));
          return { ...f, name: null, maxCode: text(f.maxCode), infinityCode: text(f.infinityCode),
            nanCode: text(f.nanCode) };
        })""",
        wanted,
    )
    assert found == wanted
    assert core.evaluate("(specs) => specs.map((spec) => parseFormat(spec).spec)", [f.spec for f in formats]) == [
        f.spec for f in formats
    ]


def test_names_of_formats_are_read_as_lpsim_does(core):
    names = [
        "half",
        "BF16",
        " e4m3 ",
        "e4m3fn",
        "float8_e8m0fnu",
        "double",
        "E8M10",
        "E2M1FN",
        "binary8p3",
        "p3109_k8p4uf",
    ]
    found = core.evaluate("(names) => names.map((name) => parseFormat(name).spec)", names)
    assert found == [lp.format(name).spec for name in names]
    wrong = [
        "fp17",
        "E12M3",
        "E5M53",
        "E4M3FN_finite",
        "E4M3FNUZ_unsigned",
        "E11M52B2000",
        "E5M7_x",
        "binary17p3",
        "",
        "E0M0",
    ]
    for name in wrong:
        with pytest.raises(ValueError, match=r"allowed|leave no code|needs a sign bit"):
            lp.format(name)
    said = core.evaluate(
        """(names) => names.map((name) => {
          try { parseFormat(name); return ""; } catch (mistake) {
            return mistake instanceof Mistake ? mistake.message : "";
          }
        })""",
        wrong,
    )
    assert [name for name, text in zip(wrong, said, strict=True) if not text] == []


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt.bits <= 8], ids=str)
def test_all_codes_of_small_formats(core, fmt):
    codes = np.arange(1 << fmt.bits)
    rows = core.evaluate(
        """([name, count]) => {
          const f = parseFormat(name);
          return Array.from({ length: count }, (_, i) => {
            const value = decode(BigInt(i), f);
            const back = encode(value, f, "ties_to_even", "ieee").code;
            const step = (up) => String(neighbour(BigInt(i), f, up));
            return [hexText(value), exactText(value), String(back), step(true), step(false), shortest(BigInt(i), f)];
          });
        }""",
        [fmt.spec, int(codes.size)],
    )
    values = np.asarray(lp.decode(codes, fmt), dtype=np.float64)
    for written in (0, 1):
        found = [float.fromhex(row[0]) if written == 0 and "x" in row[0] else float(row[written]) for row in rows]
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(values) & ~np.isnan(values))
    coded = ~np.isnan(values) | fmt.has_nan
    assert [int(row[2]) for row, there in zip(rows, coded, strict=True) if there] == lp.encode(values, fmt).tolist()
    numbers = ~np.isnan(values)
    shortest = np.array([float(rows[i][5]) for i in np.flatnonzero(numbers)])
    assert lp.encode(shortest, fmt).tolist() == lp.encode(values[numbers], fmt).tolist()
    np.testing.assert_allclose(shortest, values[numbers], rtol=0.5)
    for column, direction in ((3, math.inf), (4, -math.inf)):
        after = np.asarray(lp.nextafter(values[numbers], direction, fmt), dtype=np.float64)
        # The way up ends at -0 and the way down at 0, as in IEEE 754-2019, section 5.3.1.
        after = np.where(after == 0, -0.0 if direction > 0 else 0.0, after)
        # Where there is no value beyond, lpsim has NaN or the last one.
        stays = np.isnan(after) | (after == values[numbers])
        wanted = ["null" if end else str(lp.encode(x, fmt)) for x, end in zip(after, stays, strict=True)]
        assert [rows[i][column] for i in np.flatnonzero(numbers)] == wanted


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_codes_in_all_modes_and_policies_are_lpsims(core, fmt):
    rng = np.random.default_rng(fmt.bits + 100 * fmt.exponent_bits)
    (numbers,) = sampled_operands(fmt, "round", 1, 250, rng)
    if fmt.bits <= 6:
        numbers = np.concatenate([numbers, unary_points(fmt)])
    numbers = np.concatenate([numbers, [math.inf, -math.inf, 0.0, -0.0]])
    numbers = numbers[~np.isnan(numbers)]
    rows = iter(encode_in_page(core, fmt, numbers))
    for rounding in MODES:
        for overflow in POLICIES:
            found = next(rows)
            if overflow == "to_nan" and not fmt.has_nan:
                assert set(found) == {None}
            else:
                assert found == lp.encode(numbers, fmt, rounding=rounding, overflow=overflow).tolist()
    assert encode_in_page(core, fmt, [math.nan], ["ties_to_even"], ["ieee"]) == [[fmt.nan_code]]


NUMBERS = {
    "1/3": Fraction(1, 3),
    "-2/7*(3+4^-2)": Fraction(-2, 7) * (3 + Fraction(1, 16)),
    "0.1": Fraction(1, 10),
    "1e-3": Fraction(1, 1000),
    "1+2^-11": 1 + Fraction(1, 2048),
    # Just above a tie of float16, which binary64 would make of it.
    "1.00048828125000000000000000000000000001": 1 + Fraction(1, 2048) + Fraction(1, 10**38),
    "65519.99999999999999999999999": 65520 - Fraction(1, 10**23),
    "2**-24/2 + 1e-60": Fraction(1, 2**25) + Fraction(1, 10**60),
    "0x1.8p3": Fraction(12),
    "-0X.8": Fraction(-1, 2),
    "−3×5": Fraction(-15),
    "1e400": Fraction(10**400),
    "-2^2": Fraction(-4),
    "2^-2^2": Fraction(1, 16),
    "1-1": Fraction(0),
}


def test_what_is_typed_is_rounded_once(core):
    for spec in ("float16", "bfloat16", "float64", "e4m3fn", "E5M7"):
        for text, exact in NUMBERS.items():
            for rounding in MODES:
                found = core.evaluate(
                    "([text, name, mode]) => String(encode(parseNumber(text), parseFormat(name), mode, 'ieee').code)",
                    [text, spec, rounding],
                )
                assert int(found) == reference.encode(exact, spec, rounding=rounding), (text, spec, rounding)


@pytest.mark.parametrize(
    "text", ["", "x", "1e", "1/0", "(1", "1)", "2^0.5", "1 2", "inf-inf", "0^-1", "1e5001", "2^9^9"]
)
def test_what_is_no_number_is_a_mistake(core, text):
    message = core.evaluate(
        """(text) => {
          try { parseNumber(text); return ""; } catch (mistake) {
            return mistake instanceof Mistake ? mistake.message : "";
          }
        }""",
        text,
    )
    assert message


# What a user sees.


def card(page, name):
    return page.locator(f'.card[data-format="{name}"]')


def bits_of(page, name, part):
    return "".join(card(page, name).locator(f".part.{part} .bit").all_inner_texts())


def text_of(page, name, kind):
    return card(page, name).locator(f".{kind}").first.inner_text()


def test_a_number_in_half_precision_and_bfloat16(page):
    page.fill("#number", "")
    assert page.locator("#says.mistake").count() == 1
    page.type("#number", "-27.15625")
    assert page.locator("#says.mistake").count() == 0
    assert card(page, "float16").locator(".hex").input_value() == "0xCECA"
    assert [bits_of(page, "float16", part) for part in ("sign", "exponent", "fraction")] == ["1", "10011", "1011001010"]
    assert text_of(page, "float16", "value") == "-27.15625"
    assert [text_of(page, "float16", kind) for kind in ("error", "exactness", "kind")] == ["0", "exact", "normal"]
    assert card(page, "bfloat16").locator(".hex").input_value() == "0xC1D9"
    assert text_of(page, "bfloat16", "value") == "-27.125"
    assert text_of(page, "bfloat16", "error") == "+0.03125"
    assert text_of(page, "bfloat16", "ulps") == "+0.25"
    assert text_of(page, "bfloat16", "exactness") == "rounded"
    assert lp.encode(-27.15625, "bf16") == 0xC1D9


def test_a_click_on_a_bit_changes_the_value_in_all_formats(page):
    card(page, "float16").locator('.bit[data-bit="15"]').click()
    assert page.input_value("#number") == "27.15625"
    assert card(page, "float16").locator(".hex").input_value() == "0x4ECA"
    assert text_of(page, "bfloat16", "value") == "27.125"
    card(page, "float16").locator('.bit[data-bit="0"]').click()
    assert float(page.input_value("#number")) == lp.decode(0x4ECB, "half")
    card(page, "float16").locator(".next").click()
    assert float(page.input_value("#number")) == lp.decode(0x4ECC, "half")


def test_a_code_that_is_typed_is_kept_though_others_have_its_value(page):
    hexadecimal = card(page, "float16").locator(".hex")
    hexadecimal.fill("0xFE01")
    hexadecimal.press("Enter")
    assert page.input_value("#number") == "nan"
    assert hexadecimal.input_value() == "0xFE01"
    assert text_of(page, "float16", "kind") == "NaN (another code)"
    assert card(page, "bfloat16").locator(".hex").input_value() == "0x7FC0"
    assert text_of(page, "float4_e2m1fn", "value") == "no code"
    hexadecimal.fill("0x10000")
    hexadecimal.press("Enter")
    assert hexadecimal.get_attribute("aria-invalid") == "true"
    assert "allowed: 0x0000 to 0xFFFF" in page.inner_text("#says")


def test_formats_are_added_and_removed(page):
    page.fill("#add", "E5M7")
    page.press("#add", "Enter")
    assert card(page, "E5M7").count() == 1
    assert card(page, "E5M7").locator(".hex").input_value() == f"0x{lp.encode(-27.15625, 'E5M7'):04X}"
    page.fill("#add", "E5M99")
    page.click("#add-button")
    assert page.inner_text("#says") == "Mantissa_bits is 99; allowed: 0 to 52."
    page.fill("#add", "half")
    page.click("#add-button")
    assert page.inner_text("#says") == "The format is float16, which is shown already."
    card(page, "float16").locator(".remove").click()
    assert card(page, "float16").count() == 0
    assert "float16" not in page.url.replace("bfloat16", "")


def test_modes_and_policies_are_chosen(page):
    page.fill("#number", "464.5")
    assert text_of(page, "float8_e4m3fn", "value") == "nan"
    assert text_of(page, "float8_e4m3fn", "exactness") == "overflow"
    page.select_option("#overflow", "saturate")
    assert text_of(page, "float8_e4m3fn", "value") == "448"
    assert text_of(page, "float8_e4m3fn", "kind") == "largest finite"
    page.fill("#number", "1+2^-100")
    page.select_option("#rounding", "toward_positive")
    assert text_of(page, "bfloat16", "value") == "1.0078125"
    page.select_option("#overflow", "to_nan")
    assert text_of(page, "float4_e2m1fn", "value") == "no code"


def test_the_address_restores_the_view(page):
    page.fill("#number", "1/3")
    page.select_option("#rounding", "to_odd")
    page.select_option("#overflow", "saturate_finite")
    page.fill("#add", "E5M7FNUZ")
    page.press("#add", "Enter")
    card(page, "tf32").locator(".remove").click()
    before = page.inner_text("#cards")
    for _ in range(2):
        page.goto(page.url)
        page.reload()
        assert page.input_value("#number") == ("1/3" if "code=" not in page.url else "nan")
        assert page.inner_text("#cards") == before
        assert page.input_value("#rounding") == "to_odd"
        assert page.input_value("#overflow") == "saturate_finite"
        hexadecimal = card(page, "float16").locator(".hex")
        hexadecimal.fill("0x7C07")
        hexadecimal.press("Enter")
        assert "code=0x7C07&in=float16" in page.url
        before = page.inner_text("#cards")


def test_a_bad_address_is_a_message(page):
    address = page.url.partition("#")[0]
    page.goto("about:blank")
    page.goto(f"{address}#x=1&rounding=up")
    assert "Rounding is up; allowed: ties_to_even, " in page.inner_text("#says")
    assert text_of(page, "float16", "value") == "-27.15625"


def test_bits_are_reached_by_keys(page):
    first = card(page, "float16").locator(".bit").first
    first.focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert card(page, "float16").locator(".hex").input_value() == "0xEECA"
    assert page.evaluate("document.activeElement.dataset.bit") == "13"
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_the_line_shows_neighbours_and_where_the_number_goes(page):
    labels = [label for label in card(page, "bfloat16").locator(".line .label").all_inner_texts() if label]
    assert labels == ["-27.375", "-27.25", "-27.125", "-27"]
    assert card(page, "bfloat16").locator(".line .reached").inner_text() == "-27.125"

    def left(kind):
        return card(page, "bfloat16").locator(f".line .{kind}").first.bounding_box()["x"]

    ticks = [box["x"] for box in (t.bounding_box() for t in card(page, "bfloat16").locator(".line .tick").all())]
    assert ticks == sorted(ticks)
    # -27.15625 is a quarter of the way from -27.125 to -27.25.
    assert abs((left("pin") - ticks[2]) / (ticks[1] - ticks[2]) - 0.25) < 0.02
    page.fill("#number", "inf")
    assert "no place" in text_of(page, "bfloat16", "line")


@pytest.mark.parametrize("width", [360, 900, 1400])
def test_nothing_is_wider_than_the_window_and_nothing_moves(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("float64", "E11M40", "float32"):
        page.fill("#add", name)
        page.press("#add", "Enter")
    heights = set()
    for text in ("1/3", "-1e-320", "65520", "inf", "nan", "-0", "1e308", "12345.678"):
        page.fill("#number", text)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, text
        if width > 1000:
            heights.add(round(card(page, "float16").bounding_box()["height"]))
    assert len(heights) <= 1
