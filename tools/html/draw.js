// Paints the chart: the base (all blocks) when the window or the choice changes, the overlay (what
// is pinned or under the mouse) on every move. No position takes less than a pixel's column, so the
// cost is that of the blocks in the window and of the pixels.
const FONT = '11.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif';

// Colours of the scheme in use, as the browser resolves them.
function readColors(plan) {
  const probe = element("span");
  document.body.append(probe);
  const resolve = (color) => {
    probe.style.color = color;
    return getComputedStyle(probe).color;
  };
  const read = (name) => resolve(`var(--${name})`);
  // Opaque, so that what is crowded does not become darker.
  const faint = (name) => resolve(`color-mix(in srgb, var(--${name}) 18%, var(--sheet))`);
  const colors = { kind: plan.kinds.map((kind) => read(`kind-${kind}`)), run: RUN_NAMES.map((name) => read(`run-${name}`)) };
  colors.shade = plan.kinds.map((kind) => read(`shade-${kind}`));
  colors.faint = plan.kinds.map((kind) => faint(`kind-${kind}`));
  colors.faintRun = RUN_NAMES.map((name) => faint(`run-${name}`));
  for (const name of ["sheet", "ink", "soft", "line", "grid", "accent", "mark"]) colors[name] = read(name);
  probe.remove();
  // Names on blocks: dark on light kinds, light on dark ones.
  colors.onKind = colors.kind.map((color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map(Number);
    return 0.299 * r + 0.587 * g + 0.114 * b > 125 ? "#14181c" : "#ffffff";
  });
  return colors;
}

function prepare(canvas, { width, height }) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  return ctx;
}

function clipped(ctx, { x, y, w, h }, paint) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, w, h);
  ctx.clip();
  paint();
  ctx.restore();
}

function line(ctx, color, x0, y0, x1, y1, dash = []) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  ctx.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  ctx.stroke();
  ctx.setLineDash([]);
}

// The text, cut to fit; nothing where less than three characters would.
function cutText(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let keep = Math.floor((text.length * room) / ctx.measureText(text).width) - 1;
  while (keep > 2 && ctx.measureText(`${text.slice(0, keep)}…`).width > room) keep--;
  return keep > 2 ? `${text.slice(0, keep)}…` : "";
}

// Round values from low to high, about count of them. Bytes are round in powers of two.
function ticks(low, high, count, binary) {
  const least = Math.max((high - low) / Math.max(count, 1), 1e-9);
  const power = binary ? 2 ** Math.ceil(Math.log2(least)) : 10 ** Math.floor(Math.log10(least));
  const step = binary ? Math.max(power, 1) : Math.max([1, 2, 5, 10].find((n) => n * power >= least) * power, 1);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high && out.length < 100; at += step) out.push(at);
  return out;
}

// A tick's size, exactly: in the largest unit of which steps are eighths at least.
function tickText(bytes, step) {
  if (bytes === 0) return "0";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const unit = clamp(Math.floor(Math.log2(8 * step) / 10), 0, 6);
  return `${countText(bytes / 1024 ** unit)} ${units[unit]}`;
}

// The positions in the window in columns of at least a pixel: [{x, w, first, end}].
function columnsShown(chart) {
  const out = [], end = chart.lastShown();
  for (let at = chart.firstShown(); at <= end;) {
    const first = at, x = chart.xOf(chart.edge[first]);
    while (at <= end && chart.xOf(chart.edge[at + 1]) - x < 1) at++;
    at = Math.min(Math.max(at + 1, first + 1), end + 1);
    out.push({ x, w: chart.xOf(chart.edge[at]) - x, first, end: at });
  }
  return out;
}

class Painter {
  constructor(page, base, overlay) {
    this.page = page;
    this.base = base;
    this.overlay = overlay;
  }

  paint() {
    const { page } = this, { chart } = page;
    const ctx = (this.ctx = prepare(this.base, chart.areas));
    this.columns = columnsShown(chart);
    this.paintBands(ctx);
    this.paintLoad(ctx);
    this.paintMap(ctx);
    this.paintRuns(ctx);
    this.paintTime(ctx);
    this.paintPeak(ctx);
    // What is shown, for whoever can't see it.
    const { map, run } = chart.areas, { dataset } = this.base;
    dataset.map = [map.x, map.y, map.w, map.h].join(" ");
    dataset.run = [run.x, run.y, run.w, run.h].join(" ");
    dataset.time = `${chart.t0} ${chart.t1}`;
    dataset.addresses = `${chart.a0} ${chart.a1}`;
    this.paintOverlay();
  }

