// What may be typed as a number: decimals, hexadecimal floats, inf, nan, and + - * / ^ and parentheses among them.

// Larger exponents would only make numbers that no format tells from 0 or infinity, slowly.
const MAX_TYPED_EXPONENT = 5000;

const TOKEN = /\s*(?:(0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?\d+)?)|((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|(inf(?:inity)?|∞)|(nan)|(\*\*|[-+*/^()]))/iy;

class Mistake extends Error {}

function checkedExponent(n) {
  if (Math.abs(n) > MAX_TYPED_EXPONENT) {
    throw new Mistake(`an exponent is ${n}; allowed: -${MAX_TYPED_EXPONENT} to ${MAX_TYPED_EXPONENT}`);
  }
  return n;
}

function readDecimal(text) {
  const [mantissa, exponent = "0"] = text.toLowerCase().split("e");
  const [whole, part = ""] = mantissa.split(".");
  const e = checkedExponent(Number(exponent)) - checkedExponent(part.length);
  const n = BigInt(whole + part || "0");
  return e >= 0 ? finite(n * 10n ** BigInt(e)) : reduced(finite(n, 10n ** BigInt(-e)));
}

function readHexadecimal(text) {
  const [mantissa, exponent = "0"] = text.toLowerCase().slice(2).split("p");
  const [whole, part = ""] = mantissa.split(".");
  return reduced(dyadic(BigInt(`0x${whole}${part}`), checkedExponent(Number(exponent)) - 4 * part.length));
}

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim()) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new Mistake(`cannot read ${JSON.stringify(text.slice(start).trim())}`);
    const [, hexadecimal, decimal, infinity, nan, sign] = match;
    if (hexadecimal) found.push(readHexadecimal(hexadecimal));
    else if (decimal) found.push(readDecimal(decimal));
    else if (infinity) found.push(infinite(false));
    else if (nan) found.push(NAN);
    else found.push(sign === "**" ? "^" : sign);
  }
  return found;
}

/** Read a number or an expression. Throws a Mistake whose message says what is wrong. */
function parseNumber(text) {
  const allowed = "allowed: a number such as -27.15625, 1e-3, 0x1.8p3, 1/3, 2^-14*3, inf or nan";
  if (text.length > 2000) throw new Mistake(`the number has ${text.length} characters; allowed: 2000`);
  // Other pages and papers write minus, times and powers with signs of their own.
  const left = tokens(text.replace(/[−–]/g, "-").replace(/[×·]/g, "*"));
  const mistake = (what) => new Mistake(`the number is ${JSON.stringify(text)}, ${what}; ${allowed}`);
  const finiteOperands = (...operands) => {
    if (operands.some((x) => x.kind !== "finite")) throw mistake("which computes with infinity or NaN");
    if (operands.some((x) => bitLength(x.num) + bitLength(x.den) > 200000)) throw mistake("which grows too large");
  };

  function primary() {
    const token = left.shift();
    if (token === "(") {
      const inner = sum();
      if (left.shift() !== ")") throw mistake("in which a parenthesis is not closed");
      return inner;
    }
    if (token === undefined || typeof token === "string") throw mistake("in which a number is missing");
    return token;
  }

  function raised() {
    const base = primary();
    if (left[0] !== "^") return base;
    left.shift();
    const exponent = signed();
    finiteOperands(base, exponent);
    const { num, den } = reduced(exponent);
    if (den !== 1n) throw mistake("in which an exponent is no integer");
    const n = checkedExponent(Number(num) * (exponent.negative ? -1 : 1));
    if (isZero(base) && n < 0) throw mistake("which divides by zero");
    return power(base, n);
  }

  function signed() {
    if (left[0] === "-") {
      left.shift();
      return negate(signed());
    }
    if (left[0] === "+") {
      left.shift();
      return signed();
    }
    return raised();
  }

  function product() {
    let x = signed();
    while (left[0] === "*" || left[0] === "/") {
      const operation = left.shift();
      const y = signed();
      finiteOperands(x, y);
      if (operation === "/" && isZero(y)) throw mistake("which divides by zero");
      x = operation === "*" ? times(x, y) : over(x, y);
    }
    return x;
  }

  function sum() {
    let x = product();
    while (left[0] === "+" || left[0] === "-") {
      const operation = left.shift();
      const y = product();
      finiteOperands(x, y);
      x = operation === "+" ? plus(x, y) : minus(x, y);
    }
    return x;
  }

  if (left.length === 0) throw new Mistake(`the number is missing; ${allowed}`);
  const x = sum();
  if (left.length) throw mistake("after which something is left over");
  return x;
}
