// What is looked at, and what mouse, keys and controls do to it.
class Page {
  constructor(plan) {
    this.plan = plan;
    this.hidden = new Set(); // kinds
    this.hover = null; // {area, position, buffer, step}
    this.pinned = null; // {buffer} or {step}
    this.query = "";
    this.found = []; // what matches: {buffer} and {step}, in the order of time
    this.foundBuffers = this.foundSteps = null; // the same as sets; null without a search
    this.painter = new Painter(this, byId("plot"), byId("overlay"));
    this.table = new Table(this);
    this.fillChoices();
    byId("entry").value = String(plan.entry);
    this.look(plan.entry, 0);
    this.listen();
    this.setTheme(null);
    new ResizeObserver(() => this.resize()).observe(byId("map"));
  }

  // Choices between one thing and itself are left out.
  fillChoices() {
    const { plan } = this, option = (text, value) => element("option", { value: String(value) }, text);
    byId("model").textContent = plan.model || "plan";
    document.title = `${plan.model || "Plan"}: memory and time`;
    byId("built").textContent = [plan.target, plan.tool, plan.flags].filter(Boolean).join(" · ");
    byId("entry").append(...plan.entries.map((entry, at) => option(entry.name, at)));
    byId("space").append(...plan.spaces.map((space, at) => option(space.name, at)));
    byId("axis").append(option("instructions", ""), option("FLOP", "flops"), option("bytes moved", "bytes"),
      option("predicted time", "time"));
    byId("entry-label").hidden = plan.entries.length < 2;
    byId("space-label").hidden = plan.spaces.length < 2;
  }

  look(entry, space) {
    this.view = viewOf(this.plan, entry, space);
    const edge = axisOf(this.view, byId("axis").value);
    if (this.chart) this.chart.show(this.view, edge);
    else this.chart = new Chart(this.view, edge);
    this.hover = this.pinned = null;
    byId("tip").hidden = true;
    byId("plot").setAttribute("aria-label", `Memory map of ${this.view.entry?.name ?? "the plan"}: ` +
      `${countText(this.view.ids.length)} buffers over ${countText(this.view.steps.length)} instructions`);
    fillSummary(this);
    fillLegend(this);
    fillPanel(this);
    this.search(this.query);
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = byId("map");
    if (clientWidth > 0) this.chart.resize(clientWidth, clientHeight);
    this.refresh();
  }