  // Where segments and, in them, phases begin, and how often each segment runs.
  paintBands(ctx) {
    const { page } = this, { chart } = page, { load, run } = chart.areas;
    for (const { band, phase, first, end } of page.view.phases) {
      const { name, times } = page.view.bands[band];
      const x0 = chart.xOf(chart.edge[first]), x1 = chart.xOf(chart.edge[end]);
      if (x1 < load.x || x0 > load.x + load.w) continue;
      if (x0 > load.x) line(ctx, page.colors.line, x0, load.y - 18, x0, run.y + run.h);
      const left = Math.max(x0, load.x), room = Math.min(x1, load.x + load.w - 70) - left - 8;
      const what = name.endsWith(".body") ? page.plan.phases[phase] : name.split(".").pop();
      ctx.fillStyle = page.colors.soft;
      ctx.textAlign = "left";
      ctx.fillText(cutText(ctx, what + (times > 1 ? `, ${countText(times)} times` : ""), room), left + 5, load.y - 12);
    }
  }

  paintAddresses(ctx, { x, y, w, h }, low, high) {
    const { colors } = this.page;
    const values = ticks(low, high, h / 34, true);
    ctx.textAlign = "right";
    for (const value of values) {
      const at = y + h - ((value - low) / (high - low)) * h;
      line(ctx, colors.grid, x, at, x + w, at);
      ctx.fillStyle = colors.soft;
      ctx.fillText(tickText(value, (values[1] ?? 2 * value) - values[0]), x - 9, at);
    }
  }

  // Steps of live bytes, a colour a kind, the sum of all up to it painted from the top one down.
  // Of the positions in one pixel the one with most alive is shown: no peak is lost.
  paintLoad(ctx) {
    const { page, columns } = this, { view, colors, hidden } = page, { load } = page.chart.areas;
    const most = Math.max(view.total[view.peak], 1) * 1.1;
    this.paintAddresses(ctx, load, 0, most);
    clipped(ctx, load, () => {
      const heights = columns.map(({ first, end }) => {
        let best = first;
        for (let at = first + 1; at < end; at++) if (view.total[at] > view.total[best]) best = at;
        let sum = 0;
        return view.load.map((line, kind) => (sum += hidden.has(kind) ? 0 : line[best]));
      });
      for (let kind = view.load.length - 1; kind >= 0; kind--) {
        if (hidden.has(kind)) continue;
        ctx.fillStyle = colors.kind[kind];
        ctx.beginPath();
        ctx.moveTo(columns[0].x, load.y + load.h);
        columns.forEach(({ x, w }, i) => {
          const y = load.y + load.h - (heights[i][kind] / most) * load.h;
          ctx.lineTo(x, y);
          ctx.lineTo(x + w, y);
        });
        const { x, w } = columns[columns.length - 1];
        ctx.lineTo(x + w, load.y + load.h);
        ctx.fill();
      }
    });
    line(ctx, colors.line, load.x, load.y + load.h, load.x + load.w, load.y + load.h);
    this.title(ctx, load, "live bytes");
  }

  title(ctx, { x, y, w }, text) {
    ctx.fillStyle = this.page.colors.soft;
    ctx.textAlign = "right";
    ctx.fillText(text, x + w, y - 10);
  }

  paintMap(ctx) {
    const { page } = this, { chart, view, colors, plan } = page, { map } = chart.areas, b = plan.buffers;
    this.paintAddresses(ctx, map, chart.a0, chart.a1);
    clipped(ctx, map, () => {
      // What is dimmed lies below what is not.
      const layers = [[], []];
      for (const id of view.ids) if (page.isShown(id)) layers[page.isLit(id) ? 1 : 0].push(id);
      for (const id of layers[0]) this.paintBlock(ctx, id, colors.faint[b.kind[id]]);
      for (const id of layers[1]) this.paintBlock(ctx, id, (plan.shade[id] ? colors.shade : colors.kind)[b.kind[id]]);
    });
    line(ctx, colors.line, map.x, map.y + map.h, map.x + map.w, map.y + map.h);
    this.title(ctx, map, "addresses");
  }

