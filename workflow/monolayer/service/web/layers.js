// An image with its label image on a canvas, at any zoom: the picture, the cells over it, and what the pen shows over
// both are layers of their own, and only the rectangle that changed is drawn again, once a frame.

const MOST = 2.2e6; // pixels of the canvas: on finer screens they are a little larger than the screen's
const EDGE = 1.3; // px of the screen: half of the line between two cells
const FILL = 0.26; // opacity
const COLOURS = 1024;
const HOT = [255, 255, 255];

export class Layers {
  // `canvas` is for picture and cells, `pen` for what lies over them.
  constructor(canvas, pen) {
    Object.assign(this, { canvas, pen, map: null, scale: 1, left: 0, top: 0, filled: true, shown: true, hot: 0, changed: [], asked: 0 });
    this.context = canvas.getContext("2d", { alpha: false });
    this.over = pen.getContext("2d");
    this.cells = new OffscreenCanvas(1, 1);
    this.cellContext = this.cells.getContext("2d", { willReadFrequently: true });
    this.pointer = null; // draws on the pen's layer and answers with the box that it drew on
    this.drawn = null;
    [this.edges, this.fills] = palettes();
  }

  show(picture, map) {
    this.picture = new OffscreenCanvas(map.width, map.height);
    this.picture.getContext("2d").drawImage(picture, 0, 0);
    this.map = map;
    this.hot = 0;
    this.resize();
    this.fit();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    this.ratio = Math.min(devicePixelRatio, Math.sqrt(MOST / Math.max(1, width * height)));
    for (const layer of [this.canvas, this.pen, this.cells]) {
      layer.width = Math.max(1, Math.round(width * this.ratio));
      layer.height = Math.max(1, Math.round(height * this.ratio));
    }
    this.pixels = this.cellContext.createImageData(this.cells.width, this.cells.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    if (this.map) this.#look();
  }

  // ---- what is seen ---------------------------------------------------------------------------------------

  fit() {
    const { width, height } = this.map;
    this.scale = Math.min(this.canvas.width / width, this.canvas.height / height) * 0.96;
    this.left = (this.canvas.width - width * this.scale) / 2;
    this.top = (this.canvas.height - height * this.scale) / 2;
    this.#look();
  }

  // Zoom about a place of the canvas, in its pixels; its middle without one.
  zoom(factor, at = [this.canvas.width / 2, this.canvas.height / 2]) {
    const least = Math.min(this.canvas.width / this.map.width, this.canvas.height / this.map.height) / 2;
    const scale = Math.min(Math.max(this.scale * factor, least), 64);
    this.left = at[0] - ((at[0] - this.left) * scale) / this.scale;
    this.top = at[1] - ((at[1] - this.top) * scale) / this.scale;
    this.scale = scale;
    this.#look();
  }

  pan(right, down) {
    this.left += right;
    this.top += down;
    this.#look();
  }

  // Bring a place of the image into view.
  reveal([x, y]) {
    const [u, v] = [this.left + (x + 0.5) * this.scale, this.top + (y + 0.5) * this.scale];
    const inside = (value, size) => (value < 0.08 * size || value > 0.92 * size ? size / 2 - value : 0);
    const [right, down] = [inside(u, this.canvas.width), inside(v, this.canvas.height)];
    if (right || down) this.pan(right, down);
  }

  // The place on the canvas, in its pixels, and the pixel of the image, of a pointer.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  pixel([u, v]) {
    return [Math.floor((u - this.left) / this.scale), Math.floor((v - this.top) / this.scale)];
  }

