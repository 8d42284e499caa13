// Numbers and things as people read them, and elements made of them. Names from the plan reach the
// page as text nodes only, never as HTML.
function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < 6; unit++) bytes /= 1024;
  return `${bytes.toFixed(unit === 0 ? 0 : bytes < 10 ? 2 : 1)} ${units[unit]}`;
}

function flopText(flops) {
  const units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"];
  let unit = 0;
  for (; flops >= 1000 && unit < 6; unit++) flops /= 1000;
  return `${unit === 0 ? flops : flops.toFixed(flops < 10 ? 2 : 1)} ${units[unit]}`;
}

function timeText(picoseconds) {
  const units = ["ps", "ns", "us", "ms", "s"];
  let unit = 0;
  for (; picoseconds >= 1000 && unit < 4; unit++) picoseconds /= 1000;
  return `${unit === 0 ? picoseconds : picoseconds.toPrecision(3)} ${units[unit]}`;
}

const countFormat = new Intl.NumberFormat("en");
const countText = (count) => countFormat.format(count);
const bytesText = (bytes) => (bytes < 1024 ? `${bytes} bytes` : `${sizeText(bytes)} (${countText(bytes)} bytes)`);
const percentText = (part, whole, digits = 1) => `${(whole > 0 ? (100 * part) / whole : 0).toFixed(digits)}\u00a0%`;

// "instructions 3 to 17", "always"
function liveText(plan, id) {
  const b = plan.buffers;
  if (b.last[id] === NONE) return "always";
  if (b.first[id] === b.last[id]) return `instruction ${countText(b.first[id])}`;
  return `instructions ${countText(b.first[id])} to ${countText(b.last[id])}`;
}

const bufferName = (plan, id) => plan.strings[plan.buffers.name[id]];
const kindName = (plan, id) => plan.kinds[plan.buffers.kind[id]];
// Of instructions that nobody named, what they are.
const stepName = (step) => step.name || RUN_NAMES[step.kind];

function stepCost(step) {
  const parts = [];
  if (step.flops > 0) parts.push(flopText(step.flops));
  if (step.bytes > 0) parts.push(`${sizeText(step.bytes)} moved`);
  return parts.join(", ") || "no counted work";
}

// Remarks on a buffer or an instruction: those that name it, what it computes, or where it stands.
function remarksOn(plan, ...subjects) {
  const found = [];
  for (const subject of new Set(subjects)) if (subject) found.push(...(plan.remarks.get(subject) ?? []));
  return found;
}

const bufferRemarks = (plan, id) => remarksOn(plan, bufferName(plan, id), plan.strings[plan.buffers.scope[id]]);
// Names of instructions are operators and a scope: "cast h.0.attn".
const stepRemarks = (plan, step) => remarksOn(plan, step.name, step.name.split(" ").slice(1).join(" "));

// element("p", {class: "note"}, "text", child): attributes that begin with "on" are listeners.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

function swatch(variable) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = `var(--${variable})`;
  return made;
}
const kindSwatch = (plan, id) => swatch(`kind-${kindName(plan, id)}`);

const byId = (id) => document.getElementById(id);
