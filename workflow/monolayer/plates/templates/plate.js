// The plate map, its time slider, the curve and the picture of the chosen well.
const plate = JSON.parse(document.getElementById("plate-data").textContent);
const shots = JSON.parse(document.getElementById("plate-pictures").textContent);
const NAMES = Object.keys(plate.wells);
const TITLES = { cells_per_image: "Cells per image", confluence: "Confluence, %,", expected_f1: "Expected F1" };
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const [CONDITION, START, RATE, DOUBLING, LOW, HIGH, LAG, LAG_LOW, LAG_HIGH] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const map = document.querySelector(".map");
const quantity = document.getElementById("quantity");
const time = document.getElementById("time");
let chosen = NAMES[0];

const number = (value) => {
  if (value === null) return "–";
  return (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))).toString().replace("-", "−");
};
const moment = (t) => Number(t.toFixed(2)).toString();
const at = (index) => `${moment(plate.times[index])} ${plate.unit === "h" ? "h" : "(frame)"}`;

function value(well, index) {
  if (quantity.value === "doubling_time") return plate.wells[well][DOUBLING];
  return plate[quantity.value][well][index];
}

function colour(share) {
  const place = Math.min(share * (STOPS.length - 1), STOPS.length - 1 - 1e-9);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.floor(place) + 1]];
  return low.map((part, n) => Math.round(part + (high[n] - part) * (place % 1)));
}

function layOut() {
  const parts = NAMES.map((name) => /^([A-Za-z]+)(\d+)$/.exec(name));
  const places = parts.every(Boolean);
  const rows = places ? [...new Set(parts.map((part) => part[1]))] : [];
  const columns = places ? [...new Set(parts.map((part) => Number(part[2])))].sort((a, b) => a - b) : [];
  map.style.setProperty("--columns", columns.length || 12);
  map.style.gridTemplateColumns = places ? `1.4rem repeat(${columns.length}, minmax(1.3rem, 6.4rem))` : "repeat(auto-fill, minmax(3.5rem, 1fr))";
  const head = (text, row, column) => {
    const span = document.createElement("span");
    Object.assign(span, { textContent: text }).style.gridArea = `${row} / ${column}`;
    map.append(span);
  };
  rows.forEach((row, n) => head(row, n + 2, 1));
  columns.forEach((column, n) => head(column, 1, n + 2));
  NAMES.forEach((name, n) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.well = name;
    if (places) button.style.gridArea = `${rows.indexOf(parts[n][1]) + 2} / ${columns.indexOf(Number(parts[n][2])) + 2}`;
    map.append(button);
  });
}

function range() {
  if (quantity.value === "expected_f1") return [0, 1];
  const every = NAMES.flatMap((well) => plate.times.map((_, index) => value(well, index))).filter((v) => v !== null);
  return [every.reduce((a, b) => Math.min(a, b), 0), every.reduce((a, b) => Math.max(a, b), 0) || 1];
}

function paint() {
  const index = Number(time.value);
  const [low, high] = range();
  const still = quantity.value === "doubling_time";
  time.disabled = still;
  document.getElementById("moment").textContent = still ? "all times" : at(index);
  for (const button of map.querySelectorAll("button")) {
    const well = button.dataset.well;
    const found = value(well, index);
    button.className = found === null ? "without" : "";
    const [r, g, b] = found === null ? [0, 0, 0] : colour((found - low) / (high - low));
    button.style.background = found === null ? "" : `rgb(${r} ${g} ${b})`;
    button.style.color = found === null ? "" : 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#111" : "#fff";
    button.textContent = number(found);
    button.title = `${well} ${plate.wells[well][CONDITION]}`.trim();
    button.setAttribute("aria-label", `${button.title}: ${number(found)}`);
    button.setAttribute("aria-pressed", well === chosen);
  }
  fitText();
  document.getElementById("low").textContent = number(low);
  document.getElementById("high").textContent = number(high);
}

// Numbers that are cut off would be other numbers: all are as small as the widest needs it.
function fitText() {
  const words = document.createRange();
  const share = (button) => {
    words.selectNodeContents(button);
    return words.getBoundingClientRect().width / button.clientWidth;
  };
  map.style.setProperty("--fit", 1);
  const widest = [...map.querySelectorAll("button")].map(share).reduce((a, b) => Math.max(a, b), 0.9);
  map.style.setProperty("--fit", 0.9 / widest);
}

