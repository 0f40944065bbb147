// Codes and values of a format f, and the one rounding from an exact number to a code.

/** The value of a magnitude code; it may lie beyond the largest finite one, as if exponents had no upper end. */
function magnitudeOf(code, f, negative = false) {
  const M = BigInt(f.mantissaBits);
  const field = code >> M;
  const trailing = code & ((1n << M) - 1n);
  if (field === 0n && f.hasZero) return dyadic(f.subnormals ? trailing : 0n, f.quantumExponent, negative);
  const lift = Number(field) - (f.hasZero ? 1 : 0);
  return dyadic(trailing + (1n << M), f.quantumExponent + lift, negative);
}

function decode(code, f) {
  const negative = (code & f.signMask) !== 0n;
  const magnitude = code & f.magnitudeMask;
  if (f.hasNan) {
    const isNan =
      f.specials === "ieee" ? magnitude > f.infinityCode : (f.specials === "fn" ? magnitude : code) === f.nanCode;
    if (isNan) return NAN;
  }
  if (magnitude === f.infinityCode) return infinite(negative);
  const value = magnitudeOf(magnitude, f, negative);
  return isZero(value) && !f.hasNegativeZero ? finite(0n) : value;
}

/**
 * The codes of the neighbours of num / den > 0 toward and away from zero, as if exponents had no upper end, and where
 * between them it lies: rest / gap, which is 0 for a value of the format.
 */
function between(num, den, f) {
  const M = f.mantissaBits;
  const e = exponentOf(num, den);
  if (e < f.emin && !f.subnormals) {
    if (!f.hasZero) return { low: -1n, high: 0n, rest: 1n, gap: 1n, odd: false };
    const [rest, gap] = f.emin >= 0 ? [num, den << BigInt(f.emin)] : [num << BigInt(-f.emin), den];
    return { low: 0n, high: 1n << BigInt(M), rest, gap, odd: false };
  }
  const q = Math.max(e - M, f.quantumExponent);
  const [top, gap] = q >= 0 ? [num, den << BigInt(q)] : [num << BigInt(-q), den];
  const k = top / gap;
  const low = (BigInt(q - f.quantumExponent) << BigInt(M)) + k - (f.hasZero ? 0n : 1n << BigInt(M));
  return { low, high: low + 1n, rest: top - k * gap, gap, odd: (low & 1n) === 1n };
}

function goesUp({ rest, gap, odd }, negative, rounding) {
  const half = 2n * rest;
  switch (rounding) {
    case "ties_to_even":
      return half > gap || (half === gap && odd);
    case "ties_to_away":
      return half >= gap;
    case "ties_to_zero":
      return half > gap;
    case "toward_zero":
      return false;
    case "away_from_zero":
      return true;
    case "toward_positive":
      return !negative;
    case "toward_negative":
      return negative;
    case "to_odd":
      return !odd;
    default:
      throw new Error(`unknown rounding ${rounding}`);
  }
}

function isSaturating(overflow) {
  return overflow === "saturate" || overflow === "saturate_finite";
}

/**
 * Round x once. Returns {code, note}: the code is null where NaN is due and the format has none; the note says what
 * beyond rounding happened ("overflow", "invalid") or is empty.
 */
function encode(x, f, rounding, overflow) {
  if (overflow === "to_nan" && !f.hasNan) return { code: null, note: "overflow is to_nan, but the format has no NaN" };
  const nan = f.nanCode;
  if (x.kind === "nan") return { code: nan, note: nan === null ? "the format has no NaN" : "" };
  const sign = x.negative ? f.signMask : 0n;
  // Code 0 is the smallest value of an unsigned format, and the smallest positive one of a format without zero.
  if (isZero(x)) {
    if (f.hasZero) return { code: f.hasNegativeZero ? sign : 0n, note: "" };
    return { code: isSaturating(overflow) || nan === null ? 0n : nan, note: "the format has no zero" };
  }
  if (x.negative && !f.signed) {
    return { code: isSaturating(overflow) || nan === null ? 0n : nan, note: "the format has no negative numbers" };
  }
  const largest = sign | f.maxCode;
  const infinity = f.infinityCode === null ? (nan ?? largest) : sign | f.infinityCode;
  if (x.kind === "infinite") {
    const code = overflow === "saturate" ? largest : infinity;
    return { code, note: f.hasInfinity ? "" : "the format has no infinity" };
  }
  const place = between(x.num, x.den, f);
  const up = place.rest !== 0n && (place.low < 0n || goesUp(place, x.negative, rounding));
  const code = up ? place.high : place.low;
  if (code > f.maxCode) {
    const inward = x.negative ? "toward_positive" : "toward_negative";
    const toLargest =
      isSaturating(overflow) || (overflow === "ieee" && ["toward_zero", "to_odd", inward].includes(rounding));
    return { code: toLargest ? largest : overflow === "to_nan" ? nan : infinity, note: "overflow" };
  }
  return { code: code === 0n && f.hasZero && !f.hasNegativeZero ? 0n : sign | code, note: "" };
}

