// Tables sort by the column whose heading is pressed, by mouse or keyboard. Nothing else runs here.
"use strict";

const order = new Intl.Collator(undefined, { numeric: true });

function value(row, column) {
  const cell = row.cells[column];
  const number = cell.dataset.value;
  return number === undefined ? cell.textContent.trim() : Number(number);
}

// What is missing ("–") is last in either direction; numbers come before texts.
function compare(a, b, sign) {
  const missing = (a === "–") - (b === "–");
  if (missing) return missing;
  const kinds = (typeof a === "string") - (typeof b === "string");
  if (kinds) return kinds;
  return sign * (typeof a === "number" ? a - b : order.compare(a, b));
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const numbers = rows.some((row) => typeof value(row, column) === "number");
  const now = heads[column].getAttribute("aria-sort");
  const up = now === "descending" || (now === "none" && !numbers);
  for (const head of heads) head.setAttribute("aria-sort", "none");
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const sign = up ? 1 : -1;
  rows.sort((a, b) => compare(value(a, column), value(b, column), sign));
  body.append(...rows);
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, column));
  });
}
