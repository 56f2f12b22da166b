// What the pen shows over the cells: its path, the rubber's ring, and a cross where the keyboard moves it.
import { grown } from "./geometry.js";

const CROSS = [[1, 0], [-1, 0], [0, 1], [0, -1]];

// Draw it, and answer with the box to clear before the next time.
export function drawPen(context, { scale, left, top, ratio }, { pen, rubber, byKey, path, closed }) {
  const on = ([x, y]) => [left + (x + 0.5) * scale, top + (y + 0.5) * scale];
  const [u, v] = on(pen), reach = rubber ? (rubber + 0.5) * scale : 10 * ratio, trail = path.map(on);
  let box = grown(grown(null, u - reach, v - reach), u + reach, v + reach);
  for (const [x, y] of trail) box = grown(box, x, y);
  context.beginPath();
  trail.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed && trail.length > 2) context.closePath();
  if (rubber) {
    context.moveTo(u + reach, v);
    context.arc(u, v, reach, 0, 2 * Math.PI);
  }
  for (const [x, y] of byKey ? CROSS : []) {
    context.moveTo(u + 3 * ratio * x, v + 3 * ratio * y);
    context.lineTo(u + 10 * ratio * x, v + 10 * ratio * y);
  }
  context.lineCap = context.lineJoin = "round";
  for (const [colour, width] of [["#000a", 4], ["#fff", 1.8]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.stroke();
  }
  const margin = 14 * ratio; // of lines, and of the cross around a small rubber
  return [box.x0 - margin, box.y0 - margin, box.x1 - box.x0 + 2 * margin, box.y1 - box.y0 + 2 * margin];
}
