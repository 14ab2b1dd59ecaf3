// The curation gallery in the browser: draws the view that the kernel sends, and sends it what was pressed.
const KEYS = {
  g: ["mark", "good"], b: ["mark", "bad"], u: ["mark", "unsure"], z: ["undo"], n: ["seek"], s: ["restretch"],
  ArrowLeft: ["move", -1], ArrowRight: ["move", 1], ArrowUp: ["move", -6], ArrowDown: ["move", 6],
  PageUp: ["turn", -1], PageDown: ["turn", 1],
};
const BUTTONS = {
  "g good": "g", "b bad": "b", "u unsure": "u", "z undo": "z", "n next undecided": "n",
  "\u2190 page": "PageUp", "page \u2192": "PageDown", "s stretch": "s",
};

function add(parent, tag, className, text) {
  const made = document.createElement(tag);
  made.className = className || "";
  made.textContent = text || "";
  return parent.appendChild(made);
}

function drawCard(grid, card, picture, url) {
  const box = add(grid, "div", `rg-card rg-${card.decision || "undecided"}`);
  const frame = add(box, "div", "rg-frame");
  if (url) {
    add(frame, "img").src = url;
    const [major, minor, angle] = picture.beam, beam = add(frame, "i");
    beam.style.cssText = `width:${100*minor}%; height:${100*major}%; transform:rotate(${-angle}deg)`;
    add(frame, "small", "", picture.about);
  }
  add(box, "b", "", card.name);
  add(box, "span", "", card.survey);
  add(box, "span", "rg-decision", [card.decision, card.reason].filter(Boolean).join(": "));
  const hints = [card.suggestion && `suggested: ${card.suggestion}`, picture.said];
  add(box, "span", "rg-hint", hints.filter(Boolean).join("; "));
  return box;
}

function render({ model, el }) {
  const root = add(el, "div", "rg-desk"), bar = add(root, "div", "rg-bar"), said = add(root, "div", "rg-said");
  const grid = add(root, "div", "rg-grid");
  const reason = add(bar, "input"), only = add(bar, "select");
  const progress = add(bar, "progress"), count = add(bar, "span");
  let asking = false, urls = [];  // asking: bad waits for a reason
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true";
  reason.placeholder = "r: reason";

  function act([name, ...args]) {
    if (name === "mark") {
      if (args[0] === "bad" && !reason.value.trim()) return ask();
      args.push(asking && args[0] !== "bad" ? "" : reason.value);
    }
    if (name === "mark" || asking) reason.value = "";  // what was written of one image is not said of another
    asking = false;
    tell();
    model.send({ name, args });
    root.focus();
  }
  function ask() {
    const { cards, place } = model.get("view");
    if (!cards.length) return;
    if (!asking) reason.value = cards[place].suggestion;
    asking = true;
    tell();
    reason.focus();
    reason.select();
  }
  function leave() {
    if (asking) reason.value = "";
    asking = false;
    tell();
    root.focus();
  }
  function tell() {
    const { cards, place, said: told } = model.get("view"), card = cards[place];
    said.textContent = !asking ? told
      : `bad waits for a reason: why is ${card.name} in ${card.survey} bad? Enter decides, Escape does not`;
    root.classList.toggle("rg-asks", asking);
  }
  function draw() {
    const view = model.get("view"), pictures = model.get("pictures");
    const boxes = view.cards.map((card, i) => {
      const box = drawCard(grid, card, pictures[i], urls[i]);
      box.onclick = () => act(["go", view.first + i]);
      return box;
    });
    grid.replaceChildren(...boxes);
    if (boxes.length) boxes[view.place].classList.add("rg-here");
    only.replaceChildren();
    for (const name of view.filters) add(only, "option", "", name).selected = name === view.only;
    progress.max = view.total;
    progress.value = view.done;
    count.textContent = `${view.done} of ${view.total} by ${view.who}, page ${view.page} of ${view.pages}, ${view.stretch}`;
    tell();
  }
  function load() {
    urls.forEach((url) => url && URL.revokeObjectURL(url));
    const open = (png) => URL.createObjectURL(new Blob([png], { type: "image/png" }));
    urls = model.get("pictures").map((picture) => picture.png && open(picture.png));
  }

  for (const [label, key] of Object.entries(BUTTONS)) add(bar, "button", "", label).onclick = () => act(KEYS[key]);
  only.onchange = () => act(["show", only.value]);
  reason.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Escape") { reason.value = ""; leave(); }
    if (event.key !== "Enter") return;
    if (!asking) leave();  // it is kept for the next decision
    else act(["mark", "bad"]);  // without a reason, it goes on asking
  };
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target === only) return;
    if (event.key === "r") reason.focus();
    else if (event.key in KEYS) act(KEYS[event.key]);
    else return;
    event.preventDefault();
  };
  model.on("change:pictures", load);
  model.on("change:view change:pictures", draw);  // they come in any order
  load();
  draw();
  return () => { model.off("change:pictures", load); model.off("change:view change:pictures", draw); };
}
export default { render };