  // Of each column and row of the canvas: the pixel of the image, and those half a line away, to tell edges by.
  #look() {
    const { width, height } = this.map, half = (EDGE * this.ratio) / this.scale;
    const table = (count, start, size) => {
      const found = [new Int32Array(count), new Int32Array(count), new Int32Array(count)];
      for (let n = 0; n < count; n++) {
        const place = (n + 0.5 - start) / this.scale;
        const own = place < 0 || place >= size ? -1 : Math.floor(place);
        found[0][n] = own;
        found[1][n] = Math.max(0, Math.floor(place - half));
        found[2][n] = Math.min(size - 1, Math.floor(place + half));
      }
      return found;
    };
    this.columns = table(this.canvas.width, this.left, width);
    this.rows = table(this.canvas.height, this.top, height);
    this.change();
  }

  // ---- drawing --------------------------------------------------------------------------------------------

  // Draw a box of the image again, all without one.
  change(box = null) {
    const { width, height } = this.canvas;
    let rectangle = [0, 0, width, height];
    if (box) {
      const margin = this.scale + EDGE * this.ratio + 1;
      rectangle = [
        Math.max(0, Math.floor(this.left + box.x0 * this.scale - margin)),
        Math.max(0, Math.floor(this.top + box.y0 * this.scale - margin)),
        Math.min(width, Math.ceil(this.left + box.x1 * this.scale + margin)),
        Math.min(height, Math.ceil(this.top + box.y1 * this.scale + margin)),
      ];
      if (rectangle[0] >= rectangle[2] || rectangle[1] >= rectangle[3]) return;
    } else this.changed = [];
    this.changed.push(rectangle);
    this.ask();
  }

  // The pen's layer, too, is drawn with the next frame.
  ask() {
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0;
      for (const rectangle of this.changed) this.#paint(...rectangle);
      this.changed = [];
      if (this.drawn) this.over.clearRect(...this.drawn);
      this.drawn = this.pointer?.(this.over) ?? null;
    });
  }

  heat(label) {
    if (label === this.hot) return;
    for (const one of [this.hot, label]) if (one && this.map.boxes.has(one)) this.change(this.map.boxes.get(one));
    this.hot = label;
  }

  #paint(x0, y0, x1, y1) {
    const { context, map } = this;
    context.save();
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.clip();
    context.fillStyle = "#0a0c0e";
    context.fillRect(x0, y0, x1 - x0, y1 - y0);
    context.imageSmoothingEnabled = this.scale < 1;
    context.drawImage(this.picture, this.left, this.top, map.width * this.scale, map.height * this.scale);
    if (this.shown) {
      this.#shade(x0, y0, x1, y1);
      this.cellContext.putImageData(this.pixels, 0, 0, x0, y0, x1 - x0, y1 - y0);
      context.drawImage(this.cells, x0, y0, x1 - x0, y1 - y0, x0, y0, x1 - x0, y1 - y0);
    }
    context.restore();
  }

  // The colour of each pixel of the cells' layer: a cell's edge, its inside, or nothing.
  #shade(x0, y0, x1, y1) {
    const { words, hot, edges, fills, filled } = this, { labels, width } = this.map, stride = this.cells.width;
    const [columns, lefts, rights] = this.columns, [rows, ups, downs] = this.rows;
    const hotEdge = word(...HOT, 255), hotFill = word(...HOT, 255 * FILL * 1.3);
    for (let v = y0; v < y1; v++) {
      const start = v * stride;
      if (rows[v] < 0) {
        words.fill(0, start + x0, start + x1);
        continue;
      }
      if (v > y0 && rows[v] === rows[v - 1] && ups[v] === ups[v - 1] && downs[v] === downs[v - 1]) {
        words.copyWithin(start + x0, start - stride + x0, start - stride + x1);
        continue;
      }
      const row = rows[v] * width, up = ups[v] * width, down = downs[v] * width;
      for (let u = x0; u < x1; u++) {
        const x = columns[u], label = x < 0 ? 0 : labels[row + x];
        if (label === 0) words[start + u] = 0;
        else if (labels[row + lefts[u]] !== label || labels[row + rights[u]] !== label || labels[up + x] !== label || labels[down + x] !== label)
          words[start + u] = label === hot ? hotEdge : edges[label % COLOURS];
        else words[start + u] = label === hot ? hotFill : filled ? fills[label % COLOURS] : 0;
      }
    }
  }
}

function word(red, green, blue, opacity) {
  return ((opacity << 24) | (blue << 16) | (green << 8) | red) >>> 0; // as an ImageData has its bytes
}

// A colour for each number, as far from those before as may be: hues by the golden angle, in three shades.
function palettes() {
  const edges = new Uint32Array(COLOURS), fills = new Uint32Array(COLOURS);
  for (let n = 0; n < COLOURS; n++) {
    const hue = (n * 137.508) % 360, light = [0.64, 0.72, 0.58][n % 3];
    const channel = (shift) => {
      const k = (shift + hue / 30) % 12;
      return Math.round(255 * (light - 0.85 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    const colour = [channel(0), channel(8), channel(4)];
    edges[n] = word(...colour, 255);
    fills[n] = word(...colour, 255 * FILL);
  }
  return [edges, fills];
}
