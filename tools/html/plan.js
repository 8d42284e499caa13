// The plan as tools/dump_html.c wrote it, and what follows from it for one entry and one space.
const NONE = -1;
// How an instruction uses a buffer: PlanAccess, and its workspace.
const READ = 0, WRITE = 1, UPDATE = 2, WORKSPACE = 3;
const RUN_NAMES = ["kernel", "product", "fill", "copy"];

// Rows of numbers behind each other become an array a column. A zero closes the list.
function columnsOf(table) {
  const names = table.columns.split(" ");
  const count = (table.rows.length - 1) / names.length;
  const out = { count };
  names.forEach((name, at) => {
    const column = new Float64Array(count);
    for (let i = 0; i < count; i++) column[i] = table.rows[i * names.length + at];
    out[name] = column;
  });
  return out;
}

function readPlan(text) {
  const plan = JSON.parse(text);
  plan.segments.pop(); // the zeros that close lists
  plan.entries.pop();
  plan.buffers = columnsOf(plan.buffers);
  plan.kernels = columnsOf(plan.kernels);
  const states = columnsOf(plan.states), remarks = columnsOf(plan.remarks);
  for (const s of plan.segments) {
    s.instructions = columnsOf(s.instructions);
    s.operands = columnsOf(s.operands);
    s.waits = columnsOf(s.waits);
  }
  for (const e of plan.entries) {
    e.calls = columnsOf(e.calls);
    e.times = columnsOf(e.times);
  }
  plan.files = new Map(); // buffer -> name in weight files
  for (let i = 0; i < states.count; i++) plan.files.set(states.buffer[i], plan.strings[states.file[i]]);
  plan.remarks = new Map(); // subject -> [{pass, text}]
  for (let i = 0; i < remarks.count; i++) {
    const subject = plan.strings[remarks.subject[i]];
    if (!plan.remarks.has(subject)) plan.remarks.set(subject, []);
    plan.remarks.get(subject).push({ pass: plan.strings[remarks.pass[i]], text: plan.strings[remarks.text[i]] });
  }
  const b = plan.buffers, names = plan.strings;
  // Layers stand apart by two shades of a kind: that of the first number in a buffer's name.
  plan.shade = Array.from({ length: b.count }, (_, i) => Number(/\.(\d+)\./.exec(names[b.name[i]])?.[1] ?? 0) % 2);
  plan.words = Array.from({ length: b.count }, (_, i) =>
    `${names[b.name[i]]}\n${names[b.scope[i]]}\n${names[b.where[i]]}`.toLowerCase());
  return plan;
}

// The instructions of a segment, behind those that steps holds already.
function addSteps(plan, segment, band, steps) {
  const rows = segment.instructions, names = plan.strings;
  const signals = new Map(); // event -> position
  for (let i = 0, operand = 0, wait = 0; i < rows.count; i++) {
    const step = {
      at: steps.length, band, name: names[rows.name[i]], where: names[rows.where[i]], kind: rows.kind[i], phase: rows.phase[i],
      kernel: rows.kernel[i], stream: rows.stream[i], flops: rows.flops[i], bytes: rows.bytes[i],
      operands: [], waits: [],
    };
    for (let k = 0; k < rows.operands[i]; k++, operand++)
      step.operands.push({ buffer: segment.operands.buffer[operand], access: segment.operands.access[operand] });
    if (rows.workspace[i] !== NONE) step.operands.push({ buffer: rows.workspace[i], access: WORKSPACE });
    // An event is signalled above those that wait for it.
    for (let k = 0; k < rows.waits[i]; k++, wait++) {
      const from = signals.get(segment.waits.event[wait]);
      if (from !== undefined) step.waits.push(from);
    }
    if (rows.signal[i] !== NONE) signals.set(rows.signal[i], step.at);
    steps.push(step);
  }
}

// buffer -> its uses [{step, access}] in linear order.
function usesOf(steps) {
  const uses = new Map();
  for (const step of steps)
    for (const { buffer, access } of step.operands) {
      if (!uses.has(buffer)) uses.set(buffer, []);
      uses.get(buffer).push({ step: step.at, access });
    }
  return uses;
}

// Live bytes by kind and position, from the live ranges: each buffer adds its bytes, padded to its
// alignment as in the arena, at its first position and takes them back behind its last.
function loadOf(plan, ids, length) {
  const b = plan.buffers, kinds = plan.kinds.length;
  const load = Array.from({ length: kinds }, () => new Float64Array(length + 1));
  for (const id of ids) {
    const align = Math.max(b.alignment[id], 1), bytes = Math.ceil(b.bytes[id] / align) * align;
    load[b.kind[id]][b.first[id]] += bytes;
    load[b.kind[id]][Math.min(last(b, id), length - 1) + 1] -= bytes;
  }
  const total = new Float64Array(length);
  for (const line of load)
    for (let at = 0, live = 0; at < length; at++) {
      line[at] = live += line[at];
      total[at] += live;
    }
  return { load, total };
}

