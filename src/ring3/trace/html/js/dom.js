// Making elements and words.  Everything that came from a guest becomes text nodes here; nothing in this report is parsed as HTML.

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, props = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

const NUMBER = new Intl.NumberFormat("en", { useGrouping: true });
const number = (value) => NUMBER.format(value).replaceAll(",", "\u202f");
const counted = (value, one, many = one + "s") => `${number(value)} ${value === 1 ? one : many}`;

function duration(ns) {
  if (ns < 0) return "…";
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(ns < 1e4 ? 1 : 0)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(ns < 1e7 ? 2 : ns < 1e8 ? 1 : 0)} ms`;
  return `${(ns / 1e9).toFixed(ns < 1e10 ? 2 : 1)} s`;
}

// A moment on the run's clock: seconds with as many digits as `step` (ns) needs to tell neighbours apart.
function moment(ns, step = 1e3) {
  const digits = Math.min(9, Math.max(0, 9 - Math.floor(Math.log10(Math.max(step, 1)))));
  return `${(ns / 1e9).toFixed(digits)} s`;
}

function bytes(count) {
  if (count < 1024) return `${count} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    count /= 1024;
    if (count < 1024 || unit === "GiB") return `${count.toFixed(count < 10 ? 1 : 0)} ${unit}`;
  }
  return "";
}

const protection = (bits) => (bits & 1 ? "r" : "-") + (bits & 2 ? "w" : "-") + (bits & 4 ? "x" : "-");

// An address in groups of four digits, as `ring3 explain` writes it.
function address(value) {
  const digits = value.toString(16).padStart(12, "0");
  return `${digits.slice(0, -8)} ${digits.slice(-8, -4)} ${digits.slice(-4)}`;
}

// The computed value of a colour variable: custom properties themselves are not resolved.
function colours(names) {
  const probe = document.body.appendChild(el("i", { hidden: true }));
  const found = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
