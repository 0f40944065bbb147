// Formats: those that the page brings along, and any other by name. FACTS is what lpsim says; see lpsim/explorer.

function fromFacts(facts) {
  const code = (text) => (text === null ? null : BigInt(text));
  return {
    ...facts,
    maxCode: code(facts.maxCode),
    infinityCode: code(facts.infinityCode),
    nanCode: code(facts.nanCode),
    magnitudeMask: (1n << BigInt(facts.exponentBits + facts.mantissaBits)) - 1n,
    signMask: facts.signed ? 1n << BigInt(facts.bits - 1) : 0n,
  };
}

const NAMED = new Map(FACTS.formats.map((facts) => [facts.name, fromFacts(facts)]));

function defaultBias(exponentBits, specials) {
  const ieeeLike = ["ieee", "fn", "finite"].includes(specials);
  return Math.max(((1 << exponentBits) >> 1) - (ieeeLike ? 1 : 0), 0);
}

/** The facts of a format from its parameters, for formats that the page does not bring along. */
function derive({ exponentBits, mantissaBits, bias, specials, subnormals, signed, name = null }) {
  const spelled = `E${exponentBits}M${mantissaBits}`;
  for (const [argument, value, largest] of [
    ["exponent_bits", exponentBits, FACTS.maxExponentBits],
    ["mantissa_bits", mantissaBits, FACTS.maxMantissaBits],
  ]) {
    if (value > largest) throw new Mistake(`${argument} is ${value}; allowed: 0 to ${largest}`);
  }
  if (specials === "fnuz" && !signed) {
    throw new Mistake("specials is 'fnuz', which needs a sign bit, but signed is False");
  }
  if (bias !== null && Math.abs(bias) > 4096) throw new Mistake(`bias is ${bias}; allowed: -4096 to 4096`);
  const M = BigInt(mantissaBits);
  const p3109 = specials === "p3109" || specials === "p3109_finite";
  const magnitudeMask = (1n << BigInt(exponentBits + mantissaBits)) - 1n;
  const bits = (signed ? 1 : 0) + exponentBits + mantissaBits;
  const signMask = signed ? 1n << BigInt(bits - 1) : 0n;
  const hasInfinity = specials === "ieee" || specials === "p3109";
  const hasNan = specials !== "finite" && !(specials === "ieee" && mantissaBits === 0);
  const hasZero = subnormals || mantissaBits > 0;
  let reserved = specials === "fn" ? 1n : 0n;
  if (specials === "ieee") reserved = 1n << M;
  if (p3109) reserved = (hasInfinity ? 1n : 0n) + (signed ? 0n : 1n);
  const maxCode = magnitudeMask - reserved;
  let nanCode = null;
  if (hasNan) {
    nanCode = magnitudeMask;
    if (specials === "ieee") nanCode = maxCode + 1n + ((1n << M) >> 1n);
    else if (signed && specials !== "fn") nanCode = signMask;
  }
  const usedBias = bias ?? defaultBias(exponentBits, specials);
  const emin = (hasZero ? 1 : 0) - usedBias;
  const quantumExponent = emin - mantissaBits;
  const smallestCode = hasZero ? (subnormals ? 1n : 1n << M) : 0n;
  const given = `exponent_bits=${exponentBits}, mantissa_bits=${mantissaBits} with specials='${specials}'`;
  if (maxCode < smallestCode || bits === 0) throw new Mistake(`${given} leave no code for a positive number`);
  if (signed && !hasZero && nanCode === signMask) {
    throw new Mistake(`${given} take the code of a negative number for NaN; allowed here: unsigned`);
  }
  const top = maxCode >> M;
  const emax =
    top === 0n && hasZero
      ? quantumExponent + bitLength(maxCode & ((1n << M) - 1n)) - 1
      : emin + Number(top) - (hasZero ? 1 : 0);
  if (emax > 1023 || quantumExponent < -1074) {
    throw new Mistake(
      `${spelled} with bias=${usedBias} has values from 2^${quantumExponent} to over 2^${emax}; ` +
        "allowed: formats whose every value is a binary64 value (2^-1074 to below 2^1024)",
    );
  }
  const f = {
    exponentBits,
    mantissaBits,
    bias: usedBias,
    specials,
    subnormals,
    signed,
    bits,
    magnitudeMask,
    signMask,
    hasInfinity,
    hasNan,
    hasZero,
    hasNegativeZero: signed && hasZero && ["ieee", "fn", "finite"].includes(specials),
    maxCode,
    infinityCode: hasInfinity ? maxCode + 1n : null,
    nanCode,
    emin,
    emax,
    quantumExponent,
    source: null,
  };
  f.spec = specOf(f);
  f.name = name ?? f.spec;
  return f;
}

