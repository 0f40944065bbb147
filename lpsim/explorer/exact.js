// Exact numbers. A finite one is {kind: "finite", negative, num, den} with BigInts num >= 0 and den > 0, so that -0 has
// a sign; the others are {kind: "infinite", negative} and {kind: "nan"}.

const NAN = { kind: "nan", negative: false };

function finite(num, den = 1n, negative = false) {
  return { kind: "finite", negative, num, den };
}

function infinite(negative) {
  return { kind: "infinite", negative };
}

function bitLength(n) {
  if (n === 0n) return 0;
  const text = n.toString(16);
  return 4 * (text.length - 1) + (32 - Math.clz32(parseInt(text[0], 16)));
}

/** The floor of the binary logarithm of num / den > 0. */
function exponentOf(num, den) {
  const e = bitLength(num) - bitLength(den);
  const reaches = e >= 0 ? num >= den << BigInt(e) : num << BigInt(-e) >= den;
  return reaches ? e : e - 1;
}

/** n * 2**e for an integer n >= 0. */
function dyadic(n, e, negative = false) {
  return e >= 0 ? finite(n << BigInt(e), 1n, negative) : finite(n, 1n << BigInt(-e), negative);
}

function isZero(x) {
  return x.kind === "finite" && x.num === 0n;
}

function gcd(a, b) {
  while (b) [a, b] = [b, a % b];
  return a;
}

function reduced(x) {
  const common = gcd(x.num, x.den);
  return common > 1n ? finite(x.num / common, x.den / common, x.negative) : x;
}

function signedNum(x) {
  return x.negative ? -x.num : x.num;
}

function fromSigned(num, den) {
  return finite(num < 0n ? -num : num, den, num < 0n);
}

function negate(x) {
  return x.kind === "nan" ? x : { ...x, negative: !x.negative };
}

/** The signs of x - y as -1, 0 or 1; both are finite. */
function compare(x, y) {
  const difference = signedNum(x) * y.den - signedNum(y) * x.den;
  return difference > 0n ? 1 : difference < 0n ? -1 : 0;
}

// Arithmetic on exact numbers, for what is typed. Infinities and NaNs are no operands there.

function plus(x, y) {
  const sum = signedNum(x) * y.den + signedNum(y) * x.den;
  if (sum === 0n) return finite(0n, 1n, x.negative && y.negative);
  return reduced(fromSigned(sum, x.den * y.den));
}

function minus(x, y) {
  return plus(x, negate(y));
}

function times(x, y) {
  return reduced(finite(x.num * y.num, x.den * y.den, x.negative !== y.negative));
}

function over(x, y) {
  return reduced(finite(x.num * y.den, x.den * y.num, x.negative !== y.negative));
}

function power(x, n) {
  const m = BigInt(Math.abs(n));
  const negative = x.negative && n % 2 !== 0;
  return n < 0 ? finite(x.den ** m, x.num ** m, negative) : finite(x.num ** m, x.den ** m, negative);
}

// Decimal text.

/** The power of ten that the digits of num / den > 0 start at. */
function decimalExponent(num, den) {
  let e = Math.floor((bitLength(num) - bitLength(den)) * Math.log10(2)) - 1;
  const atLeast = (p) => (p >= 0 ? num >= den * 10n ** BigInt(p) : num * 10n ** BigInt(-p) >= den);
  while (atLeast(e + 1)) e++;
  return e;
}

/** The first digits of num / den > 0, rounded to nearest, without trailing zeros: {digits, exponent, exact}. */
function leadingDigits(num, den, count) {
  let exponent = decimalExponent(num, den);
  const shift = count - 1 - exponent;
  const top = shift >= 0 ? num * 10n ** BigInt(shift) : num;
  const bottom = shift >= 0 ? den : den * 10n ** BigInt(-shift);
  let n = top / bottom;
  const rest = top - n * bottom;
  if (2n * rest > bottom || (2n * rest === bottom && n % 2n === 1n)) n++;
  let digits = n.toString();
  if (digits.length > count) exponent++;
  digits = digits.replace(/0+$/, "");
  return { digits, exponent, exact: rest === 0n };
}

/** All digits of num / den > 0, or null where they never end. */
function allDigits(num, den) {
  let rest = den;
  let twos = 0;
  let fives = 0;
  // A power of two is divided away at once: it may have a thousand bits.
  const low = rest & -rest;
  twos = bitLength(low) - 1;
  rest /= low;
  while (rest % 5n === 0n) {
    rest /= 5n;
    fives++;
  }
  if (rest !== 1n) return null;
  const scale = Math.max(twos, fives);
  const n = num * 2n ** BigInt(scale - twos) * 5n ** BigInt(scale - fives);
  const text = n.toString();
  return { digits: text.replace(/0+$/, ""), exponent: text.length - 1 - scale, exact: true };
}

function spell({ digits, exponent }, negative) {
  const sign = negative ? "-" : "";
  if (exponent >= -7 && exponent <= 20 && digits.length <= 40) {
    if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
    const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
    const part = digits.slice(exponent + 1);
    return sign + whole + (part ? `.${part}` : "");
  }
  const mantissa = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
  return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${Math.abs(exponent)}`;
}

function unusual(x) {
  if (x.kind === "nan") return "nan";
  if (x.kind === "infinite") return x.negative ? "-inf" : "inf";
  return x.negative ? "-0" : "0";
}

/** All digits of a number, or, if they never end, the first 20. */
function exactText(x) {
  if (x.kind !== "finite" || isZero(x)) return unusual(x);
  const { num, den } = reduced(x);
  const digits = allDigits(num, den);
  return digits ? spell(digits, x.negative) : shortText(x, 20);
}

/** All digits of a number if they take no more than so many characters, or else so many digits as stated. */
function fittingText(x, characters, count) {
  const exact = exactText(x);
  return exact.length <= characters && !exact.startsWith("≈") ? exact : shortText(x, count);
}

/** A number to so many digits, with a sign that says whether digits are missing. */
function shortText(x, count) {
  if (x.kind !== "finite" || isZero(x)) return unusual(x);
  const found = leadingDigits(x.num, x.den, count);
  return (found.exact ? "" : "≈\u00a0") + spell(found, x.negative);
}

/** A dyadic number as C and Python write it: 0x1.8p3. */
function hexText(x) {
  if (x.kind !== "finite" || isZero(x)) return unusual(x);
  const e = exponentOf(x.num, x.den);
  const { num } = reduced(x);
  const significant = num / (num & -num);
  const digits = bitLength(significant) - 1;
  const padded = (4 - (digits % 4)) % 4;
  const fraction = (significant << BigInt(padded)).toString(16).slice(1);
  return `${x.negative ? "-" : ""}0x1${fraction ? `.${fraction}` : ""}p${e < 0 ? "" : "+"}${e}`;
}
