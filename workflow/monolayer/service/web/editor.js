// Corrects the cells of an image: tools, keys, and saving. What a tool does is in labels.js, how it looks in layers.js.
import { listen } from "./keys.js";
import { LabelMap } from "./labels.js";
import { Layers } from "./layers.js";
import { drawPen } from "./pen.js";
import { problem, say, show, TOOLS } from "./said.js";
import { send } from "./sending.js";

const $ = (id) => document.getElementById(id);
const dialog = $("editor"), surface = $("editor-pen");
const layers = new Layers($("editor-canvas"), surface);
let page; // what the page gives: frames(), draft(frame), headers(), reason(answer), closed()
let frame = null, work = null; // work: {map, version, mark}; mark is the edit after which it was saved
let tool = "split", stroke = null, chosen = 0, pen = null, panned = null, radius = 4, byKey = false, busy = false;

export function setUp(given) {
  page = given;
}

// Changes that are not saved; those of an image stay in the page until it is closed.
export const unsaved = (one) => Boolean(one.work) && one.work.map.done.at(-1) !== one.work.mark;

// ---- the service ------------------------------------------------------------------------------------------

const newest = () => send(page, frame, "corrections/newest");

// One after the other; a problem is said, and nothing is lost by it.
async function trying(text, action) {
  if (busy) return;
  busy = true;
  problem("");
  say(text);
  try {
    await action();
  } catch (error) {
    say("");
    problem(error.message, Boolean(error.choice));
  }
  busy = false;
  update();
}

export async function open(one) {
  if (!dialog.open) dialog.showModal();
  [frame, work, stroke, chosen, pen] = [one, null, null, 0, null];
  update();
  await trying("Loading …", async () => {
    if (!one.work) {
      const found = await newest();
      const map = found.labels ? LabelMap.fromRuns(found.labels) : new LabelMap(one.width, one.height, page.draft(one));
      one.work = { map, version: found.version, mark: undefined };
    }
    work = one.work;
    layers.show(one.picture, work.map);
    say(work.version ? `Version ${work.version}, as it was saved.` : "");
  });
  surface.focus();
}

function save() {
  return trying("Saving …", async () => {
    const { map } = work, mark = map.done.at(-1);
    try {
      work.version = (await send(page, frame, "corrections", { version: work.version }, { labels: map.runs() })).version;
    } catch (error) {
      if (error.status === 409) error.choice = (await newest()).version !== work.version;
      throw error;
    }
    work.mark = mark;
    say(`Saved as version ${work.version}.`);
  });
}

// After a save from another tab: theirs, which undo takes back; or mine after theirs.
function take() {
  return trying("Loading …", async () => {
    const found = await newest();
    const box = work.map.replace(LabelMap.fromRuns(found.labels).labels);
    if (typeof box !== "string") layers.change(box);
    [work.version, work.mark] = [found.version, work.map.done.at(-1)];
    say(`Version ${work.version}; undo brings yours back.`);
  });
}

async function insist() {
  await trying("Saving …", async () => {
    work.version = (await newest()).version;
  });
  await save();
}

// ---- what is said -----------------------------------------------------------------------------------------

function update() {
  const all = page.frames(), at = all.indexOf(frame);
  show({ frame, work, tool, busy, first: at < 1, last: at + 1 >= all.length, place: `${at + 1} of ${all.length}`, changed: unsaved(frame) });
  const { activeElement } = document; // a button that is gone would swallow the keys
  if (dialog.open && (!dialog.contains(activeElement) || activeElement.disabled || activeElement.closest("[hidden]"))) surface.focus();
}

// ---- tools ------------------------------------------------------------------------------------------------

function done(result, said = "") {
  if (typeof result !== "string") layers.change(result);
  say(typeof result === "string" ? `${result[0].toUpperCase()}${result.slice(1)}.` : said);
  update();
}

function press(pixel) {
  const under = work.map.at(pixel);
  if (tool === "merge") {
    if (!chosen || !under || under === chosen) chosen = under === chosen ? 0 : under;
    else {
      const box = work.map.merge(chosen, under);
      if (typeof box !== "string") chosen = 0;
      done(box, "Merged.");
    }
    return look();
  }
  stroke = [pixel];
  if (tool === "erase") rub(stroke);
}

function drag(pixel) {
  const last = stroke.at(-1);
  if (pixel[0] === last[0] && pixel[1] === last[1]) return;
  stroke.push(pixel);
  if (tool === "erase") rub([last, pixel]);
}

function rub(path) {
  const box = work.map.rub(path, radius);
  if (box) layers.change({ x0: box.x0, y0: box.y0, x1: box.x1, y1: box.y1 });
}

function release() {
  const path = stroke;
  stroke = null;
  if (tool === "split") done(work.map.split(path), "Split.");
  else if (tool === "draw") done(work.map.draw(path), "Drawn.");
  else done(work.map.rubbed(), "Erased.");
  look();
}

function cancel() {
  if (stroke) {
    const box = work.map.cancel();
    if (box) layers.change(box);
    stroke = null;
  } else if (chosen) chosen = 0;
  else return busy || close();
  look();
}

function close() {
  dialog.close();
  page.closed(frame);
}

