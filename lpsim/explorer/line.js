// The number line of a card: values of the format about the number, the number, and where it goes.

// Labels of more characters take turns in two rows.
const LONGEST_IN_A_ROW = 12;

/**
 * What the line has: ticks {value, label, beyond, near}, ties between them, the number's place; or null for numbers
 * that have no place on it. A tick beyond the largest value is where it would be if exponents had no upper end.
 */
function lineOf(number, f) {
  if (number.kind !== "finite") return null;
  const below = encode(number, f, "toward_negative", "saturate").code;
  const above = encode(number, f, "toward_positive", "saturate").code;
  const tick = (code, near) => ({ value: decode(code, f), label: labelOfCode(code, f), beyond: false, near });
  const ticks = [tick(below, true)];
  if (below !== above) ticks.push(tick(above, true));

  function extend(from, up, count) {
    let code = from;
    for (let i = 0; i < count; i++) {
      const next = neighbour(code, f, up);
      if (next !== null && decode(next, f).kind === "finite") {
        if (up) ticks.push(tick(next, false));
        else ticks.unshift(tick(next, false));
        code = next;
        continue;
      }
      const negative = (code & f.signMask) !== 0n;
      if ((code & f.magnitudeMask) === f.maxCode && negative !== up) {
        const value = magnitudeOf(f.maxCode + 1n, f, negative);
        const beyond = { value, label: up ? "overflow →" : "← overflow", beyond: true, near: true };
        if (up) ticks.push(beyond);
        else ticks.unshift(beyond);
      }
      return;
    }
  }

  const inside = below !== above || compare(decode(below, f), number) === 0;
  extend(below, false, inside ? 1 : 2);
  extend(above, true, inside ? 1 : 2);
  const ties = ticks.slice(1).map(({ value }, i) => over(plus(value, ticks[i].value), finite(2n)));
  return { ticks, ties };
}

function drawLine(element, number, code, f) {
  element.replaceChildren();
  const add = (name, left, text = "") => {
    const part = document.createElement("span");
    part.className = name;
    part.style.left = `${left}%`;
    part.textContent = text;
    element.append(part);
    return part;
  };
  const line = lineOf(number, f);
  if (line === null) {
    const text = "Infinities and NaNs have no place on the line.";
    const nowhere = document.createElement("p");
    nowhere.className = "nowhere";
    nowhere.textContent = text;
    element.append(nowhere);
    element.setAttribute("aria-label", text);
    return;
  }
  const { ticks, ties } = line;
  const first = ticks[0].value;
  const width = minus(ticks[ticks.length - 1].value, first);
  const place = (x) => {
    if (isZero(width)) return compare(x, first) === 0 ? 50 : compare(x, first) < 0 ? 2 : 98;
    const { num, den, negative } = over(minus(x, first), width);
    // In thousandths of a per cent; what is off the line stays at its edge.
    const share = Number((num * 100000n) / den) / 1000;
    return Math.min(Math.max(9 + 0.82 * (negative ? -share : share), 1), 99);
  };
  // In the middle of its place, but inside the card: a character of the fixed-width font is 1ch wide.
  const centre = (part, left) => {
    const half = `${part.textContent.length / 2}ch`;
    part.style.left = `max(${half}, min(${left}%, 100% - ${half}))`;
  };
  add("axis", 0);
  const crowded = ticks.some(({ label }) => label.length > LONGEST_IN_A_ROW);
  const result = code === null ? NAN : decode(code, f);
  ticks.forEach(({ value, label, beyond, near }, i) => {
    const left = place(value);
    add(`tick${beyond ? " beyond" : ""}`, left);
    const reached = result.kind === "finite" && compare(value, result) === 0 && !beyond;
    const classes = `label${crowded && i % 2 ? " low" : ""}${reached ? " reached" : ""}${near || reached ? "" : " far"}`;
    centre(add(classes, left, label), left);
  });
  for (const tie of ties) add("tie", place(tie));
  const from = place(number);
  if (result.kind === "finite") {
    const to = place(result);
    add("way", Math.min(from, to)).style.width = `${Math.abs(from - to)}%`;
    add("pin", from);
    add("dot", to);
  } else {
    add("pin", from);
  }
  const off = compare(number, first) < 0 ? "← " : "";
  const offRight = compare(number, ticks[ticks.length - 1].value) > 0 ? " →" : "";
  centre(add("mark", from, `${off}${labelOf(number)}${offRight}`), from);
  const values = ticks.filter(({ beyond }) => !beyond).map(({ label }) => label);
  element.setAttribute(
    "aria-label",
    `Number line: values ${values.join(", ")}; ${labelOf(number)} goes to ${code === null ? "none" : labelOfCode(code, f)}.`,
  );
}

/** The value of a code in few characters: exact where that is short, else so many digits as tell it from others. */
function labelOfCode(code, f) {
  const exact = exactText(decode(code, f));
  return exact.length <= 14 ? exact : shortest(code, f);
}

/** A number in few characters. */
function labelOf(number) {
  const exact = exactText(number);
  return exact.length <= 14 ? exact : shortText(number, 8).replace("\u00a0", "");
}
