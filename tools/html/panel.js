// Facts in words: the summary above the map, the card under the mouse, and the panel beside the map
// (the peak, or what is pinned with its producers and users).
const ROWS_FIRST = 12; // of a long list; a press shows the rest
const REMARK_FOLDED = 190; // characters of a remark that stand in the lines of a folded one
const ACCESS_NAMES = ["reads", "writes", "updates", "works in"];

function heading(text, note) {
  return element("h3", {}, text, note ? element("span", {}, ` ${note}`) : undefined);
}

// Rows of name and value: those without a value are left out.
function facts(rows) {
  const list = element("dl");
  for (const [name, value] of rows) if (value) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

// Long ones are folded to a few lines.
function remarkList(remarks) {
  return remarks.flatMap(({ pass, text }) => {
    const remark = element("p", { class: "remark" }, element("b", {}, `${pass}: `), text);
    if (text.length <= REMARK_FOLDED) {
      remark.classList.add("whole");
      return [remark];
    }
    const unfold = element("button", { type: "button", class: "unfold", onclick: () => {
      remark.classList.add("whole");
      unfold.remove();
    } }, "all of it");
    return [remark, unfold];
  });
}

// A list of buttons, the first few of them at first.
function longList(items) {
  const list = element("ol", {}, ...items.slice(0, ROWS_FIRST));
  if (items.length > ROWS_FIRST) {
    const more = element("button", { type: "button", class: "more", onclick: () => {
      list.lastChild.remove();
      list.append(...items.slice(ROWS_FIRST));
      list.children[ROWS_FIRST].firstChild.focus();
    } }, `${countText(items.length - ROWS_FIRST)} more`);
    list.append(element("li", {}, more));
  }
  return list;
}

function bufferRow(page, id, value) {
  return element("li", {}, element("button", { type: "button", "data-buffer": id, onclick: () => page.pin({ buffer: id }) },
    kindSwatch(page.plan, id), element("span", { class: "name" }, bufferName(page.plan, id)),
    element("span", { class: "value" }, value ?? sizeText(page.plan.buffers.bytes[id]))));
}

function stepRow(page, at, value) {
  const step = page.view.steps[at];
  return element("li", {}, element("button", { type: "button", "data-step": at, onclick: () => page.pin({ step: at }) },
    swatch(`run-${RUN_NAMES[step.kind]}`), element("span", { class: "name" }, stepName(step)),
    element("span", { class: "value" }, value ?? countText(at))));
}

function fillPanel(page) {
  const { pinned } = page, panel = byId("panel");
  if (pinned?.buffer !== undefined) panel.replaceChildren(...bufferFacts(page, pinned.buffer));
  else if (pinned?.step !== undefined) panel.replaceChildren(...stepFacts(page, pinned.step));
  else panel.replaceChildren(...peakFacts(page));
  panel.scrollTop = 0;
}

function titleRow(page, text) {
  return element("div", { class: "head" }, element("h2", {}, text),
    element("button", { type: "button", id: "unpin", title: "Esc", onclick: () => page.pin(null) }, "Unpin"));
}

function bufferFacts(page, id) {
  const { plan, view } = page, b = plan.buffers, names = plan.strings;
  const uses = view.uses.get(id) ?? [];
  const end = b.offset[id] + b.bytes[id];
  const rows = facts([
    ["Kind", element("span", {}, kindSwatch(plan, id), ` ${kindName(plan, id)}`)],
    ["Shape", names[b.type[id]]],
    ["Size", bytesText(b.bytes[id])],
    ["Live", liveText(plan, id) + (b.carried[id] ? ", through every micro-batch" : "")],
    ["Addresses", `${countText(b.offset[id])} to ${countText(end)}`],
    ["Scope", names[b.scope[id]]],
    ["Source", names[b.where[id]]],
    ["In files", plan.files.get(id)],
    ["In the plan", `b${id}`], // its number in the plan's text
  ]);
  // An update reads what was there, and is the producer of what is there then.
  const made = uses.filter(({ access }) => access === WRITE || access === UPDATE);
  const used = uses.filter(({ access }) => access !== WRITE);
  const out = [titleRow(page, bufferName(plan, id)), rows];
  const remarks = bufferRemarks(plan, id);
  if (remarks.length) out.push(heading("Remarks"), ...remarkList(remarks));
  out.push(heading("Producers", countText(made.length)));
  if (made.length) out.push(longList(made.map(({ step, access }) => stepRow(page, step, useText(access, step)))));
  else out.push(element("p", { class: "note" }, madeElsewhere(page, id)));
  out.push(heading("Users", countText(used.length)));
  if (used.length) out.push(longList(used.map(({ step, access }) => stepRow(page, step, useText(access, step)))));
  return out;
}

const useText = (access, step) => (access === UPDATE ? `updates, ${countText(step)}` : countText(step));

// Why no instruction of this entry writes a buffer.
function madeElsewhere(page, id) {
  const kind = kindName(page.plan, id);
  if (kind === "inputs") return "Filled before the entry begins.";
  if (kind === "workspace") return "Workspace: written by the instruction that uses it.";
  return page.plan.buffers.entry[id] === NONE ? "Kept from one call to the next; this entry doesn't change it." : "None.";
}

function stepFacts(page, at) {
  const { plan, view } = page, step = view.steps[at], band = view.bands[step.band];
  const kernel = step.kernel === NONE ? "" : plan.strings[plan.kernels.name[step.kernel]];
  const out = [titleRow(page, stepName(step)), facts([
    ["Instruction", `${countText(at)} of ${countText(view.steps.length)}`],
    ["Segment", band.name + (band.times > 1 ? `, runs ${countText(band.times)} times` : "")],
    ["What", element("span", {}, swatch(`run-${RUN_NAMES[step.kind]}`), ` ${RUN_NAMES[step.kind]} ${kernel}`)],
    ["Stream", String(step.stream)],
    ["Phase", plan.phases[step.phase]],
    ["Counted", stepCost(step)],
    ["Predicted", `${timeText(step.time)}, limited by ${plan.limits[step.limit]}`],
    ["Live then", sizeText(view.total[at])],
    ["Source", step.where],
  ])];
  const remarks = stepRemarks(plan, step);
  if (remarks.length) out.push(heading("Remarks"), ...remarkList(remarks));
  if (step.waits.length) out.push(heading("Waits for"), longList(step.waits.map((from) => stepRow(page, from))));
  for (const access of [WRITE, UPDATE, READ, WORKSPACE]) {
    const ids = [...new Set(step.operands.filter((o) => o.access === access).map((o) => o.buffer))];
    const name = ACCESS_NAMES[access];
    if (ids.length) out.push(heading(name[0].toUpperCase() + name.slice(1)), longList(ids.map((id) => bufferRow(page, id))));
  }
  return out;
}

// What makes the peak, and what the passes say of the entry.
function peakFacts(page) {
  const { plan, view } = page, step = view.steps[view.peak];
  const out = [element("h2", {}, `At the peak, ${sizeText(view.total[view.peak])}`)];
  if (step) out.push(element("p", { class: "note" }, `Instruction ${countText(view.peak)} runs:`), element("ol", {}, stepRow(page, step.at)));
  out.push(heading("Ten largest buffers", "live then"), element("ol", {}, ...view.largest.map((id) => bufferRow(page, id))));
  const remarks = remarksOn(plan, view.entry?.name);
  if (remarks.length) out.push(heading("Remarks", `on ${view.entry.name}`), ...remarkList(remarks));
  return out;
}

const strong = (text) => element("strong", {}, text);

// One paragraph: the peak, the bound, fragmentation, kinds, the ten largest, the work.
function fillSummary(page) {
  const { plan, view } = page, { space, peak, total } = view, step = view.steps[peak];
  const most = total[peak], held = view.largest.reduce((sum, id) => sum + plan.buffers.bytes[id], 0);
  const kinds = view.load.map((line, kind) => [line[peak], kind]).filter(([bytes]) => bytes > 0).sort((x, y) => y[0] - x[0]);
  const parts = ["The memory of ", strong(view.entry?.name ?? "no entry"), " peaks at ", strong(sizeText(most))];
  if (step) parts.push(` at instruction ${countText(peak)} of ${countText(view.steps.length)}, ${stepName(step)}`,
    step.where ? ` (${step.where}). ` : ". ");
  else parts.push(". ");
  if (kinds.length) parts.push("Live then: ", kinds.map(([bytes, kind]) => `${plan.kinds[kind]} ${percentText(bytes, most)}`).join(", "),
    `; the ${view.largest.length === 10 ? "ten " : ""}largest buffers hold ${percentText(held, most)}. `);
  if (space) parts.push(`The arena of the ${space.name} has `, strong(sizeText(space.bytes)),
    `; no layout of its buffers needs less than ${sizeText(space.load)}, so fragmentation is `,
    strong(percentText(Math.max(space.bytes - space.load, 0), space.load, 2)), ". ");
  parts.push(`One run is ${flopText(view.flops)} with ${sizeText(view.bytes)} moved`);
  if (view.entry) parts.push(`, predicted to take ${timeText(view.entry.picoseconds)} on ${plan.machine}`);
  parts.push(".");
  byId("summary").replaceChildren(...parts);
}

// Kinds that the view has, as switches; kinds of instructions, as names.
function fillLegend(page) {
  const { plan, view } = page, present = new Set(view.ids.map((id) => plan.buffers.kind[id]));
  const items = [...present].sort((x, y) => x - y).map((kind) => element("li", {}, element("button",
    { type: "button", "data-kind": kind, "aria-pressed": String(!page.hidden.has(kind)), onclick: () => page.toggleKind(kind) },
    swatch(`kind-${plan.kinds[kind]}`), plan.kinds[kind], element("span", { class: "bytes", title: "live at the peak" }, sizeText(view.load[kind][view.peak])))));
  for (const kind of [...new Set(view.steps.map((step) => step.kind))].sort())
    items.push(element("li", { class: "runs" }, swatch(`run-${RUN_NAMES[kind]}`), RUN_NAMES[kind]));
  byId("legend").replaceChildren(...items);
}

// The card under the mouse.
function tipContent(page, hover) {
  const { plan, view } = page, b = plan.buffers, names = plan.strings;
  if (hover.area === "load") {
    const rows = view.load.map((line, kind) => [plan.kinds[kind], line[hover.position]]).filter(([, bytes]) => bytes > 0);
    return [element("h2", {}, `${sizeText(view.total[hover.position])} live`),
      ...rows.map(([kind, bytes]) => element("p", {}, swatch(`kind-${kind}`), ` ${kind} ${sizeText(bytes)}`))];
  }
  if (hover.buffer !== undefined) {
    const id = hover.buffer, remark = bufferRemarks(plan, id)[0];
    return [element("h2", {}, bufferName(plan, id)),
      element("p", { class: "plain" }, kindSwatch(plan, id), ` ${kindName(plan, id)} ${names[b.type[id]]}`),
      element("p", { class: "plain" }, bytesText(b.bytes[id])), element("p", {}, `live ${liveText(plan, id)}`),
      names[b.where[id]] ? element("p", {}, names[b.where[id]]) : null,
      remark ? element("p", {}, `${remark.pass}: ${remark.text}`) : null];
  }
  if (hover.step !== undefined) {
    const step = view.steps[hover.step];
    return [element("h2", {}, stepName(step)),
      element("p", { class: "plain" }, swatch(`run-${RUN_NAMES[step.kind]}`), ` ${RUN_NAMES[step.kind]}, instruction ${countText(hover.step)}`),
      element("p", { class: "plain" }, stepCost(step)), step.where ? element("p", {}, step.where) : null];
  }
  return null;
}