  // One painting a frame, however many reasons.
  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!byId("map").hidden) this.painter.paint();
    });
  }

  isShown(id) {
    return !this.hidden.has(this.plan.buffers.kind[id]);
  }

  isFound(id) {
    return this.foundBuffers === null || this.foundBuffers.has(id);
  }

  isStepFound(step) {
    return this.foundSteps === null || this.foundSteps.has(step.at);
  }

  // A search dims what it doesn't find; without one, a pinned instruction what it doesn't use and a
  // pinned buffer nothing but instructions.
  isLit(id) {
    if (this.foundBuffers) return this.foundBuffers.has(id);
    return !this.litBuffers || this.litBuffers.has(id);
  }

  isStepLit(step) {
    if (this.foundSteps) return this.foundSteps.has(step.at);
    return !this.litSteps || this.litSteps.has(step.at);
  }

  // Pins a buffer or an instruction of this view, or nothing.
  pin(target) {
    if (target?.buffer !== undefined && !this.view.shown.has(target.buffer)) target = null;
    this.pinned = target;
    const { plan, view, chart } = this, b = plan.buffers;
    this.litBuffers = this.litSteps = null;
    if (target?.step !== undefined) {
      this.litBuffers = new Set(view.steps[target.step].operands.map((operand) => operand.buffer));
      this.litSteps = new Set([target.step]);
      chart.reveal(target.step, target.step);
      this.say(`${stepName(view.steps[target.step])}, instruction ${countText(target.step)}, ${stepCost(view.steps[target.step])}`);
    } else if (target) {
      const id = target.buffer, [first, end] = chart.lifeOf(b, id);
      this.litSteps = new Set((view.uses.get(id) ?? []).map((use) => use.step));
      chart.reveal(first, end, b.offset[id], b.offset[id] + b.bytes[id]);
      this.say(`${bufferName(plan, id)}, ${kindName(plan, id)}, ${plan.strings[b.type[id]]}, ${sizeText(b.bytes[id])}, live ${liveText(plan, id)}`);
    }
    fillPanel(this);
    this.table.fill();
    this.refresh();
  }

  say(text) {
    byId("spoken").textContent = text;
  }

  // The buffer before or behind the pinned one, by first use and address.
  pinNext(by) {
    const ids = this.view.ids.filter((id) => this.isShown(id) && this.isFound(id));
    if (ids.length === 0) return;
    const at = ids.indexOf(this.pinned?.buffer);
    this.pin({ buffer: ids[at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length] });
  }

  search(query) {
    const { plan, view } = this, word = query.trim().toLowerCase();
    this.query = query;
    this.foundBuffers = this.foundSteps = null;
    this.found = [];
    if (word) {
      const ids = view.ids.filter((id) => plan.words[id].includes(word));
      const steps = view.steps.filter((step) => step.name.toLowerCase().includes(word) || step.where.toLowerCase().includes(word));
      this.foundBuffers = new Set(ids);
      this.foundSteps = new Set(steps.map((step) => step.at));
      this.found = [...ids.map((buffer) => ({ buffer })), ...steps.map((step) => ({ step: step.at }))];
    }
    byId("found").textContent = word ? `${countText(this.found.length)} found` : "";
    this.table.restart();
    this.refresh();
  }

  pinFound(by) {
    const { found, pinned } = this;
    if (found.length === 0) return;
    const at = found.findIndex(({ buffer, step }) => pinned && buffer === pinned.buffer && step === pinned.step);
    const next = found[at < 0 ? (by > 0 ? 0 : found.length - 1) : (at + by + found.length) % found.length];
    this.pin(next);
    byId("found").textContent = `${countText(found.indexOf(next) + 1)} of ${countText(found.length)}`;
  }

  toggleKind(kind) {
    if (!this.hidden.delete(kind)) this.hidden.add(kind);
    byId("legend").querySelector(`[data-kind="${kind}"]`).setAttribute("aria-pressed", String(!this.hidden.has(kind)));
    this.table.restart();
    this.refresh();
  }

  showView(name) {
    byId("map").hidden = name !== "map";
    byId("table").hidden = name !== "table";
    byId("show-map").setAttribute("aria-pressed", String(name === "map"));
    byId("show-table").setAttribute("aria-pressed", String(name === "table"));
    this.table.fill();
    if (name === "map") this.resize();
  }

  isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // null follows the system.
  setTheme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    this.colors = readColors(this.plan);
    byId("theme").textContent = this.isDark() ? "Light" : "Dark";
    this.refresh();
  }

  goToPeak() {
    const { chart, view } = this, middle = (chart.edge[view.peak] + chart.edge[view.peak + 1]) / 2;
    chart.pan((middle - (chart.t0 + chart.t1) / 2) / (chart.t1 - chart.t0), 0);
    this.pin(null);
    this.say(`The peak, ${sizeText(view.total[view.peak])}, is at instruction ${countText(view.peak)}`);
  }

  listen() {
    byId("entry").onchange = byId("space").onchange = () => {
      this.litBuffers = this.litSteps = null;
      this.look(Number(byId("entry").value), Number(byId("space").value || 0));
    };
    byId("axis").onchange = () => {
      this.chart.retime(axisOf(this.view, byId("axis").value));
      this.refresh();
    };
    byId("search").oninput = () => this.search(byId("search").value);
    byId("search").onkeydown = (event) => {
      if (event.key === "Enter") this.pinFound(event.shiftKey ? -1 : 1);
    };
    byId("show-map").onclick = () => this.showView("map");
    byId("show-table").onclick = () => this.showView("table");
    byId("theme").onclick = () => this.setTheme(this.isDark() ? "light" : "dark");
    byId("help-open").onclick = () => byId("help").showModal();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.setTheme(null));
    document.addEventListener("keydown", (event) => this.onKey(event));
    this.listenToPlot(byId("plot"));
  }

  listenToPlot(plot) {
    let drag = null; // {x, y, moved}: where the button went down
    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      drag = { x: event.offsetX, y: event.offsetY, moved: false };
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointermove", (event) => {
      const { offsetX: x, offsetY: y } = event;
      if (!drag) return this.hoverAt(x, y);
      if (!drag.moved && Math.hypot(x - drag.x, y - drag.y) < 4) return;
      const { map } = this.chart.areas;
      this.chart.pan((drag.x - x) / map.w, (y - drag.y) / map.h);
      drag = { x, y, moved: true };
      plot.classList.add("dragged");
      byId("tip").hidden = true;
      this.refresh();
    });
    plot.addEventListener("pointerup", (event) => {
      if (drag && !drag.moved) this.clickAt(event.offsetX, event.offsetY);
      drag = null;
      plot.classList.remove("dragged");
    });
    plot.addEventListener("pointercancel", () => (drag = null));
    plot.addEventListener("pointerleave", () => {
      this.hover = null;
      byId("tip").hidden = true;
      this.painter.paintOverlay();
    });
    plot.addEventListener("dblclick", () => this.fitPinned());
    plot.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
  }

  under(x, y) {
    return this.chart.under(this.plan.buffers, x, y, (id) => this.isShown(id));
  }

  // The card stands beside the mouse, on the side where there is room.
  hoverAt(x, y) {
    const tip = byId("tip"), { width, height } = this.chart.areas;
    this.hover = this.under(x, y);
    const content = this.hover && tipContent(this, this.hover);
    tip.hidden = !content;
    if (content) {
      tip.replaceChildren(...content.filter(Boolean));
      const { offsetWidth, offsetHeight } = tip;
      tip.style.left = `${x + 16 + offsetWidth > width ? Math.max(x - 12 - offsetWidth, 4) : x + 16}px`;
      tip.style.top = `${clamp(y + 14, 4, Math.max(height - offsetHeight - 4, 4))}px`;
    }
    this.painter.paintOverlay();
  }

  clickAt(x, y) {
    const hit = this.under(x, y);
    if (hit?.buffer !== undefined) this.pin({ buffer: hit.buffer });
    else if (hit?.step !== undefined) this.pin({ step: hit.step });
    else this.pin(null);
  }

  fitPinned() {
    if (this.pinned?.buffer === undefined) return;
    this.chart.fit(this.plan.buffers, this.pinned.buffer);
    this.refresh();
  }

  // Shift turns a wheel sideways in some browsers: then deltaX has it.
  onWheel(event) {
    event.preventDefault();
    const { map } = this.chart.areas, delta = event.deltaY || event.deltaX;
    const factor = Math.exp(clamp(delta * (event.deltaMode === 1 ? 18 : 1), -400, 400) * 0.0015);
    if (event.shiftKey) this.chart.zoomAddresses(factor, clamp((map.y + map.h - event.offsetY) / map.h, 0, 1));
    else this.chart.zoomTime(factor, clamp((event.offsetX - map.x) / map.w, 0, 1));
    this.hoverAt(event.offsetX, event.offsetY);
    this.refresh();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const typing = event.target.matches("input[type=search], select");
    if (event.key === "Escape") this.escape();
    else if (!typing && this.doKey(event.key, event.target)) event.preventDefault();
  }

  escape() {
    if (this.query) {
      byId("search").value = "";
      this.search("");
    } else this.pin(null);
    if (document.activeElement === byId("search")) byId("plot").focus();
  }

  // Where keys zoom: at the mouse, at what is pinned, or at the peak, if it is in the window.
  anchor() {
    const { chart, view, hover, pinned } = this, b = this.plan.buffers;
    let [first, end] = [view.peak, view.peak];
    if (hover) [first, end] = [hover.position, hover.position];
    else if (pinned?.step !== undefined) [first, end] = [pinned.step, pinned.step];
    else if (pinned) [first, end] = chart.lifeOf(b, pinned.buffer);
    const share = ((chart.edge[first] + chart.edge[end + 1]) / 2 - chart.t0) / (chart.t1 - chart.t0);
    return share >= 0 && share <= 1 ? share : 0.5;
  }

  // Whether the key means something. Those that move also scroll what has the focus: on the map only.
  doKey(key, target) {
    const { chart } = this;
    const moves = {
      ArrowLeft: () => chart.pan(-0.1, 0), ArrowRight: () => chart.pan(0.1, 0),
      ArrowDown: () => chart.pan(0, -0.1), ArrowUp: () => chart.pan(0, 0.1),
      PageUp: () => chart.zoomAddresses(0.7), PageDown: () => chart.zoomAddresses(1 / 0.7),
    };
    const keys = {
      "+": () => chart.zoomTime(0.7, this.anchor()), "=": () => chart.zoomTime(0.7, this.anchor()),
      "-": () => chart.zoomTime(1 / 0.7, this.anchor()),
      0: () => chart.reset(), p: () => this.goToPeak(), f: () => this.fitPinned(),
      "[": () => this.pinNext(-1), "]": () => this.pinNext(1),
      m: () => this.showView("map"), t: () => this.showView("table"),
      d: () => byId("theme").click(), "/": () => byId("search").focus(), "?": () => byId("help").showModal(),
    };
    const act = keys[key] ?? (target === byId("plot") || target === document.body ? moves[key] : undefined);
    if (!act) return false;
    act();
    this.refresh();
    return true;
  }
}

new Page(readPlan(byId("plan").textContent));