function choose(name) {
  if (stroke) cancel();
  [tool, chosen] = [name, 0];
  say("");
  update();
  look();
  surface.focus();
}

function go(step) {
  const all = page.frames(), next = all[all.indexOf(frame) + step];
  if (!next || busy) return;
  if (stroke) cancel();
  open(next);
}

// To the next cell in the order of rows, with the pen in it.
function hop(step) {
  const cells = work.map.cells();
  if (!cells.length) return;
  const at = pen ? cells.indexOf(work.map.at(pen)) : -1;
  const label = cells[(at + (at < 0 && step < 0 ? 0 : step) + cells.length) % cells.length];
  move(work.map.middle(label));
  say(`Cell ${label}.`);
}

// ---- the pen ----------------------------------------------------------------------------------------------

// What lies under the pen glows, and what the pen does is drawn over it.
function look() {
  if (!work) return;
  if (!stroke) layers.heat(chosen || (pen ? work.map.at(pen) : 0));
  layers.ask();
}

function move(pixel) {
  byKey = true;
  pen = [Math.min(Math.max(pixel[0], 0), work.map.width - 1), Math.min(Math.max(pixel[1], 0), work.map.height - 1)];
  if (stroke) drag(pen);
  layers.reveal(pen);
  look();
}

layers.pointer = (context) => {
  if (!pen || !work) return null;
  const rubber = tool === "erase" ? radius : 0;
  return drawPen(context, layers, { pen, rubber, byKey, path: rubber ? [] : (stroke ?? []), closed: tool === "draw" });
};

// ---- events -----------------------------------------------------------------------------------------------

surface.addEventListener("pointerdown", (event) => {
  if (!work) return;
  surface.setPointerCapture(event.pointerId);
  if (event.button !== 0) panned = layers.place(event);
  else if (stroke) release();
  else press((pen = layers.pixel(layers.place(event))));
});
surface.addEventListener("pointermove", (event) => {
  if (!work) return;
  const place = layers.place(event);
  byKey = false;
  pen = layers.pixel(place);
  if (panned) {
    layers.pan(place[0] - panned[0], place[1] - panned[1]);
    panned = place;
  } else if (stroke) for (const part of event.getCoalescedEvents?.() ?? []) drag(layers.pixel(layers.place(part)));
  if (stroke) drag(pen);
  look();
});
surface.addEventListener("pointerup", () => {
  if (panned) panned = null;
  else if (stroke) release();
});
surface.addEventListener("pointercancel", () => stroke && cancel());
surface.addEventListener("pointerleave", () => {
  if (stroke || byKey) return;
  pen = null;
  look();
});
surface.addEventListener("contextmenu", (event) => event.preventDefault());
surface.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    if (work) layers.zoom(1.0016 ** -event.deltaY, layers.place(event));
  },
  { passive: false },
);

const between = (value, least, most) => Math.min(Math.max(value, least), most);
const size = (step) => {
  radius = between(radius + step, 1, 60);
  say(`The rubber has a radius of ${radius} px.`);
  look();
};
const flip = (name) => {
  layers[name] = !layers[name];
  layers.change();
};
const remove = () => {
  const label = pen ? work.map.at(pen) : 0;
  chosen = 0;
  done(label ? work.map.remove(label) : "point at a cell first", "Removed.");
  look();
};
const back = (way) => {
  if (stroke) cancel();
  chosen = 0;
  done(work.map[way]());
  look();
};
listen(dialog, {
  keys: {
    s: () => choose("split"), m: () => choose("merge"), d: () => choose("draw"), e: () => choose("erase"),
    x: remove, delete: remove, u: () => back("undo"), r: () => back("redo"), w: save, f: () => flip("filled"), h: () => flip("shown"),
    "[": () => size(-1), "]": () => size(1), "+": () => layers.zoom(1.25), "=": () => layers.zoom(1.25), "-": () => layers.zoom(0.8),
    0: () => layers.fit(), ".": () => hop(1), ",": () => hop(-1),
  },
  control: { z: () => back("undo"), "shift+z": () => back("redo"), y: () => back("redo"), s: save },
  always: { n: () => go(1), p: () => go(-1), escape: cancel },
  ready: () => Boolean(work),
  drawing: () => Boolean(stroke),
  press: () => (stroke ? release() : pen && press(pen)),
  move: (right, down) => {
    const [x, y] = pen ?? [work.map.width >> 1, work.map.height >> 1];
    move([x + right, y + down]);
  },
});
dialog.addEventListener("cancel", (event) => event.preventDefault());
for (const name of TOOLS) $(`editor-${name}`).addEventListener("click", () => choose(name));
for (const [name, action] of Object.entries({
  undo: () => back("undo"), redo: () => back("redo"), save, next: () => go(1), previous: () => go(-1), close: () => busy || close(), take, insist,
  restart: () => {
    if (stroke) cancel();
    done(work.map.replace(page.draft(frame)), "The model's cells; undo brings yours back.");
  },
}))
  $(`editor-${name}`).addEventListener("click", action);
new ResizeObserver(() => work && layers.resize()).observe($("editor-stage"));
addEventListener("beforeunload", (event) => page?.frames().some(unsaved) && event.preventDefault());