  // A hair's breadth lies between blocks that are large enough for it; names stand on large ones.
  paintBlock(ctx, id, color) {
    const { page } = this, { map } = page.chart.areas;
    let [x, y, w, h] = page.chart.block(page.plan.buffers, id);
    if (x + w < map.x || x > map.x + map.w || y + h < map.y || y > map.y + map.h) return;
    const right = Math.min(Math.round(x + w), map.x + map.w + 2), low = Math.min(Math.round(y + h), map.y + map.h + 2);
    [x, y] = [Math.max(Math.round(x), map.x - 2), Math.max(Math.round(y), map.y - 2)];
    [w, h] = [Math.max(right - x, 1), Math.max(low - y, 1)];
    ctx.fillStyle = color;
    ctx.fillRect(x, y, w > 4 ? w - 1 : w, h > 4 ? h - 1 : h);
    if (w < 56 || h < 16 || !page.isLit(id)) return;
    const left = Math.max(x, map.x) + 6;
    const middle = (Math.max(y, map.y) + Math.min(low, map.y + map.h)) / 2;
    ctx.fillStyle = page.colors.onKind[page.plan.buffers.kind[id]];
    ctx.textAlign = "left";
    ctx.fillText(cutText(ctx, bufferName(page.plan, id), Math.min(right, map.x + map.w) - left - 6), left, middle);
  }

  // A lane a stream: FLOP up, bytes moved down, each in proportion to the largest of the entry.
  paintRuns(ctx) {
    const { page, columns } = this, { view, colors } = page, { run } = page.chart.areas;
    const most = { flops: 1, bytes: 1 };
    for (const step of view.steps) for (const field of ["flops", "bytes"]) most[field] = Math.max(most[field], step[field]);
    this.title(ctx, run, "FLOP up, bytes down");
    view.streams.forEach((stream, lane) => {
      const top = run.y + lane * run.lane, middle = top + run.lane / 2, half = run.lane / 2 - 2;
      ctx.fillStyle = colors.soft;
      ctx.textAlign = "right";
      if (run.lane >= 12) ctx.fillText(`stream ${stream}`, run.x - 9, middle);
      clipped(ctx, { ...run, y: top, h: run.lane }, () => {
        for (const { x, w, first, end } of columns) {
          const biggest = { flops: null, bytes: null };
          for (let at = first; at < end; at++) {
            const step = view.steps[at];
            if (!step || step.stream !== stream) continue;
            for (const field of ["flops", "bytes"])
              if (!biggest[field] || step[field] > biggest[field][field]) biggest[field] = step;
          }
          const room = w > 4 ? w - 1 : Math.max(w, 1);
          this.paintBar(ctx, biggest.flops, x, room, middle, biggest.flops && -half * (biggest.flops.flops / most.flops));
          this.paintBar(ctx, biggest.bytes, x, room, middle, biggest.bytes && half * (biggest.bytes.bytes / most.bytes));
        }
        line(ctx, colors.line, run.x, middle, run.x + run.w, middle);
      });
      this.nameSteps(ctx, stream, top);
    });
  }

  paintBar(ctx, step, x, w, middle, height) {
    if (!step) return;
    const { page } = this;
    ctx.fillStyle = (page.isStepLit(step) ? page.colors.run : page.colors.faintRun)[step.kind];
    const tall = Math.max(Math.abs(height), 1);
    ctx.fillRect(x, height < 0 ? middle - tall : middle, w, tall);
  }

  // Only where the window shows few enough instructions.
  nameSteps(ctx, stream, top) {
    const { page } = this, { chart, view, colors } = page, { run } = chart.areas;
    if (run.lane < 34) return;
    ctx.fillStyle = colors.ink;
    ctx.strokeStyle = colors.sheet;
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    ctx.textAlign = "left";
    for (const { x, w, first } of this.columns) {
      const step = view.steps[first];
      if (w < 48 || !step || step.stream !== stream) continue;
      const left = Math.max(x, run.x) + 4, right = Math.min(x + w, run.x + run.w);
      const text = cutText(ctx, stepName(step), right - left - 4);
      ctx.strokeText(text, left, top + 9); // a halo, because bars may be behind
      ctx.fillText(text, left, top + 9);
    }
  }

  paintTime(ctx) {
    const { page } = this, { chart, colors } = page, { run } = chart.areas, y = run.y + run.h;
    line(ctx, colors.line, run.x, y, run.x + run.w, y);
    ctx.textAlign = "center";
    let free = run.x - 20; // On weighted axes values may crowd: those that would touch are left out.
    for (const value of ticks(chart.firstShown(), chart.lastShown(), run.w / 90, false)) {
      const x = chart.xOf(chart.edge[value]), text = countText(value), half = ctx.measureText(text).width / 2;
      if (x < run.x || x > run.x + run.w || x - half < free) continue;
      line(ctx, colors.soft, x, y, x, y + 4);
      ctx.fillStyle = colors.soft;
      ctx.fillText(text, x, y + 13);
      free = x + half + 12;
    }
  }

