// Segments the chosen images, one answer each with all cells; threshold, outlines and numbers then change in the browser.
import * as editor from "./editor.js";

const $ = (id) => document.getElementById(id);
const items = []; // {file, order, name, asked, frames: [...]}; asked is what it was segmented with, and stays so
const thresholds = new Map(); // by model: the least score of what it found
let shown = null; // the frame on the canvas
let chosen = -1; // index of the cell pointed at
let waiting = 0, finished = 0, taken = 0;
const TAIL = 10; // frames

const ROWS = [
  ["area", "area"], ["perimeter", "perimeter"], ["feret", "Feret diameter"], ["circularity", "circularity"],
  ["eccentricity", "eccentricity"], ["solidity", "solidity"], ["intensity_mean", "mean grey value"],
  ["nearest_neighbour", "nearest neighbour"], ["score", "score"],
  ["track", "track"], ["parent", "daughter of track"],
];

// ---- talking to the service -------------------------------------------------------------------------

function headers(accept) {
  return { Accept: accept, ...($("key").value && { "X-API-Key": $("key").value }) };
}

// The model, the cell line and the pixel size that are chosen now.
function choice() {
  const asked = { model: $("model").value };
  if (!$("line-choice").hidden && $("line").value) asked.cell_line = $("line").value;
  if (Number($("pixel").value) > 0) asked.pixel_size_um = $("pixel").value;
  return asked;
}

async function segment(file, accept, asked) {
  for (let attempt = 0; ; attempt++) {
    const body = new FormData();
    body.append("image", file, file.name);
    const answer = await fetch(`segment?${new URLSearchParams(asked)}`, { method: "POST", body, headers: headers(accept) });
    if (answer.ok) return answer;
    if (answer.status === 401) $("key-choice").hidden = false;
    if ((answer.status !== 429 && answer.status !== 503) || attempt === 20) throw new Error(await reason(answer));
    await new Promise((resume) => setTimeout(resume, 1000 * Number(answer.headers.get("Retry-After") || 1)));
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the service answered ${answer.status}`;
  }
}

async function loadModels() {
  const answer = await fetch("models", { headers: headers("application/json") });
  if (answer.status === 401) {
    $("key-choice").hidden = false;
    $("key").focus();
    return;
  }
  const models = await answer.json();
  $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
  const choose = () => {
    const model = models.find((one) => one.name === $("model").value);
    $("line-choice").hidden = !model.lines.length;
    const all = model.line_required ? [] : [new Option("any", "")];
    $("line").replaceChildren(...all, ...model.lines.map((line) => new Option(line, line)));
    if (!shown) $("threshold").value = thresholds.get(model.name);
    refresh();
  };
  for (const model of models) if (!thresholds.has(model.name)) thresholds.set(model.name, model.score_min);
  $("model").onchange = choose;
  choose();
  const corrections = await fetch("corrections", { headers: headers("application/json") });
  $("correct-choice").hidden = !corrections.ok;
  if (corrections.ok) $("forgotten").textContent = "forgotten; what you save in the editor is kept";
}

// ---- images in -------------------------------------------------------------------------------------

function complain(name, text) {
  const item = document.createElement("li");
  const title = document.createElement("b");
  title.textContent = name;
  item.append(title, ` ${text}`);
  $("problems").append(item);
}

async function take(files) {
  $("problems").replaceChildren();
  waiting += files.length;
  step();
  const queue = [...files];
  const worker = async () => {
    for (let file; (file = queue.shift()); ) {
      try {
        await read(file, (taken += 1));
      } catch (error) {
        complain(file.name, error.message === "Failed to fetch" ? "did not reach the service; is it running?" : error.message);
      }
      finished += 1;
      step();
    }
  };
  await Promise.all([worker(), worker()]);
  if (finished === waiting) waiting = finished = 0;
  step();
}

function step() {
  $("work").hidden = waiting === 0;
  $("progress").max = Math.max(1, waiting);
  $("progress").value = finished;
  $("doing").textContent = `Segmenting: ${finished} of ${waiting} done`;
}

async function read(file, order) {
  const asked = choice(); // before the answer: somebody may choose another meanwhile
  const more = { masks: "polygons", picture: "true", tracks: "true", score_min: "0" };
  const response = await segment(file, "application/json", { ...asked, ...more });
  const answer = await response.json();
  const item = { file, order, name: file.name, asked, frames: [], tracks: tracksOf(answer.frames) };
  for (const frame of answer.frames) item.frames.push(await prepare(frame, item));
  items.push(item);
  items.sort((a, b) => a.order - b.order); // as they were chosen, whichever was done first
  tabs();
  if (items.length === 1 || waiting === 1) show(item.frames[0]);
}

// By number the track's mother and its places, of which the stage's drift is taken out.
function tracksOf(frames) {
  const tracks = new Map();
  for (const { frame, cells, drift_px: drift } of frames)
    for (const { track, parent, centroid_x_px: x, centroid_y_px: y } of cells) {
      if (!track) continue;
      if (!tracks.has(track)) tracks.set(track, { parent, places: [] });
      tracks.get(track).places.push([frame, x + 0.5 - drift[0], y + 0.5 - drift[1]]);
    }
  return tracks;
}

async function prepare(frame, item) {
  const picture = new Image();
  picture.src = frame.picture;
  await picture.decode();
  const { width_px: width, height_px: height } = frame.summary;
  const paths = frame.cells.map((cell) => {
    const path = new Path2D();
    for (const ring of cell.polygons) {
      path.moveTo(ring[0], ring[1]);
      for (let at = 2; at < ring.length; at += 2) path.lineTo(ring[at], ring[at + 1]);
      path.closePath();
    }
    return path;
  });
  const best = bestOf(paths, width, height);
  const covered = new Float64Array(paths.length + 1); // px under the first n cells
  for (const index of best) if (index >= 0) covered[index + 1] += 1;
  for (let n = 1; n < covered.length; n++) covered[n] += covered[n - 1];
  return { item, number: frame.frame, drift: frame.drift_px, picture, width, height, cells: frame.cells, paths, best, covered };
}

// For each pixel the best cell that covers it, -1 for none. Rings run along pixels' edges: every colour stays pure.
function bestOf(paths, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let index = paths.length - 1; index >= 0; index--) {
    context.fillStyle = `#${(index + 1).toString(16).padStart(6, "0")}`;
    context.fill(paths[index], "evenodd");
  }
  const { data } = context.getImageData(0, 0, width, height);
  const best = new Int32Array(width * height);
  for (let at = 0; at < best.length; at++) best[at] = data[4 * at] * 65536 + data[4 * at + 1] * 256 + data[4 * at + 2] - 1;
  return best;
}

