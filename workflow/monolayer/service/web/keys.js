// What the keys of the editor do: those of a tool or a view, those with Control, those that move and press the pen.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FAR = 10; // px, with Shift

// While a stroke is drawn, only the keys that draw it act, and those that are `always` there.
export function listen(dialog, { keys, control, always, ready, drawing, press, move }) {
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase(), ends = key === " " || key === "enter", held = event.ctrlKey || event.metaKey;
    if (!dialog.open || event.altKey || (ends && event.target.tagName === "BUTTON")) return;
    let action = held ? control[event.shiftKey ? `shift+${key}` : key] : (always[key] ?? keys[key]);
    let allowed = ready() && !drawing();
    if (!held && key in always) allowed = true;
    else if (!held && ends) [action, allowed] = [press, ready()];
    else if (ARROWS[event.key]) {
      const [right, down] = ARROWS[event.key], step = event.shiftKey ? FAR : 1;
      [action, allowed] = [() => move(right * step, down * step), ready()];
    }
    if (!action) return;
    event.preventDefault();
    if (allowed) action();
  });
}
