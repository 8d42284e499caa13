// The chart's geometry: three areas above each other on one axis of time (what is live, the map,
// what runs), the window of time and addresses that they show, and what lies under a point.
const MARGIN = { left: 76, right: 16, top: 26, gap: 22, bottom: 24 };
const TIME_SPAN_LEAST = 1e-7, ADDRESS_SPAN_LEAST = 64;

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function areasOf(width, height, streams) {
  const x = MARGIN.left, w = Math.max(width - MARGIN.left - MARGIN.right, 40);
  const loadHeight = clamp(Math.round(height * 0.19), 56, 150);
  const lane = clamp(Math.round((height * 0.3) / streams), 16, 64);
  const runHeight = Math.min(lane * streams, Math.round(height * 0.4));
  const mapTop = MARGIN.top + loadHeight + MARGIN.gap;
  const runTop = height - MARGIN.bottom - runHeight;
  return {
    width, height,
    load: { x, y: MARGIN.top, w, h: loadHeight },
    map: { x, y: mapTop, w, h: Math.max(runTop - MARGIN.gap - mapTop, 40) },
    run: { x, y: runTop, w, h: runHeight, lane: runHeight / streams },
  };
}

// A window onto the view: t0 .. t1 of the axis (0 .. 1), a0 .. a1 of the addresses. Whatever it is
// told, it stays inside them.
class Chart {
  constructor(view, edge) {
    this.areas = areasOf(800, 600, 1);
    this.show(view, edge);
  }

  show(view, edge) {
    this.view = view;
    this.edge = edge;
    this.reset();
  }

  // Another axis of time: the same positions stay in the window.
  retime(edge) {
    const first = positionAt(this.edge, this.t0), end = positionAt(this.edge, this.t1) + 1;
    const whole = this.t0 === 0 && this.t1 === 1;
    this.edge = edge;
    [this.t0, this.t1] = whole ? [0, 1] : [edge[first], edge[end]];
    this.keepInside();
  }

  resize(width, height) {
    this.areas = areasOf(width, height, this.view.streams.length);
  }

  reset() {
    this.t0 = 0;
    this.t1 = 1;
    this.a0 = 0;
    this.a1 = this.view.top * 1.02;
  }

  keepInside() {
    const least = Math.min(1, Math.max(TIME_SPAN_LEAST, 0.5 / this.view.length / 50));
    const span = clamp(this.t1 - this.t0, least, 1);
    this.t0 = clamp(this.t0, 0, 1 - span);
    this.t1 = this.t0 + span;
    const top = this.view.top * 1.02, high = clamp(this.a1 - this.a0, Math.min(ADDRESS_SPAN_LEAST, top), top);
    this.a0 = clamp(this.a0, 0, top - high);
    this.a1 = this.a0 + high;
  }

  // factor below 1 comes nearer; what lies at the share of the window stays where it is.
  zoomTime(factor, share = 0.5) {
    const at = this.t0 + share * (this.t1 - this.t0), span = (this.t1 - this.t0) * factor;
    this.t0 = at - share * span;
    this.t1 = this.t0 + span;
    this.keepInside();
  }

  zoomAddresses(factor, share = 0.5) {
    const at = this.a0 + share * (this.a1 - this.a0), span = (this.a1 - this.a0) * factor;
    this.a0 = at - share * span;
    this.a1 = this.a0 + span;
    this.keepInside();
  }

  // By shares of the window.
  pan(right, up) {
    const time = right * (this.t1 - this.t0), addresses = up * (this.a1 - this.a0);
    this.t0 += time;
    this.t1 += time;
    this.a0 += addresses;
    this.a1 += addresses;
    this.keepInside();
  }

  lifeOf(b, id) {
    return [b.first[id], Math.min(last(b, id), this.view.length - 1)];
  }

