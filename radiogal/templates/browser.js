// The browser of sources: draws the view that the kernel sends, and sends it what was pressed. No text becomes HTML.
const KEYS = {
  ArrowLeft: ["move", -1], ArrowRight: ["move", 1], PageUp: ["move", -14], PageDown: ["move", 14],
  g: ["mark", "good"], b: ["mark", "bad"], u: ["mark", "unsure"], z: ["undo"], n: ["seek"],
  s: ["restretch"], c: ["contour"], "+": ["zoom", -1], "-": ["zoom", 1], o: ["look_closer"], m: ["compare"], a: ["again"],
};
const BUTTONS = [
  ["←", "ArrowLeft", "previous source"], ["→", "ArrowRight", "next source"], ["n", "n", "next undecided"],
  ["g good", "g", "mark the outlined image good"], ["b bad", "b", "mark it bad, with a reason"],
  ["u unsure", "u", "mark it unsure"], ["z undo", "z", "take back the latest decision"],
  ["s stretch", "s", "linear, log or asinh"], ["c contours", "c", "contours of the next survey on the others"],
  ["+", "+", "a smaller square"], ["−", "-", "a larger square"],
  ["o occlusion", "o", "what the networks look at; takes about half a minute"],
  ["m most similar", "m", "pictures of the training sources that are most like this one"],
  ["a again", "a", "ask again for what could not be had"],
];

function add(parent, tag, className, text) {
  const made = document.createElement(tag);
  made.className = className || "";
  made.textContent = text || "";
  return parent.appendChild(made);
}

function drawSquare(parent, square, url, chosen) {
  const box = add(parent, "div", `rx-square rx-${square.decision || "open"}${chosen ? " rx-here" : ""}`);
  const frame = add(box, "div", "rx-frame");
  if (url) {
    const image = add(frame, "img");
    image.src = url;
    image.alt = `${square.title}: ${square.about}`;
  } else {
    add(frame, "span", square.said ? "rx-reason" : "rx-waiting", square.said || "on its way …");
  }
  add(box, "b", "", square.title);
  add(box, "small", "", square.about);
  add(box, "b", "rx-decision", square.mark);
  return box;
}

function drawBars(parent, bars, kind) {
  for (const [name, p] of bars) {
    const row = add(parent, "div", `rx-bar${name === kind ? " rx-best" : ""}`);
    add(row, "span", "", name);
    add(add(row, "span", "rx-track"), "i").style.width = `${100 * p}%`;
    add(row, "span", "", p.toFixed(2));
  }
}

function drawRows(parent, heading, rows, look) {
  if (!rows.length) return;
  add(parent, "h4", "", heading);
  const list = add(parent, "ul");
  for (const row of rows) {
    const item = add(list, "li"), button = add(item, "button", "rx-link", row.name);
    button.title = "look at it: it joins the list";
    button.onclick = () => look(row.place);
    add(item, "span", "", ` ${[row.distance && `distance ${row.distance}`, row.away].filter(Boolean).join(", ")}`);
  }
}

function drawOpinion(parent, opinion, look) {
  add(parent, "h4", "", `${opinion.model} says of ${opinion.of}`);
  if (opinion.waiting) add(parent, "div", "rx-waiting", "asking the networks …");
  if (opinion.said) add(parent, "div", "rx-reason", `no answer: ${opinion.said}`);
  drawBars(parent, opinion.bars, opinion.kind);
  if (opinion.bars.length) add(parent, "small", "", `${opinion.calibration}; entropy ${opinion.entropy} bit`);
  for (const flag of opinion.flags) add(parent, "div", "rx-flag", flag);
  drawRows(parent, "Most similar training sources", opinion.similar, look);
  const usual = `distances of features; a validation source has its tenth nearest at ${opinion.usual}`;
  if (opinion.similar.length) add(parent, "small", "", usual);
  drawRows(parent, "Nearest training sources on the sky", opinion.nearest, look);
}

function drawSide(parent, view, look) {
  drawOpinion(parent, view.opinion, look);
  const { rows, said } = view.catalogued;
  drawRows(parent, "In catalogues of labels, within this square", rows, look);
  if (said && !rows.length) add(parent, "h4", "", "In catalogues of labels, within this square: none");
  add(parent, "small", "", said);
  if (view.facts) add(parent, "h4", "", "Its row in the table");
  if (view.facts) add(parent, "div", "", view.facts);
  if (view.near.length) add(parent, "h4", "", "In this square, of the list");
  if (view.near.length) add(parent, "div", "", view.near.join(", "));
  const links = add(parent, "div", "rx-links");
  for (const [name, address] of view.links) {
    const link = add(links, "a", "", name === "Aladin" ? "Aladin: wide view" : name);
    link.href = address;
    link.target = "_blank";
    link.rel = "noopener";
  }
}

