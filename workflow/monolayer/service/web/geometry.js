// Paths and boxes of pixels [x, y].

// The places of a path without gaps.
export function line(path) {
  const places = [];
  path.forEach(([x1, y1], n) => {
    let [x, y] = path[Math.max(0, n - 1)];
    const right = Math.abs(x1 - x), down = Math.abs(y1 - y);
    for (let error = right - down; ; ) {
      places.push([x, y]);
      if (x === x1 && y === y1) break;
      const twice = 2 * error;
      if (twice > -down) [error, x] = [error - down, x + Math.sign(x1 - x)];
      if (twice < right) [error, y] = [error + right, y + Math.sign(y1 - y)];
    }
  });
  return places;
}

// The numbers of an image's pixels whose centres lie in a closed path, by the even-odd rule.
export function inside(path, { width, height }) {
  const found = [], ys = path.map(([, y]) => y);
  for (let y = Math.max(0, Math.min(...ys)); y <= Math.min(height - 1, Math.max(...ys)); y++) {
    const crossings = [];
    path.forEach(([x0, y0], n) => {
      const [x1, y1] = path[(n + 1) % path.length];
      if (y0 <= y !== y1 <= y) crossings.push(x0 + ((y - y0) * (x1 - x0)) / (y1 - y0));
    });
    crossings.sort((a, b) => a - b);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2)
      for (let x = Math.max(0, Math.ceil(crossings[pair])); x <= Math.min(width - 1, crossings[pair + 1]); x++) found.push(y * width + x);
  }
  return found;
}

// A box {x0, y0, x1, y1}, or none, with a pixel more.
export function grown(box, x, y) {
  if (!box) return { x0: x, y0: y, x1: x + 1, y1: y + 1 };
  return { x0: Math.min(box.x0, x), y0: Math.min(box.y0, y), x1: Math.max(box.x1, x + 1), y1: Math.max(box.y1, y + 1) };
}