// Neighbours, and the place of a value among those of the format.

/** The code of the first value above (or below) that of a code, or null. NaNs have none. */
function neighbour(code, f, up) {
  const value = decode(code, f);
  if (value.kind === "nan") return null;
  const gap = !f.subnormals && f.hasZero ? (1n << BigInt(f.mantissaBits)) - 1n : 0n;
  let magnitude = code & f.magnitudeMask;
  if (gap) magnitude = magnitude > gap ? magnitude - gap : 0n;
  const offset = f.hasZero ? 0n : 1n;
  const negative = value.negative && !(isZero(value) && f.hasZero);
  const position = (negative ? -magnitude - offset : magnitude) + (up ? 1n : -1n);
  if (position < 0n && !f.signed) return null;
  const found = position < 0n ? -position - offset : position;
  const lifted = position !== 0n ? found + gap : found;
  const last = f.infinityCode ?? f.maxCode;
  if (lifted > last) return null;
  // From below, the way to zero ends at -0, where there is one.
  const minusZero = position === 0n && f.hasZero && negative && f.hasNegativeZero;
  return (position < 0n || minusZero ? f.signMask : 0n) | lifted;
}

/** The unit in the last place of f at x, a finite number. */
function ulpAt(x, f) {
  const e = isZero(x) ? f.emin - 1 : exponentOf(x.num, x.den);
  if (e < f.emin) return dyadic(1n, f.subnormals ? f.quantumExponent : f.emin);
  return dyadic(1n, Math.min(e, f.emax) - f.mantissaBits);
}

/** The fewest decimal digits that, read to nearest, give the value of a code again. */
function shortest(code, f) {
  const value = decode(code, f);
  if (value.kind !== "finite" || isZero(value)) return unusual(value);
  for (let count = 1; count < 18; count++) {
    const found = leadingDigits(value.num, value.den, count);
    const scale = found.exponent - found.digits.length + 1;
    const n = BigInt(found.digits);
    const read = scale >= 0 ? finite(n * 10n ** BigInt(scale)) : finite(n, 10n ** BigInt(-scale));
    const back = encode({ ...read, negative: value.negative }, f, "ties_to_even", "ieee");
    // What overflows may come back to the largest value, but is no way to write it.
    if (back.code === code && !back.note) return spell(found, value.negative);
  }
  return exactText(value);
}

/** What a value is called: its class, and its name if it has one. */
function kindOf(code, f) {
  const value = decode(code, f);
  if (value.kind === "nan") return code === f.nanCode ? "NaN" : "NaN (another code)";
  if (value.kind === "infinite") return "infinity";
  if (isZero(value)) return value.negative ? "negative zero" : "zero";
  const magnitude = code & f.magnitudeMask;
  const smallestNormal = f.hasZero ? 1n << BigInt(f.mantissaBits) : 0n;
  if (magnitude === f.maxCode) return value.negative ? "lowest finite" : "largest finite";
  if (magnitude < smallestNormal) return magnitude === 1n ? "smallest subnormal" : "subnormal";
  return magnitude === smallestNormal ? "smallest normal" : "normal";
}

function hexCode(code, f) {
  return `0x${code.toString(16).toUpperCase().padStart(Math.ceil(f.bits / 4), "0")}`;
}

function binaryCode(code, f) {
  return code.toString(2).padStart(f.bits, "0");
}

/** Read a code: hexadecimal with or without 0x, or binary after 0b or of the format's full length. Throws a Mistake. */
function parseCode(text, f) {
  const clean = text.replace(/[\s_]/g, "").toLowerCase();
  let code = null;
  if (/^0b[01]+$/.test(clean)) code = BigInt(clean);
  else if (/^[01]+$/.test(clean) && clean.length === f.bits && f.bits > 4) code = BigInt(`0b${clean}`);
  else if (/^(0x)?[0-9a-f]+$/.test(clean)) code = BigInt(`0x${clean.replace(/^0x/, "")}`);
  const largest = (1n << BigInt(f.bits)) - 1n;
  if (code === null || code > largest) {
    throw new Mistake(`the code is ${JSON.stringify(text)}; allowed: ${hexCode(0n, f)} to ${hexCode(largest, f)}, or binary`);
  }
  return code;
}