// The last position a buffer is live at; persistent ones have none and live on.
function last(buffers, id) {
  return buffers.last[id] === NONE ? Infinity : buffers.last[id];
}

// Where phases begin in the steps first .. end of a segment, as if they followed each other: forward,
// backward, update. Orders mix them a little (an update runs as soon as its gradient is there, a cheap
// value is computed again), so this is the cut that leaves the fewest steps in another phase's part.
function cutPhases(steps, first, end, count) {
  const from = Array.from({ length: count }, () => new Uint8Array(end - first));
  let wrong = new Array(count).fill(0); // by the phase of the last step: steps out of place so far
  for (let at = first; at < end; at++) {
    let best = 0;
    wrong = wrong.map((_, phase) => {
      if (wrong[phase] < wrong[best]) best = phase;
      from[phase][at - first] = best;
      return wrong[best] + (steps[at].phase === phase ? 0 : 1);
    });
  }
  const cut = [];
  let phase = wrong.indexOf(Math.min(...wrong));
  for (let at = end - 1; at >= first; at--) {
    const before = from[phase][at - first];
    if (at === first || before !== phase) cut.unshift({ phase, first: at, end: cut.length ? cut[0].first : end });
    phase = before;
  }
  return cut;
}

function phasesOf(plan, steps, bands) {
  return bands.flatMap(({ first, end }, band) =>
    first === end ? [] : cutPhases(steps, first, end, plan.phases.length).map((part) => ({ band, ...part })));
}

// What the page shows of one entry and one space. ids: buffers by first position, then address.
function viewOf(plan, entryAt, space) {
  const entry = plan.entries[entryAt], b = plan.buffers, steps = [], bands = [];
  for (let c = 0; entry && c < entry.calls.count; c++) {
    const segment = plan.segments[entry.calls.segment[c]], first = steps.length;
    addSteps(plan, segment, bands.length, steps);
    bands.push({ name: segment.name, first, end: steps.length, times: entry.calls.times[c] });
  }
  for (const step of steps) {
    step.time = entry.times.picoseconds[step.at];
    step.limit = entry.times.limit[step.at];
  }
  const length = Math.max(steps.length, 1), ids = [];
  for (let i = 0; i < b.count; i++)
    if (b.space[i] === space && (b.entry[i] === NONE || b.entry[i] === entryAt) && b.first[i] < length) ids.push(i);
  ids.sort((x, y) => b.first[x] - b.first[y] || b.offset[x] - b.offset[y] || x - y);
  const { load, total } = loadOf(plan, ids, length);
  let peak = 0;
  for (let at = 1; at < length; at++) if (total[at] > total[peak]) peak = at;
  const live = ids.filter((id) => b.first[id] <= peak && peak <= last(b, id));
  const largest = [...live].sort((x, y) => b.bytes[y] - b.bytes[x] || x - y).slice(0, 10);
  const top = ids.reduce((high, id) => Math.max(high, b.offset[id] + b.bytes[id]), 1);
  const streams = [...new Set(steps.map((s) => s.stream))].sort((x, y) => x - y);
  const work = (field) => steps.reduce((sum, s) => sum + s[field] * bands[s.band].times, 0);
  return { entry, space: plan.spaces[space], steps, bands, length, ids, shown: new Set(ids), uses: usesOf(steps), load, total, peak,
    largest, top, phases: phasesOf(plan, steps, bands), streams: streams.length ? streams : [0], flops: work("flops"), bytes: work("bytes") };
}

// Where positions lie on the axis of time: edge[i] .. edge[i + 1], from 0 to 1. Weighted axes give
// each instruction at least a sliver, so that none can't be found.
function axisOf(view, weight) {
  const edge = new Float64Array(view.length + 1);
  const sum = view.steps.reduce((all, s) => all + (s[weight] ?? 0), 0);
  const least = sum > 0 ? (0.05 * sum) / view.length : 1;
  for (let i = 0; i < view.length; i++) edge[i + 1] = edge[i] + (sum > 0 ? view.steps[i][weight] : 0) + least;
  for (let i = 0; i <= view.length; i++) edge[i] /= edge[view.length] || 1;
  edge[view.length] = 1;
  return edge;
}

// The position at a place on the axis.
function positionAt(edge, place) {
  let low = 0, high = edge.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (edge[middle] <= place) low = middle;
    else high = middle - 1;
  }
  return low;
}