function curve() {
  const name = quantity.value in TITLES ? quantity.value : "cells_per_image";
  const [width, height, left, bottom] = [420, 240, 44, 26];
  const well = plate.wells[chosen];
  const [start, rate, lag] = [well[START], well[RATE], well[LAG] ?? 0];
  const [first, last] = [plate.times[0], plate.times[plate.times.length - 1]];
  const own = plate.times.map((t, n) => [t, plate[name][chosen][n]]).filter((point) => point[1] !== null);
  const fit = name === "cells_per_image" && start !== null && rate !== null;
  const fitted = (t) => start * Math.exp(rate * Math.max(t - own[0][0] - lag, 0));
  const top = (Math.max(...own.map((point) => point[1]), fit ? fitted(own[own.length - 1][0]) : 0) || 1) * 1.08;
  const x = (t) => left + ((t - first) / (last - first || 1)) * (width - left - 12);
  const y = (v) => height - bottom - (v / top) * (height - bottom - 10);
  const path = (points) => points.map(([t, v], n) => `${n ? "L" : "M"}${x(t).toFixed(1)},${y(v).toFixed(1)}`).join("");
  const ticks = [0, 0.5, 1].map((share) => {
    const v = (share * top) / 1.08;
    return `<line class="axis" x1="${left}" x2="${width - 12}" y1="${y(v)}" y2="${y(v)}"/><text x="${left - 6}" y="${y(v) + 4}" text-anchor="end">${number(v)}</text>`;
  });
  const steps = fit ? Array.from({ length: 81 }, (_, n) => own[0][0] + (n / 80) * (own[own.length - 1][0] - own[0][0])) : [];
  const dots = own.map(([t, v]) => `<circle cx="${x(t)}" cy="${y(v)}" r="3"/>`).join("");
  const title = TITLES[name];
  document.getElementById("curve").innerHTML =
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title} of the chosen well over time">${ticks.join("")}` +
    `<text x="${left}" y="${height - 6}">${moment(first)}</text><text x="${width - 12}" y="${height - 6}" text-anchor="end">${moment(last)} ${plate.unit}</text>` +
    (fit ? `<path class="fit" d="${path(steps.map((t) => [t, fitted(t)]))}"/>` : `<path class="line" d="${path(own)}"/>`) + `${dots}</svg>`;
  const found = well;
  const lags = found[LAG] === null ? "" : ` after a lag of ${number(found[LAG])} ${plate.unit} (${number(found[LAG_LOW])} to ${number(found[LAG_HIGH])})`;
  const doubles = found[DOUBLING] === null ? undoubled(found[RATE]) : `Counts double in ${number(found[DOUBLING])} ${plate.unit} (95 % interval ${number(found[LOW])} to ${found[HIGH] === null ? "∞" : number(found[HIGH])})${lags}`;
  document.getElementById("chosen").textContent = [chosen, found[CONDITION]].filter(Boolean).join(", ");
  document.getElementById("fitted").textContent = `${title} over time. ${doubles}`;
}

function undoubled(rate) {
  const counts = plate.cells_per_image[chosen].filter((count) => count !== null);
  if (!counts.some((count) => count > 0)) return "No doubling time: no cell was found";
  if (counts.length < 3) return `No doubling time: a fit needs three times, and this well has ${counts.length}`;
  if (rate === null) return "No doubling time: no exponential fits the counts";
  return `No doubling time: counts change by ${number(100 * rate)} % per ${plate.unit}`;
}

function shot() {
  const place = document.getElementById("shot");
  const found = shots[chosen];
  place.hidden = !found;
  if (!found) return;
  const image = place.querySelector("image");
  place.querySelector("svg").setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  image.setAttribute("width", found.width);
  image.setAttribute("height", found.height);
  image.setAttribute("href", found.uri);
  place.querySelector("path").setAttribute("d", found.path);
  place.querySelector(".file").textContent = `${found.file}, frame ${found.frame}: ${found.cells} cells`;
}

function choose(well) {
  chosen = well;
  paint();
  curve();
  shot();
}

layOut();
time.max = plate.times.length - 1;
time.value = time.max;
map.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose(button.dataset.well);
});
quantity.addEventListener("change", () => choose(chosen));
time.addEventListener("input", paint);
window.addEventListener("resize", fitText);
choose(chosen);
