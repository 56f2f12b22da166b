// All that the editor says around its canvas: names, counts, help, what became of an action, what can be done.
const $ = (id) => document.getElementById(id);
const HELP = {
  split: "Split: draw a stroke through a cell, from edge to edge.",
  merge: "Merge: click a cell, then its neighbour.",
  draw: "Draw: go along the edge of a new cell and let go. An outline that begins in a cell adds to it.",
  erase: "Erase: rub out. A cell that is rubbed through becomes two.",
};
export const TOOLS = Object.keys(HELP);

export function say(text) {
  $("editor-said").textContent = text;
}

// What went wrong; with the choice between two saves where there is one.
export function problem(text, choice = false) {
  $("editor-problem").hidden = !text;
  $("editor-problem-text").textContent = text;
  for (const id of ["editor-take", "editor-insist"]) $(id).hidden = !choice;
}

export function show({ frame, work, tool, busy, first, last, place, changed }) {
  const map = work?.map, saved = work?.version ? `version ${work.version}` : "the model's cells";
  $("editor-name").textContent = frame.item.name + (frame.item.frames.length > 1 ? `, frame ${frame.number + 1}` : "");
  $("editor-count").textContent = map ? `${map.count} cell${map.count === 1 ? "" : "s"}` : "";
  $("editor-state").textContent = !map ? "" : changed ? "not saved" : saved;
  $("editor-state").classList.toggle("open", Boolean(map) && changed);
  $("editor-place").textContent = place;
  const dead = { undo: !map?.done.length, redo: !map?.undone.length, save: !map || busy, restart: !map, next: last, previous: first };
  for (const [name, value] of Object.entries(dead)) $(`editor-${name}`).disabled = value;
  for (const name of TOOLS) $(`editor-${name}`).setAttribute("aria-pressed", name === tool);
  $("editor-help").textContent = HELP[tool];
}