// ---- the image on show -----------------------------------------------------------------------------

// The least score of the model that found these cells.
const least = (item) => thresholds.get(item.asked.model);

function above(frame) {
  const score = least(frame.item);
  const below = frame.cells.findIndex((cell) => cell.score < score);
  return below < 0 ? frame.cells.length : below;
}

function show(frame) {
  shown = frame;
  chosen = -1;
  $("result").hidden = false;
  const { model, cell_line: line, pixel_size_um: side } = frame.item.asked;
  $("name").textContent = frame.item.name;
  $("made").textContent = [model, line, side && `${side} µm`].filter(Boolean).join(", ");
  $("threshold").value = least(frame.item);
  $("frame-choice").hidden = $("tails-choice").hidden = frame.item.frames.length < 2;
  $("frame").max = frame.item.frames.length - 1;
  $("frame").value = frame.number;
  refresh();
}

function tabs() {
  $("images").hidden = items.length < 2;
  $("images").replaceChildren(
    ...items.map((item) => {
      const button = document.createElement("button");
      const count = document.createElement("small");
      button.type = "button";
      button.append(item.name, count);
      button.onclick = () => show(item.frames[0]);
      item.button = button;
      item.count = count;
      return button;
    }),
  );
}

function refresh() {
  $("threshold-value").textContent = Number($("threshold").value).toFixed(5).replace(/0{1,3}$/, "");
  for (const item of items) {
    const counts = item.frames.map(above);
    item.count.textContent = counts.length > 1 ? `${Math.min(...counts)}–${Math.max(...counts)} cells` : `${counts[0]} cells`;
    item.button.setAttribute("aria-current", item === shown?.item);
  }
  if (!shown) return;
  const count = above(shown);
  if (chosen >= count) chosen = -1;
  const { work } = shown;
  $("corrected").textContent = !work ? "" : editor.unsaved(shown) ? "corrections not saved" : work.version ? `version ${work.version} is saved` : "";
  $("frame-number").textContent = `${shown.number + 1} of ${shown.item.frames.length}`;
  $("count").textContent = count;
  $("confluence").textContent = `${((100 * shown.covered[count]) / (shown.width * shown.height)).toFixed(1)} %`;
  const [values, unit] = areas(count);
  $("area").textContent = values.length ? `${digits(median(values))} ${unit}` : "–";
  $("area-unit").textContent = `, ${unit}`;
  histogram(values);
  describe();
  draw(count);
}

