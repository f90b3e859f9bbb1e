// What the pictures share. Each output holds this file, a script of its own, and live.css. There are no ids: a script
// starts every picture of its kind that hasn't been started yet. The markup is Python's; a script only moves it.

const start = (kind, run) => {
  for (const root of document.querySelectorAll(`[data-live="${kind}"]:not([data-started])`)) {
    root.dataset.started = '';
    const config = JSON.parse(root.dataset.config);
    root.querySelectorAll('[data-slot]').forEach(slot => { slot.innerHTML = config.slots[slot.dataset.slot]; });
    root.querySelectorAll('.cnb-still').forEach(still => still.remove());
    // JupyterLab would take the arrow keys for moving between cells, and two d's for deleting one
    root.addEventListener('keydown', event => event.ctrlKey || event.metaKey || event.stopPropagation());
    run(root, config);
  }
};

const find = (root, part) => root.querySelector(`[data-part="${part}"]`);
const write = (root, part, text) => { find(root, part).textContent = text; };
const set = (node, attributes) => {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
};

// An element of HTML with attributes and children
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  set(node, attributes);
  node.append(...children);
  return node;
};

const sum = values => values.reduce((a, b) => a + b, 0);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// A number as Python writes it, with a real minus sign, and no minus in front of zero
const fixed = (value, digits = 2) => {
  if (!Number.isFinite(value)) return '∞';
  if (Math.abs(value) >= 1000) return value.toExponential(0).replace('-', '−').replace('+', '');
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace('-', '') : text.replace('-', '−');
};

// Tell a screen reader, half a second after the last change
const speaker = root => {
  let waiting;
  return text => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { write(root, 'say', text); }, 500);
  };
};

const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

// The path of a curve through points (x, y)
const path = points => points.map(([x, y], i) => `${i ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