function sameFormat(f, g) {
  return ["exponentBits", "mantissaBits", "bias", "specials", "subnormals", "signed"].every((key) => f[key] === g[key]);
}

/** The format spelled out; where that is a name of another format, with the bias. */
function specOf(f) {
  let start = `E${f.exponentBits}M${f.mantissaBits}`;
  let end = "";
  if (f.specials === "fn" || f.specials === "fnuz") end = f.specials.toUpperCase();
  else if (f.specials !== "ieee") end = `_${f.specials}`;
  end += (f.subnormals ? "" : "_nosubnormals") + (f.signed ? "" : "_unsigned");
  const other = NAMED.get(FACTS.aliases[(start + end).toLowerCase()]);
  const taken = other !== undefined && !sameFormat(other, f);
  if (taken || f.bias !== defaultBias(f.exponentBits, f.specials)) start += `B${f.bias}`;
  return start + end;
}

/** The format under the name by which the page brings it along, if it does. */
function known(f) {
  return [...NAMED.values()].find((other) => sameFormat(other, f)) ?? f;
}

function parseP3109([, kText, pText, sign, domain]) {
  const [k, p, signed, extended] = [Number(kText), Number(pText), sign !== "u", domain !== "f"];
  if (k < 3 || k > 16) throw new Mistake(`k is ${k}; allowed: 3 to 16`);
  const smallest = Math.max(1, k + (signed ? 0 : 1) - FACTS.maxExponentBits);
  const largest = k - (signed ? 1 : 0);
  if (p < smallest || p > largest) throw new Mistake(`p is ${p}; allowed: ${smallest} to ${largest} for k=${k}`);
  return known(derive({
    exponentBits: k - p + (signed ? 0 : 1),
    mantissaBits: p - 1,
    bias: null,
    specials: extended ? "p3109" : "p3109_finite",
    subnormals: true,
    signed,
    name: `binary${k}p${p}${signed ? "s" : "u"}${extended ? "e" : "f"}`,
  }));
}

/** Read the name of a format as lpsim.format does. Throws a Mistake. */
function parseFormat(text) {
  const key = text.trim().toLowerCase();
  if (Object.hasOwn(FACTS.aliases, key)) return NAMED.get(FACTS.aliases[key]);
  const match = key.match(new RegExp(`^(?:${FACTS.patterns.exmy})$`));
  if (match) {
    const [, exponentBits, mantissaBits, bias, suffix, rest = ""] = match;
    const words = rest.slice(1).replace("p3109_finite", "p3109finite").split("_").filter(Boolean);
    const kinds = { finite: "finite", p3109: "p3109", p3109finite: "p3109_finite" };
    const chosen = [suffix, ...words.map((word) => kinds[word])].filter(Boolean);
    const others = words.filter((word) => !kinds[word]);
    if (chosen.length <= 1 && others.every((word) => word === "nosubnormals" || word === "unsigned")) {
      return known(derive({
        exponentBits: Number(exponentBits),
        mantissaBits: Number(mantissaBits),
        bias: bias === undefined ? null : Number(bias),
        specials: chosen[0] ?? "ieee",
        subnormals: !others.includes("nosubnormals"),
        signed: !others.includes("unsigned"),
      }));
    }
  }
  const p3109 = key.match(new RegExp(`^(?:${FACTS.patterns.p3109})$`));
  if (p3109) return parseP3109(p3109);
  throw new Mistake(
    `the format is ${JSON.stringify(text)}, which names none; allowed: ExMy such as E5M7, E4M3FN, E4M3B11FNUZ or ` +
      "E3M2_finite, binary8p3, or a named format such as bfloat16",
  );
}
