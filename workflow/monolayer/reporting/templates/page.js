// Sorting, enlarging, printing. The page says everything without it.
"use strict";

function sort(table, column) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  const down = heads[column].getAttribute("aria-sort") !== "descending";
  for (const head of heads) head.setAttribute("aria-sort", "none");
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.querySelector("tbody.ours");
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what has no value is last either way
    return down ? compare(y, x) : compare(x, y);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button")?.closest("th");
    if (head) sort(table, head.cellIndex);
  });
}

const enlarged = document.getElementById("enlarged");
const openers = [...document.querySelectorAll("button.enlarge")];
let shown = 0;

function enlarge(index) {
  shown = (index + openers.length) % openers.length;
  const figure = openers[shown].closest("figure").cloneNode(true);
  figure.querySelector("button").replaceWith(figure.querySelector("svg"));
  enlarged.querySelector(".place").replaceChildren(figure);
  if (!enlarged.open) enlarged.showModal();
}

openers.forEach((button, index) => button.addEventListener("click", () => enlarge(index)));
enlarged.addEventListener("click", (event) => {
  const step = event.target.closest("button.step");
  if (step) enlarge(shown + Number(step.dataset.step));
  else if (event.target === enlarged || event.target.closest("button.close")) enlarged.close();
});
enlarged.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) enlarge(shown + step);
});

// What is folded away is printed as well.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
});
