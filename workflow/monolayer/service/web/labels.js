// A label image under correction: what each tool makes of it, and how that is undone. 0 is background.
// Places are whole pixels [x, y]; a path is what a pen drew, place after place. A tool answers with the box that it
// changed, {x0, y0, x1, y1}, or with a sentence on why it changed nothing.

import { grown, inside, line } from "./geometry.js";

const CRUMB = 4; // px: smaller parts of a cell are none
const SLIVER = 0.02; // of a cell's area: what a split leaves along the edge is no cell either
const GAP = 3; // px between two cells that a merge closes

export class LabelMap {
  constructor(width, height, labels) {
    Object.assign(this, { width, height, labels, edit: null, done: [], undone: [], boxes: new Map(), areas: new Map(), last: 0 });
    for (let at = 0, start = 0; at < labels.length; start = at) {
      for (const end = at + width - (at % width); at < end && labels[at] === labels[start]; ) at++;
      if (!labels[start]) continue;
      for (const one of [start, at - 1]) this.#cover(labels[start], one);
      this.#count(labels[start], at - start);
    }
  }

  static fromRuns({ width, height, runs }) {
    const labels = new Int32Array(width * height);
    for (let pair = 0, at = 0; pair < runs.length; at += runs[pair + 1], pair += 2) labels.fill(runs[pair], at, at + runs[pair + 1]);
    return new LabelMap(width, height, labels);
  }

  runs() {
    const { labels, width, height } = this, runs = [];
    for (let at = 0, start = 0; at < labels.length; start = at) {
      while (at < labels.length && labels[at] === labels[start]) at++;
      runs.push(labels[start], at - start);
    }
    return { height, width, runs };
  }

  at([x, y]) {
    return x >= 0 && y >= 0 && x < this.width && y < this.height ? this.labels[y * this.width + x] : 0;
  }

  get count() {
    return this.areas.size;
  }

  // The numbers of the cells, in the order of their first pixels.
  cells() {
    return [...new Set(this.labels)].filter((label) => label);
  }

  // The pixel of a cell that is nearest to its centre.
  middle(label) {
    const places = this.#pixels(label).map((at) => [at % this.width, Math.floor(at / this.width)]);
    const mean = (axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length;
    const [x, y] = [mean(0), mean(1)], far = (place) => (place[0] - x) ** 2 + (place[1] - y) ** 2;
    return places.reduce((best, place) => (far(place) < far(best) ? place : best));
  }

  // ---- edits, which undo takes back --------------------------------------------------------------------

  #begin() {
    this.edit ??= { at: [], before: [], after: [], box: null };
  }

