// The card of one format. It is built once; afterwards only texts and states change, so that nothing loses the focus.

/** Names and widths of the fields of a code, from the top. */
function fieldsOf(f) {
  return [
    ["sign", f.signed ? 1 : 0],
    ["exponent", f.exponentBits],
    ["fraction", f.mantissaBits],
  ].filter(([, width]) => width > 0);
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function powerOfTwo(e) {
  return `2${Array.from(String(e), (digit) => SUPERSCRIPT[digit]).join("")}`;
}

/** Factors of the value of a code as {sign, exponent, fraction} texts, or null where it is no finite number. */
function factorsOf(code, f) {
  if (code === null || decode(code, f).kind !== "finite") return null;
  const M = BigInt(f.mantissaBits);
  const magnitude = code & f.magnitudeMask;
  const field = magnitude >> M;
  const subnormal = field === 0n && f.hasZero;
  const flushed = subnormal && !f.subnormals;
  const e = f.emin + Number(field) - (f.hasZero && !subnormal ? 1 : 0);
  const trailing = flushed ? 0n : magnitude & ((1n << M) - 1n);
  const significand = finite(trailing + (subnormal ? 0n : 1n << M), 1n << M);
  return {
    sign: decode(code, f).negative ? "−" : "+",
    exponent: powerOfTwo(e),
    fraction: fittingText(significand, 24, 18),
    written: f.exponentBits ? (subnormal ? `0: ${e}` : `${field} − ${f.bias} = ${e}`) : "",
  };
}

/** A signed error: with its sign, and no more digits than one reads. */
function errorText(x, characters, count) {
  if (isZero(x)) return "0";
  const text = fittingText(x, characters, count);
  return x.negative ? text : text.replace(/^(≈\u00a0)?/, "$1+");
}

/** Errors of a result: value - number, that over the number, and that over the ulp, as texts. */
function errorsOf(number, value, f) {
  if (number.kind === "finite" && value.kind === "finite") {
    const error = minus(value, number);
    return {
      exact: isZero(error),
      error: errorText(error, 28, 6),
      relative: isZero(error) ? "0" : isZero(number) ? "none: the number is 0" : errorText(over(error, number), 10, 4),
      ulps: errorText(over(error, ulpAt(number, f)), 10, 4),
    };
  }
  const same = number.kind === value.kind && number.negative === value.negative;
  const text = same ? "0" : value.kind === "nan" || number.kind === "nan" ? "nan" : "infinite";
  return { exact: same, error: text, relative: text, ulps: text };
}

class Card {
  /** onCode is called with a code that the user chose, onRemove when the card shall go. */
  constructor(f, onCode, onRemove) {
    this.f = f;
    this.onCode = onCode;
    this.code = null;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.element.querySelector(selector);
    this.element.dataset.format = f.name;
    this.element.setAttribute("aria-label", f.name);
    this.element.classList.toggle("short", f.bits <= 32);
    this.find(".name").textContent = f.name;
    this.find(".spec").textContent = f.spec === f.name ? `${f.bits} bits` : `${f.spec}, ${f.bits} bits`;
    this.find(".hex").setAttribute("aria-label", `Code in ${f.name}`);
    this.find(".bits").setAttribute("aria-label", `Bits of ${f.name}`);
    const remove = this.find(".remove");
    remove.setAttribute("aria-label", `Remove ${f.name}`);
    remove.addEventListener("click", onRemove);
    this.buildBits();
    const hex = this.find(".hex");
    hex.addEventListener("change", () => this.readCode(hex));
    hex.addEventListener("input", () => hex.removeAttribute("aria-invalid"));
    this.find(".previous").addEventListener("click", () => this.step(false));
    this.find(".next").addEventListener("click", () => this.step(true));
  }

  buildBits() {
    this.bits = [];
    this.captions = {};
    let index = this.f.bits;
    for (const [name, width] of fieldsOf(this.f)) {
      const part = document.createElement("div");
      part.className = `part ${name}`;
      const cells = document.createElement("div");
      cells.className = "cells";
      for (let i = 0; i < width; i++) {
        index--;
        const bit = document.createElement("button");
        bit.type = "button";
        // Wide fields are easier to read by hexadecimal digits.
        bit.className = width > 8 && index % 4 === 0 ? "bit last" : "bit";
        bit.dataset.bit = index;
        bit.tabIndex = this.bits.length ? -1 : 0; // one stop for the tab key, arrows within
        bit.setAttribute("aria-label", `bit ${index}, ${name}`);
        cells.append(bit);
        this.bits.push(bit);
      }
      const caption = document.createElement("p");
      caption.className = "caption";
      this.captions[name] = caption;
      part.append(cells, caption);
      this.find(".bits").append(part);
    }
    this.find(".bits").addEventListener("click", (event) => {
      const index = event.target.dataset.bit;
      if (index !== undefined && this.code !== null) this.onCode(this.code ^ (1n << BigInt(index)));
    });
    this.find(".bits").addEventListener("keydown", (event) => this.moveAmongBits(event));
  }

  moveAmongBits(event) {
    const here = this.bits.indexOf(event.target);
    const last = this.bits.length - 1;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (here < 0 || to === undefined || to < 0 || to > last) return;
    event.preventDefault();
    this.bits[here].tabIndex = -1;
    this.bits[to].tabIndex = 0;
    this.bits[to].focus();
  }

  readCode(hex) {
    try {
      this.onCode(parseCode(hex.value, this.f));
      hex.removeAttribute("aria-invalid");
    } catch (mistake) {
      if (!(mistake instanceof Mistake)) throw mistake;
      hex.setAttribute("aria-invalid", "true");
      this.onCode(null, mistake.message);
    }
  }

  step(up) {
    const code = neighbour(this.code, this.f, up);
    if (code !== null) this.onCode(code);
  }

  update(number, { code, note }) {
    const { f } = this;
    this.code = code;
    const value = code === null ? NAN : decode(code, f);
    const digits = code === null ? "·".repeat(f.bits) : binaryCode(code, f);
    this.bits.forEach((bit, i) => {
      bit.textContent = digits[i];
      bit.disabled = code === null;
      bit.setAttribute("aria-pressed", String(digits[i] === "1"));
    });
    this.showFactors(code);
    this.find(".value").textContent = code === null ? "no code" : fittingText(value, 32, 24);
    this.find(".kind").textContent = code === null ? "" : kindOf(code, f);
    this.find(".hex").value = code === null ? "" : hexCode(code, f);
    this.find(".hex").removeAttribute("aria-invalid");
    this.find(".binary").textContent = f.bits <= 32 && code !== null ? digits : "";
    const errors = errorsOf(number, value, f);
    for (const name of ["error", "relative", "ulps"]) {
      this.find(`.${name}`).textContent = code === null ? "none" : errors[name];
    }
    const exactness = this.find(".exactness");
    exactness.className = `exactness badge ${code === null ? "none" : errors.exact && !note ? "exact" : "rounded"}`;
    exactness.textContent = note || (errors.exact ? "exact" : "rounded");
    for (const [name, up, arrow] of [
      ["previous", false, "◂ "],
      ["next", true, "▸ "],
    ]) {
      const button = this.find(`.${name}`);
      const found = code === null ? null : neighbour(code, f, up);
      button.disabled = found === null;
      button.textContent = arrow + (found === null ? "none" : labelOfCode(found, f));
      button.setAttribute("aria-label", `${name} value: ${found === null ? "none" : labelOfCode(found, f)}`);
    }
    drawLine(this.find(".line"), number, code, f);
    this.showMore(value, code);
  }

  showFactors(code) {
    const factors = factorsOf(code, this.f);
    const formula = this.find(".formula");
    formula.replaceChildren();
    const captions = { sign: "", exponent: "", fraction: "" };
    if (factors) {
      captions.sign = factors.sign;
      captions.exponent = factors.written;
      captions.fraction = factors.fraction;
      for (const [name, text] of [
        ["sign", factors.sign],
        ["exponent", factors.exponent],
        ["", " × "],
        ["fraction", factors.fraction],
      ]) {
        const part = document.createElement("span");
        part.className = name;
        part.textContent = text;
        formula.append(part);
      }
    } else if (code !== null) {
      captions.exponent = "special";
    }
    for (const [name, caption] of Object.entries(this.captions)) caption.textContent = captions[name];
  }

  showMore(value, code) {
    const { f } = this;
    const largest = decode(f.maxCode, f);
    const smallestNormal = dyadic(1n, f.emin);
    const rows = [
      ["Value", code === null ? "none" : exactText(value), "all"],
      ["As hex", hexText(value)],
      ["Exponents", `${f.emin} to ${f.emax}, bias ${f.bias}`],
      ["Largest", `${shortText(largest, 8)} = ${hexText(largest)}`],
      ["Normal from", f.emax >= f.emin ? `${powerOfTwo(f.emin)} ${shortText(smallestNormal, 6)}` : "none"],
      ["Smallest", f.subnormals ? `${powerOfTwo(f.quantumExponent)} (subnormal)` : powerOfTwo(f.emin)],
      [
        "Has",
        [
          f.hasInfinity ? "infinity" : "no infinity",
          f.hasNan ? "NaN" : "no NaN",
          f.hasZero ? (f.hasNegativeZero ? "−0" : "no −0") : "no zero",
        ].join(", "),
      ],
      ["Source", f.source ?? "a format by its name"],
    ];
    this.find(".more").replaceChildren(
      ...rows.map(([name, text, kind = ""]) => {
        const row = document.createElement("div");
        const term = document.createElement("dt");
        const description = document.createElement("dd");
        term.textContent = name;
        description.textContent = text;
        description.className = kind;
        row.append(term, description);
        return row;
      }),
    );
  }
}