function areas(count) {
  const cells = shown.cells.slice(0, count);
  const metric = cells.length > 0 && cells[0].area_um2 !== null;
  return [cells.map((cell) => (metric ? cell.area_um2 : cell.area_px2)), metric ? "µm²" : "px²"];
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function digits(value) {
  return value >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString();
}

function draw(count) {
  const canvas = $("canvas");
  const fine = Math.ceil((canvas.clientWidth * devicePixelRatio) / shown.width); // as many pixels as the screen shows
  const zoom = Math.max(1, Math.min(fine, Math.floor(4096 / Math.max(shown.width, shown.height))));
  canvas.width = shown.width * zoom;
  canvas.height = shown.height * zoom;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.scale(zoom, zoom);
  context.drawImage(shown.picture, 0, 0);
  const style = getComputedStyle(document.documentElement);
  context.lineWidth = (1.6 * shown.width) / Math.max(1, canvas.clientWidth);
  context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = style.getPropertyValue("--cell");
  for (let index = count - 1; index >= 0; index--) {
    if (index === chosen) continue;
    if ($("fills").checked) {
      context.globalAlpha = 0.35;
      context.fill(shown.paths[index], "evenodd");
      context.globalAlpha = 1;
    }
    if ($("outlines").checked) context.stroke(shown.paths[index]);
  }
  if ($("tails").checked && shown.drift) tails(context, count, style.getPropertyValue("--tail"));
  if (chosen >= 0) {
    context.strokeStyle = context.fillStyle = style.getPropertyValue("--chosen");
    context.lineWidth *= 1.6;
    context.globalAlpha = 0.3;
    context.fill(shown.paths[chosen], "evenodd");
    context.globalAlpha = 1;
    context.stroke(shown.paths[chosen]);
  }
}

// Behind each cell the way it came in the last frames, on its mother's before that.
function tails(context, count, colour) {
  const [right, down] = shown.drift;
  context.strokeStyle = colour;
  for (const { track: own } of shown.cells.slice(0, count)) {
    context.beginPath();
    for (let track = shown.item.tracks.get(own), last = shown.number; track; track = shown.item.tracks.get(track.parent)) {
      const places = track.places.filter(([frame]) => frame <= last && frame >= shown.number - TAIL);
      for (const [, x, y] of places.reverse()) context.lineTo(x + right, y + down);
      last = track.places[0][0] - 1;
    }
    context.stroke();
  }
}

function histogram(values) {
  const svg = $("histogram");
  svg.replaceChildren();
  const add = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
  };
  add("line", { x1: 0, x2: 300, y1: 95, y2: 95 });
  if (!values.length) return;
  const low = Math.min(...values), high = Math.max(...values), bins = 24;
  const bin = (value) => Math.min(bins - 1, Math.floor(((value - low) / (high - low || 1)) * bins));
  const counts = new Array(bins).fill(0);
  for (const value of values) counts[bin(value)] += 1;
  const most = Math.max(...counts), at = chosen >= 0 ? bin(values[chosen]) : -1;
  counts.forEach((count, index) => {
    if (!count) return;
    const height = (85 * count) / most;
    add("rect", { x: 12.5 * index + 0.5, y: 95 - height, width: 11.5, height, class: index === at ? "chosen" : "" });
  });
  add("text", { x: 0, y: 107 }, digits(low));
  add("text", { x: 300, y: 107, "text-anchor": "end" }, digits(high));
  svg.setAttribute("aria-label", `Histogram of areas, from ${digits(low)} to ${digits(high)}`);
}

// ---- one cell --------------------------------------------------------------------------------------

function choose(index) {
  if (index === chosen) return;
  chosen = index;
  refresh();
}

function describe() {
  const body = $("cell").tBodies[0];
  body.replaceChildren();
  if (chosen < 0) return;
  const cell = shown.cells[chosen];
  const said = [];
  for (const [name, title] of ROWS) {
    if (name in { track: 1, parent: 1 } && !cell[name]) continue; // no series
    const [value, unit] = name === "nearest_neighbour" ? nearest(cell) : measured(cell, name);
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = title;
    row.append(head);
    const text = value === null ? "–" : `${digits(value)}${unit ? ` ${unit}` : ""}`;
    row.insertCell().textContent = text;
    said.push(`${title} ${text}`);
  }
  if (document.activeElement === $("canvas")) $("said").textContent = `Cell ${cell.cell}: ${said.slice(0, 2).join(", ")}`;
}