  #set(at, label) {
    const before = this.labels[at];
    if (before === label) return;
    this.edit.at.push(at);
    this.edit.before.push(before);
    this.edit.after.push(label);
    this.#put(at, label);
    if (label) this.#cover(label, at);
    this.edit.box = grown(this.edit.box, at % this.width, Math.floor(at / this.width));
  }

  #put(at, label) {
    this.#count(this.labels[at], -1);
    this.#count(label, 1);
    this.labels[at] = label;
  }

  #count(label, pixels) {
    const area = (this.areas.get(label) ?? 0) + pixels;
    if (label && area) this.areas.set(label, area);
    else this.areas.delete(label);
  }

  // A cell's box holds all of it, and may be larger than it since something was taken away.
  #cover(label, at) {
    const x = at % this.width, y = (at - x) / this.width, box = this.boxes.get(label);
    if (!box) this.boxes.set(label, { x0: x, y0: y, x1: x + 1, y1: y + 1 });
    else if (x < box.x0 || y < box.y0 || x >= box.x1 || y >= box.y1) this.boxes.set(label, grown(box, x, y));
    if (label > this.last) this.last = label;
  }

  #commit() {
    const { edit } = this;
    this.edit = null;
    if (!edit?.box) return "nothing changed";
    this.done.push({ at: Int32Array.from(edit.at), before: Int32Array.from(edit.before), after: Int32Array.from(edit.after), box: edit.box });
    this.undone = [];
    return edit.box;
  }

  // Take back an edit that is under way.
  cancel() {
    const { edit } = this;
    this.edit = null;
    for (let n = (edit?.at.length ?? 0) - 1; n >= 0; n--) this.#put(edit.at[n], edit.before[n]);
    return edit?.box ?? null;
  }

  undo() {
    const edit = this.done.pop();
    if (!edit) return "nothing to undo";
    for (let n = edit.at.length - 1; n >= 0; n--) this.#put(edit.at[n], edit.before[n]);
    this.undone.push(edit);
    return edit.box;
  }

  redo() {
    const edit = this.undone.pop();
    if (!edit) return "nothing to redo";
    for (let n = 0; n < edit.at.length; n++) this.#put(edit.at[n], edit.after[n]);
    this.done.push(edit);
    return edit.box;
  }

  // ---- tools ---------------------------------------------------------------------------------------------

  // Part every cell that the path goes through. Each pixel stays a cell's; the largest part keeps the number.
  split(path) {
    const stroke = new Set(this.#along(path));
    this.#begin();
    for (const label of new Set([...stroke].map((at) => this.labels[at]))) {
      if (!label) continue;
      const pixels = this.#pixels(label), parts = this.#parts(label, pixels, stroke);
      const least = Math.max(CRUMB, SLIVER * pixels.length), large = parts.filter((part) => part.length >= least);
      if (large.length < 2) continue;
      const owner = new Map();
      large.forEach((part, n) => part.forEach((at) => owner.set(at, n === 0 ? label : this.last + n)));
      this.#spread(large.flat(), owner, new Set(pixels));
      for (const [at, own] of owner) this.#set(at, own);
    }
    const box = this.#commit();
    return typeof box === "string" ? "the stroke has to go through a cell, from edge to edge" : box;
  }

  // Give the second cell's pixels to the first, and what lies between them.
  merge(first, second) {
    const bridge = this.#between(first, second);
    if (!bridge) return `these two are more than ${GAP} px apart; draw what lies between, beginning in one of them`;
    this.#begin();
    for (const at of [...this.#pixels(second), ...bridge]) this.#set(at, first);
    return this.#commit();
  }

  remove(label) {
    this.#begin();
    for (const at of this.#pixels(label)) this.#set(at, 0);
    return this.#commit();
  }

  // Fill an outline. One that begins in a cell adds to it, others are a new one; cells that are there stay.
  draw(path) {
    const label = this.at(path[0]) || this.last + 1, known = this.boxes.has(label);
    this.#begin();
    for (const at of [...inside(path, this), ...this.#along([...path, path[0]])]) if (!this.labels[at]) this.#set(at, label);
    const [first, ...others] = known ? [] : this.#parts(label, this.#pixels(label));
    others.flat().forEach((at) => this.#set(at, 0));
    if (!known && (first?.length ?? 0) < CRUMB) {
      this.cancel();
      return "that is too small for a cell; draw along its edge and let go";
    }
    return this.#commit();
  }

  // Rub along a path, of the radius in px; what it did is taken back until `rubbed` ends it.
  rub(path, radius) {
    this.#begin();
    const reach = Math.ceil(radius);
    for (const [x, y] of line(path))
      for (let down = -reach; down <= reach; down++)
        for (let right = -reach; right <= reach; right++) {
          const [u, v] = [x + right, y + down];
          if (right * right + down * down <= radius * radius && this.at([u, v])) this.#set(v * this.width + u, 0);
        }
    return this.edit.box;
  }

  // Cells that were rubbed through are several now, and crumbs are none.
  rubbed() {
    this.#begin();
    for (const label of new Set(this.edit.before)) {
      const parts = this.#parts(label, this.#pixels(label));
      parts.forEach((part, n) => {
        if (part.length < CRUMB) part.forEach((at) => this.#set(at, 0));
        else if (n > 0) {
          const own = this.last + 1;
          part.forEach((at) => this.#set(at, own));
        }
      });
    }
    return this.#commit();
  }

  // Exchange all labels.
  replace(labels) {
    this.#begin();
    for (let at = 0; at < labels.length; at++) this.#set(at, labels[at]);
    return this.#commit();
  }

  // ---- geometry ------------------------------------------------------------------------------------------

  // The pixels of the image that a path runs over.
  #along(path) {
    return line(path).flatMap(([x, y]) => (x >= 0 && y >= 0 && x < this.width && y < this.height ? [y * this.width + x] : []));
  }

  #pixels(label) {
    const box = this.boxes.get(label), found = [];
    for (let y = box?.y0; y < box?.y1; y++)
      for (let at = y * this.width + box.x0; at < y * this.width + box.x1; at++) if (this.labels[at] === label) found.push(at);
    return found;
  }

  // Neighbours along rows and columns.
  *#beside(at) {
    const x = at % this.width;
    if (x > 0) yield at - 1;
    if (x < this.width - 1) yield at + 1;
    if (at >= this.width) yield at - this.width;
    if (at < this.labels.length - this.width) yield at + this.width;
  }

  // The connected parts of a cell without what is left out, the largest first.
  #parts(label, pixels, without = new Set()) {
    const seen = new Set(without), parts = [];
    for (const start of pixels) {
      if (seen.has(start)) continue;
      const part = [start];
      seen.add(start);
      for (const at of part)
        for (const next of this.#beside(at))
          if (this.labels[next] === label && !seen.has(next)) {
            seen.add(next);
            part.push(next);
          }
      parts.push(part);
    }
    return parts.sort((a, b) => b.length - a.length || a[0] - b[0]);
  }

  // Give the pixels that have no owner that of the nearest one.
  #spread(front, owner, pixels) {
    for (const at of front)
      for (const next of this.#beside(at))
        if (pixels.has(next) && !owner.has(next)) {
          owner.set(next, owner.get(at));
          front.push(next);
        }
  }

  // The background on the shortest ways from one cell to another, none where they touch; null where they are too long.
  #between(first, second) {
    const reach = (label) => {
      let front = this.#pixels(label);
      const steps = new Map(front.map((at) => [at, 0]));
      for (let step = 1; step <= GAP + 1; step++) {
        const next = new Set(front.flatMap((at) => [...this.#beside(at)]).filter((at) => !steps.has(at)));
        for (const at of next) steps.set(at, step);
        front = [...next].filter((at) => !this.labels[at]);
      }
      return steps;
    };
    const from = reach(first), to = reach(second);
    if (!this.#pixels(second).some((at) => from.has(at))) return null;
    const shortest = this.#pixels(second).reduce((least, at) => Math.min(least, from.get(at) ?? Infinity), Infinity);
    return [...from.keys()].filter((at) => !this.labels[at] && from.get(at) + (to.get(at) ?? Infinity) <= shortest);
  }
}