function render({ model, el }) {
  const root = add(el, "div", "rx-root"), bar = add(root, "div", "rx-tools"), said = add(root, "div", "rx-said");
  const place = add(bar, "input", "rx-place"), reason = add(bar, "input", "rx-why"), count = add(bar, "span", "rx-count");
  const head = add(root, "div", "rx-head"), body = add(root, "div", "rx-body");
  const names = add(body, "div", "rx-names"), squares = add(body, "div", "rx-squares"), side = add(body, "div", "rx-side");
  let asking = false, urls = [];
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true";
  place.placeholder = "/: position, name or file";
  reason.placeholder = "reason";
  reason.hidden = true;
  said.setAttribute("role", "status");

  function act([name, ...args]) {
    if (name === "mark" && args[0] === "bad" && !asking) return ask();
    model.send({ name, args });
    root.focus();
  }
  function ask() {
    if (!model.get("view").here) return;
    asking = true;
    reason.hidden = false;
    reason.value = "";
    said.textContent = "why bad? Enter decides, Escape does not";
    reason.focus();
  }
  function leave() {
    asking = false;
    reason.hidden = true;
    reason.value = "";
    said.textContent = model.get("view").said;
    root.focus();
  }
  const look = (text) => act(["look", text]);

  function drawNames(view) {
    names.replaceChildren();
    view.names.forEach((each) => {
      const row = add(names, "button", `rx-name rx-${each.decision || "open"}${each.here ? " rx-here" : ""}`, each.name);
      const by = view.names.indexOf(each) - view.names.findIndex((other) => other.here);
      row.onclick = () => act(["move", by]);
      row.title = each.name; // Which the column may cut off
    });
  }
  function draw() {
    const view = model.get("view");
    if (!asking) said.textContent = view.said;
    head.replaceChildren();
    if (!view.here) {
      count.textContent = "no source yet";
      names.replaceChildren(); squares.replaceChildren(); side.replaceChildren();
      return void add(head, "span", "", "Type a position (08h12m40.8s+48d46m02s), a name or a file, and press Enter.");
    }
    const waiting = view.squares.filter((square) => square.waiting).length;
    count.textContent = `${view.at} of ${view.total}, ${view.done} decided in ${view.survey} by ${view.who}`;
    add(head, "b", "rx-title", view.here);
    add(head, "span", "", `${view.place}   (${view.degrees})`);
    add(head, "span", "", `${view.side} square, ${view.stretch}` + (view.contours && `, contours of ${view.contours}`));
    if (waiting) {
      const progress = add(head, "progress");
      progress.max = view.squares.length;
      progress.value = view.squares.length - waiting;
      add(head, "span", "", `${waiting} of ${view.squares.length} images on their way`);
    }
    drawNames(view);
    const before = squares.children.length;
    squares.replaceChildren();
    const alike = document.createElement("div");
    view.squares.forEach((square, i) => {
      const box = drawSquare(square.small ? alike : squares, square, urls[i], square.survey === view.survey);
      if (square.survey) box.onclick = () => act(["choose", square.survey]);
    });
    if (alike.children.length) {
      add(squares, "h4", "rx-wide", "The most similar training sources");
      alike.className = "rx-alike rx-wide";
      squares.appendChild(alike);
    }
    const isLonger = before && squares.children.length > before; // By what a key asked for, which may be out of sight
    if (isLonger) squares.lastElementChild.scrollIntoView({ block: "nearest" });
    side.replaceChildren();
    drawSide(side, view, look);
  }
  function load() {
    urls.forEach((url) => url && URL.revokeObjectURL(url));
    const open = (png) => URL.createObjectURL(new Blob([png], { type: "image/png" }));
    urls = model.get("pictures").map((png) => png && open(png));
  }

  for (const [label, key, title] of BUTTONS) {
    const button = add(bar, "button", "", label);
    button.title = title;
    button.onclick = () => act(KEYS[key]);
  }
  place.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Escape") root.focus();
    if (event.key !== "Enter" || !place.value.trim()) return;
    look(place.value.trim());
    place.value = "";
  };
  reason.onkeydown = (event) => {
    event.stopPropagation();
    if (event.key === "Escape") leave();
    if (event.key !== "Enter" || !reason.value.trim()) return;
    act(["mark", "bad", reason.value]);
    leave();
  };
  root.onkeydown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { surveys } = model.get("view");
    if (event.key === "/") place.focus();
    else if (surveys[Number(event.key) - 1]) act(["choose", surveys[Number(event.key) - 1]]);
    else if (event.key in KEYS) act(KEYS[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  model.on("change:pictures", load);
  model.on("change:view change:pictures", draw);
  load();
  draw();
  return () => { model.off("change:pictures", load); model.off("change:view change:pictures", draw); };
}
export default { render };
