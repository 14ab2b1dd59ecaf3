
// Sorts and filters the table of sources.
const body = document.querySelector("#sources tbody");
const rows = [...body.rows].map((row, index) => ({ row, index, said: row.textContent.toLowerCase(), ...row.dataset }));
const inputs = Object.fromEntries(["text", "kind", "least", "flagged"].map((id) => [id, document.getElementById(id)]));
const NUMBERS = ["ra", "best", "flags"];

function isWanted(source) {
  const { text, kind, least, flagged } = inputs;
  return source.said.includes(text.value.trim().toLowerCase())
    && (!kind.value || (source.kind || "-") === kind.value)
    && Number(source.best) >= (Number(least.value) || 0)
    && !(flagged.checked && Number(source.flags));
}

function filter() {
  let shown = 0;
  for (const source of rows) {
    source.row.hidden = !isWanted(source);
    shown += !source.row.hidden;
  }
  document.getElementById("shown").value = `${shown} of ${rows.length} shown`;
}

function compare(key, a, b) {
  if (NUMBERS.includes(key)) return a[key] - b[key];
  return a[key].localeCompare(b[key], undefined, { numeric: true });
}

function sort(button) {
  const head = button.closest("th");
  const key = button.dataset.key;
  const first = ["best", "flags"].includes(key) ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = head.ariaSort === first ? second : first;
  for (const other of head.parentNode.cells) if (other.ariaSort) other.ariaSort = "none";
  head.ariaSort = order;
  const turn = order === "ascending" ? 1 : -1;
  rows.sort((a, b) => turn * compare(key, a, b) || a.index - b.index);
  body.append(...rows.map((source) => source.row));
}

for (const input of Object.values(inputs)) input.addEventListener("input", filter);
for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => sort(button));
