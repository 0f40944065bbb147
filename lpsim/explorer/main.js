// The page: what the user does changes the state, and the state is shown.

const EXAMPLES = ["-27.15625", "0.1", "1/3", "1+2^-11", "448", "465", "65520", "2^-24", "-0", "inf", "nan"];

// Exact decimals longer than this are put into the field of the number as hexadecimal floats, exact as well.
const LONGEST_DECIMAL = 60;

let state = initialState();
const cards = new Map();

const numberField = document.getElementById("number");
const says = document.getElementById("says");
const cardList = document.getElementById("cards");
const addField = document.getElementById("add");

function complain(message) {
  says.textContent = `${message[0].toUpperCase()}${message.slice(1)}.`;
  says.classList.add("mistake");
}

/** Run a change of the state that may find a Mistake in what the user gave, and show what comes of it. */
function attempt(change) {
  try {
    change();
  } catch (mistake) {
    if (!(mistake instanceof Mistake)) throw mistake;
    complain(mistake.message);
    return false;
  }
  show();
  return true;
}

function setCode(code, f, message) {
  if (code === null) {
    complain(message);
    return;
  }
  state.source = { code, format: f };
  const text = exactText(decode(code, f));
  numberField.value = text.length > LONGEST_DECIMAL ? hexText(decode(code, f)) : text;
  show();
}

function arrangeCards() {
  const names = new Set(state.formats.map((f) => f.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.element.remove();
    cards.delete(name);
  }
  state.formats.forEach((f, i) => {
    if (!cards.has(f.name)) {
      const remove = () => {
        state.formats = state.formats.filter((other) => other !== f);
        show();
      };
      cards.set(f.name, new Card(f, (code, message) => setCode(code, f, message), remove));
    }
    const { element } = cards.get(f.name);
    if (cardList.children[i] !== element) cardList.insertBefore(element, cardList.children[i] ?? null);
  });
}

function show() {
  document.getElementById("rounding").value = state.rounding;
  document.getElementById("overflow").value = state.overflow;
  arrangeCards();
  let number;
  try {
    number = numberOf(state);
  } catch (mistake) {
    if (!(mistake instanceof Mistake)) throw mistake;
    cardList.classList.add("stale");
    complain(mistake.message);
    return;
  }
  cardList.classList.remove("stale");
  says.classList.remove("mistake");
  const { source } = state;
  says.textContent = source.format
    ? `Code ${hexCode(source.code, source.format)} of ${source.format.name}, taken exactly and rounded once to each format.`
    : `${fittingText(number, 60, 30)}, taken exactly and rounded once to each format.`;
  for (const f of state.formats) cards.get(f.name).update(number, resultOf(state, number, f));
  const hash = toHash(state);
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

function fillChoices(id, names) {
  const select = document.getElementById(id);
  for (const name of names) {
    const option = document.createElement("option");
    option.value = name;
    option.textContent = name.replaceAll("_", " ").replace("ieee", "IEEE (by mode)").replace(/nan$/, "NaN");
    select.append(option);
  }
  select.addEventListener("change", () => {
    state[id] = select.value;
    show();
  });
}

function load() {
  if (!attempt(() => (state = fromHash(location.hash)))) {
    const { textContent } = says;
    show();
    says.textContent = textContent;
    says.classList.add("mistake");
  }
  const { source } = state;
  if (!source.format) {
    numberField.value = source.text;
    return;
  }
  setCode(source.code, source.format);
}

fillChoices("rounding", FACTS.roundings);
fillChoices("overflow", FACTS.overflows);
for (const name of Object.keys(FACTS.aliases)) {
  const option = document.createElement("option");
  option.value = name;
  document.getElementById("names").append(option);
}
for (const text of EXAMPLES) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => {
    numberField.value = text;
    state.source = { text };
    show();
  });
  document.querySelector(".examples").append(button);
}
numberField.addEventListener("input", () => {
  state.source = { text: numberField.value };
  show();
});
document.getElementById("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  // Enter in the field of the number submits as well.
  if (!addField.value.trim()) return;
  attempt(() => {
    const f = parseFormat(addField.value);
    if (!addFormat(state, f)) throw new Mistake(`the format is ${f.name}, which is shown already`);
    addField.value = "";
  });
});
window.addEventListener("hashchange", load);
load();