  paintPeak(ctx) {
    const { page } = this, { chart, view, colors } = page, { load, run } = chart.areas;
    const at = (chart.edge[view.peak] + chart.edge[view.peak + 1]) / 2, x = chart.xOf(at);
    if (x < load.x || x > load.x + load.w) return;
    line(ctx, colors.mark, x, load.y, x, run.y + run.h, [3, 3]);
    const text = `peak ${sizeText(view.total[view.peak])}`, room = ctx.measureText(text).width;
    const onLeft = x + room + 10 > load.x + load.w;
    ctx.fillStyle = colors.sheet;
    ctx.globalAlpha = 0.85;
    ctx.fillRect(onLeft ? x - room - 10 : x + 2, load.y, room + 8, 15);
    ctx.globalAlpha = 1;
    ctx.fillStyle = colors.mark;
    ctx.textAlign = onLeft ? "right" : "left";
    ctx.fillText(text, onLeft ? x - 6 : x + 6, load.y + 8);
  }

  paintOverlay() {
    const { page } = this, { chart, view, colors, hover, pinned } = page, { load, map, run } = chart.areas;
    const ctx = prepare(this.overlay, chart.areas);
    if (pinned?.buffer !== undefined && view.shown.has(pinned.buffer)) {
      this.outline(ctx, pinned.buffer, colors.ink, 2);
      this.markUses(ctx, pinned.buffer);
    }
    if (pinned?.step !== undefined) this.markStep(ctx, pinned.step);
    if (!hover) return;
    if (hover.buffer !== undefined) this.outline(ctx, hover.buffer, colors.ink, 1.5);
    const x = chart.xOf((chart.edge[hover.position] + chart.edge[hover.position + 1]) / 2);
    if (x < load.x || x > load.x + load.w) return;
    line(ctx, colors.soft, x, load.y, x, run.y + run.h);
    const text = `${countText(hover.position)} · ${sizeText(view.total[hover.position])} live`;
    const room = ctx.measureText(text).width + 14, left = clamp(x - room / 2, map.x, map.x + map.w - room);
    ctx.fillStyle = colors.ink;
    ctx.beginPath();
    ctx.roundRect(left, run.y + run.h + 3, room, 18, 4);
    ctx.fill();
    ctx.fillStyle = colors.sheet;
    ctx.textAlign = "left";
    ctx.fillText(text, left + 7, run.y + run.h + 12.5);
  }

  outline(ctx, id, color, width, dash = []) {
    const { chart, plan } = this.page;
    clipped(ctx, chart.areas.map, () => {
      const [x, y, w, h] = chart.block(plan.buffers, id);
      ctx.strokeStyle = color;
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.strokeRect(x - 1, y - 1, w + 2, h + 2);
      ctx.setLineDash([]);
    });
  }

  // In the lanes: what writes the buffer points up, what reads it down.
  markUses(ctx, id) {
    const { chart, view, colors } = this.page, { run } = chart.areas;
    clipped(ctx, { ...run, y: run.y - 8, h: run.h + 12 }, () => {
      for (const { step, access } of view.uses.get(id) ?? []) {
        const x = chart.xOf((chart.edge[step] + chart.edge[step + 1]) / 2);
        if (x < run.x - 6 || x > run.x + run.w + 6) continue;
        const lane = view.streams.indexOf(view.steps[step].stream), top = run.y + lane * run.lane;
        const tip = access === READ ? top + run.lane - 7 : top + 7, base = access === READ ? top + run.lane + 1 : top - 1;
        ctx.fillStyle = access === READ ? colors.accent : colors.mark;
        ctx.beginPath();
        ctx.moveTo(x, tip);
        ctx.lineTo(x - 4.5, base);
        ctx.lineTo(x + 4.5, base);
        ctx.fill();
      }
    });
  }

  // A column through all areas; what the instruction writes is outlined, what it reads dashed.
  markStep(ctx, at) {
    const { page } = this, { chart, view, colors } = page, { load, run } = chart.areas;
    const x0 = chart.xOf(chart.edge[at]), x1 = Math.max(chart.xOf(chart.edge[at + 1]), x0 + 1);
    clipped(ctx, { ...load, h: run.y + run.h - load.y }, () => {
      ctx.fillStyle = colors.accent;
      ctx.globalAlpha = 0.18;
      ctx.fillRect(x0, load.y, x1 - x0, run.y + run.h - load.y);
      ctx.globalAlpha = 1;
    });
    for (const { buffer, access } of view.steps[at].operands)
      if (view.shown.has(buffer))
        this.outline(ctx, buffer, access === READ ? colors.accent : colors.mark, 1.5, access === READ ? [4, 3] : []);
  }
}