  // The block with as much room about it as it takes itself.
  fit(b, id) {
    const [first, end] = this.lifeOf(b, id), t0 = this.edge[first], t1 = this.edge[end + 1];
    const time = Math.max(t1 - t0, 3 / this.view.length), high = Math.max(b.bytes[id], this.view.top * 1e-6);
    [this.t0, this.t1] = [t0 - time, t1 + time];
    [this.a0, this.a1] = [b.offset[id] - high, b.offset[id] + 2 * high];
    this.t1 = this.t0 + Math.min(this.t1 - this.t0, 1);
    this.keepInside();
  }

  // Moves no more than is needed to see the positions, and the addresses where given.
  reveal(first, end, low, high) {
    const t0 = this.edge[first], t1 = this.edge[end + 1];
    if (t1 < this.t0 || t0 > this.t1) this.pan(((t0 + t1) / 2 - (this.t0 + this.t1) / 2) / (this.t1 - this.t0), 0);
    if (low !== undefined && (high < this.a0 || low > this.a1))
      this.pan(0, ((low + high) / 2 - (this.a0 + this.a1) / 2) / (this.a1 - this.a0));
  }

  xOf(place) {
    return this.areas.map.x + ((place - this.t0) / (this.t1 - this.t0)) * this.areas.map.w;
  }

  yOf(address) {
    const { y, h } = this.areas.map;
    return y + h - ((address - this.a0) / (this.a1 - this.a0)) * h;
  }

  firstShown() {
    return positionAt(this.edge, this.t0);
  }

  lastShown() {
    return positionAt(this.edge, this.t1);
  }

  // Pixels of a block: left, top, width, height; at least one each way, so that nothing vanishes.
  block(b, id) {
    const [first, end] = this.lifeOf(b, id);
    const x = this.xOf(this.edge[first]), y = this.yOf(b.offset[id] + b.bytes[id]);
    return [x, y, Math.max(this.xOf(this.edge[end + 1]) - x, 1), Math.max(this.yOf(b.offset[id]) - y, 1)];
  }

  // {area, position, address, buffer, step} of a point: buffer and step only where there is one.
  under(b, x, y, isShown) {
    const { load, map, run } = this.areas;
    if (x < map.x || x > map.x + map.w) return null;
    const place = this.t0 + ((x - map.x) / map.w) * (this.t1 - this.t0);
    const position = positionAt(this.edge, clamp(place, 0, 1));
    if (y >= load.y && y <= load.y + load.h) return { area: "load", position };
    if (y >= map.y && y <= map.y + map.h) {
      const address = this.a0 + ((map.y + map.h - y) / map.h) * (this.a1 - this.a0);
      return { area: "map", position, address, buffer: this.bufferUnder(b, x, y, isShown) };
    }
    if (y >= run.y && y < run.y + run.h) return { area: "run", position, step: this.stepUnder(x, y) };
    return null;
  }

  // The smallest block at the point, or else the nearest within three pixels.
  bufferUnder(b, x, y, isShown) {
    let best, least = Infinity;
    for (const id of this.view.ids) {
      if (!isShown(id)) continue;
      const [left, top, w, h] = this.block(b, id);
      const away = Math.max(left - x, x - left - w, top - y, y - top - h, 0);
      const rank = away > 0 ? 1e9 * (1 + away) : w * h;
      if (away <= 3 && rank < least) [best, least] = [id, rank];
    }
    return best;
  }

  // Of the instructions of that stream within the pixel, the one with most to do.
  stepUnder(x, y) {
    const { run, map } = this.areas;
    const stream = this.view.streams[Math.min(Math.floor((y - run.y) / run.lane), this.view.streams.length - 1)];
    const placeOf = (at) => clamp(this.t0 + ((at - map.x) / map.w) * (this.t1 - this.t0), 0, 1);
    let best;
    for (let at = positionAt(this.edge, placeOf(x - 0.5)); at <= positionAt(this.edge, placeOf(x + 0.5)); at++) {
      const step = this.view.steps[at];
      if (step && step.stream === stream && (!best || step.flops + step.bytes > best.flops + best.bytes)) best = step;
    }
    return best?.at;
  }
}
