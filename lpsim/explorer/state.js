// What the page shows, and its form in the address after "#".
//
// source is what was given last: {text} that was typed as a number, or {code, format} where bits were set. A code is
// kept as it is, since several may stand for one value.

function initialState() {
  return {
    source: { text: FACTS.number },
    formats: FACTS.shown.map((name) => NAMED.get(name)),
    rounding: FACTS.roundings[0],
    overflow: FACTS.overflows[0],
  };
}

/** The number that a state is about. Throws a Mistake. */
function numberOf({ source }) {
  return source.format ? decode(source.code, source.format) : parseNumber(source.text);
}

/** What the number is in a format: a code, or null, and a note. */
function resultOf(state, number, f) {
  const { source, rounding, overflow } = state;
  if (source.format && sameFormat(source.format, f)) return { code: source.code, note: "" };
  return encode(number, f, rounding, overflow);
}

function toHash(state) {
  const { source } = state;
  const parts = new URLSearchParams();
  if (source.format) {
    parts.set("code", hexCode(source.code, source.format));
    parts.set("in", source.format.name);
  } else {
    parts.set("x", source.text);
  }
  parts.set("formats", state.formats.map((f) => f.name).join(","));
  parts.set("rounding", state.rounding);
  parts.set("overflow", state.overflow);
  return `#${parts.toString().replaceAll("%2C", ",")}`;
}

/** The state in an address; what is missing there is as at first. Throws a Mistake. */
function fromHash(hash) {
  const state = initialState();
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  if (parts.has("x")) state.source = { text: parts.get("x") };
  if (parts.has("code")) {
    const format = parseFormat(parts.get("in") ?? "");
    state.source = { code: parseCode(parts.get("code"), format), format };
  }
  if (parts.has("formats")) {
    state.formats = [];
    for (const name of parts.get("formats").split(",").filter(Boolean)) addFormat(state, parseFormat(name));
  }
  for (const [argument, allowed] of [
    ["rounding", FACTS.roundings],
    ["overflow", FACTS.overflows],
  ]) {
    const given = parts.get(argument);
    if (given === null) continue;
    if (!allowed.includes(given)) throw new Mistake(`${argument} is ${given}; allowed: ${allowed.join(", ")}`);
    state[argument] = given;
  }
  return state;
}

/** Add a format to the shown ones; false if it is there already. */
function addFormat(state, f) {
  if (state.formats.some((other) => sameFormat(other, f))) return false;
  state.formats = [...state.formats, f];
  return true;
}