function measured(cell, name) {
  const power = name === "area" ? "2" : "";
  for (const [end, unit] of [[`_um${power}`, "µm"], [`_px${power}`, "px"]]) {
    const value = cell[name + end];
    if (value !== undefined && value !== null) return [value, unit + (power && "²")];
  }
  return [cell[name] ?? null, ""];
}

// The service measured the distance among all cells, also those of a lower score than the least one.
function nearest(cell) {
  let found = Infinity;
  for (const other of shown.cells.slice(0, above(shown)))
    if (other !== cell) found = Math.min(found, Math.hypot(other.centroid_x_px - cell.centroid_x_px, other.centroid_y_px - cell.centroid_y_px));
  const side = shown.item.asked.pixel_size_um;
  return [found === Infinity ? null : found * (side || 1), side ? "µm" : "px"];
}

function cellAt(event) {
  const box = $("canvas").getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * shown.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * shown.height);
  if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return -1;
  const index = shown.best[y * shown.width + x];
  return index < above(shown) ? index : -1;
}

// ---- corrections -----------------------------------------------------------------------------------

// The label image of the cells that are shown; where they overlap, the better one is seen.
function draft(frame) {
  const count = above(frame);
  return Int32Array.from(frame.best, (index) => (index < count ? index + 1 : 0));
}

function correct() {
  if (shown && !$("correct-choice").hidden) editor.open(shown);
}

editor.setUp({ frames: () => items.flatMap((item) => item.frames), draft, headers, reason, closed: show });

// ---- downloads -------------------------------------------------------------------------------------

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function download(button) {
  button.disabled = true;
  try {
    const answer = await segment(shown.item.file, button.dataset.media, { ...shown.item.asked, score_min: least(shown.item) });
    save(await answer.blob(), answer.headers.get("Content-Disposition").match(/filename="([^"]+)"/)[1]);
  } catch (error) {
    complain(shown.item.name, error.message);
  }
  button.disabled = false;
}

function summary() {
  const lines = ["file_name,frame,score_min,cells,confluence,model"];
  for (const item of items)
    for (const frame of item.frames) {
      const count = above(frame), part = frame.covered[count] / (frame.width * frame.height);
      const [name, model] = [item.name, item.asked.model].map((text) => `"${text.replaceAll('"', '""')}"`);
      lines.push([name, frame.number, least(item), count, part.toFixed(4), model].join(","));
    }
  save(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), "images.csv");
}

// ---- events ----------------------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => event.preventDefault());
$("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
$("sample").addEventListener("click", async () => {
  try {
    const answer = await fetch("sample", { headers: headers("image/*") });
    const name = answer.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/)?.[1] ?? "sample.png";
    await take([new File([await answer.blob()], name)]);
  } catch {
    complain("The sample", "did not arrive; is the service running?");
  }
});
for (const type of ["dragenter", "dragover", "dragleave", "drop"])
  addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop") take(event.dataTransfer.files);
  });
$("threshold").addEventListener("input", () => {
  const model = shown ? shown.item.asked.model : $("model").value;
  thresholds.set(model, Math.round(1e5 * $("threshold").value) / 1e5); // as scores are written
  refresh();
});
for (const id of ["outlines", "fills", "tails"]) $(id).addEventListener("input", refresh);
$("key").addEventListener("change", loadModels);
$("frame").addEventListener("input", (event) => show(shown.item.frames[Number(event.target.value)]));
$("canvas").addEventListener("pointermove", (event) => choose(cellAt(event)));
$("canvas").addEventListener("pointerdown", (event) => choose(cellAt(event)));
$("canvas").addEventListener("pointerleave", () => choose(-1));
$("canvas").addEventListener("keydown", (event) => {
  const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape") choose(-1);
  if (!way || !shown) return;
  event.preventDefault();
  const count = above(shown);
  if (count) choose(chosen < 0 ? (way > 0 ? 0 : count - 1) : (chosen + way + count) % count);
});
for (const button of document.querySelectorAll("button[data-media]")) button.addEventListener("click", () => download(button));
$("summary").addEventListener("click", summary);
$("correct").addEventListener("click", correct);
addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input:not([type=range], [type=checkbox]), select") || event.ctrlKey || event.metaKey || event.altKey;
  if (event.key.toLowerCase() === "c" && !typing && !document.querySelector("dialog[open]")) correct();
});
addEventListener("resize", () => shown && refresh());
loadModels();
