// The same facts as rows: sorted by a press on a column's head, filtered by the search, the kinds
// and "live at the peak", a page of rows at a time so that 20,000 stay quick.
const PAGE_ROWS = 200;

// A column: its head, the value rows are sorted by, what a cell shows.
const BUFFER_COLUMNS = [
  { head: "Name", key: (p, id) => bufferName(p, id), cell: (p, id) => bufferName(p, id) },
  { head: "Kind", key: (p, id) => p.buffers.kind[id], cell: (p, id) => kindName(p, id), kind: true },
  { head: "Shape", key: (p, id) => p.strings[p.buffers.type[id]], cell: (p, id) => p.strings[p.buffers.type[id]] },
  { head: "Bytes", key: (p, id) => p.buffers.bytes[id], cell: (p, id) => countText(p.buffers.bytes[id]), number: true },
  { head: "Size", key: (p, id) => p.buffers.bytes[id], cell: (p, id) => sizeText(p.buffers.bytes[id]), number: true },
  { head: "Address", key: (p, id) => p.buffers.offset[id], cell: (p, id) => countText(p.buffers.offset[id]), number: true },
  { head: "First", key: (p, id) => p.buffers.first[id], cell: (p, id) => countText(p.buffers.first[id]), number: true },
  { head: "Last", key: (p, id) => last(p.buffers, id), cell: (p, id) => (p.buffers.last[id] === NONE ? "always" : countText(p.buffers.last[id])), number: true },
  { head: "Source", key: (p, id) => p.strings[p.buffers.where[id]], cell: (p, id) => p.strings[p.buffers.where[id]] },
];
const STEP_COLUMNS = [
  { head: "Instruction", key: (p, step) => stepName(step), cell: (p, step) => stepName(step) },
  { head: "Number", key: (p, step) => step.at, cell: (p, step) => countText(step.at), number: true },
  { head: "What", key: (p, step) => step.kind, cell: (p, step) => RUN_NAMES[step.kind], run: true },
  { head: "Kernel", key: (p, step) => step.kernel, cell: (p, step) => (step.kernel === NONE ? "" : p.strings[p.kernels.name[step.kernel]]) },
  { head: "Stream", key: (p, step) => step.stream, cell: (p, step) => String(step.stream), number: true },
  { head: "FLOP", key: (p, step) => step.flops, cell: (p, step) => countText(step.flops), number: true },
  { head: "Bytes moved", key: (p, step) => step.bytes, cell: (p, step) => countText(step.bytes), number: true },
  { head: "Source", key: (p, step) => step.where, cell: (p, step) => step.where },
];

class Table {
  constructor(page) {
    this.page = page;
    this.kindOfRows = "buffers";
    this.sort = { buffers: { column: 4, down: true }, steps: { column: 1, down: false } };
    this.at = 0;
    byId("rows-buffers").onclick = () => this.choose("buffers");
    byId("rows-steps").onclick = () => this.choose("steps");
    byId("peak-only").onchange = () => this.restart();
    byId("page-back").onclick = () => this.turn(-PAGE_ROWS);
    byId("page-on").onclick = () => this.turn(PAGE_ROWS);
  }

  choose(kindOfRows) {
    this.kindOfRows = kindOfRows;
    byId("rows-buffers").setAttribute("aria-pressed", String(kindOfRows === "buffers"));
    byId("rows-steps").setAttribute("aria-pressed", String(kindOfRows === "steps"));
    byId("peak-label").hidden = kindOfRows !== "buffers";
    this.restart();
  }

  restart() {
    this.at = 0;
    this.fill();
    document.querySelector(".rows").scrollTop = 0;
  }

  turn(by) {
    this.at += by;
    this.fill();
    document.querySelector(".rows").scrollTop = 0;
  }

  // Those that the filters leave, sorted; equal ones stay in the order of time.
  rows() {
    const { page, kindOfRows } = this, { plan, view } = page, b = plan.buffers;
    const { column, down } = this.sort[kindOfRows], { key } = this.columns()[column];
    let rows;
    if (kindOfRows === "steps") rows = view.steps.filter((step) => page.isStepFound(step));
    else {
      const peakOnly = byId("peak-only").checked;
      rows = view.ids.filter((id) => page.isShown(id) && page.isFound(id) &&
        (!peakOnly || (b.first[id] <= view.peak && view.peak <= last(b, id))));
    }
    const keyed = rows.map((row, i) => ({ row, i, key: key(plan, row) }));
    const order = (x, y) => (x.key < y.key ? -1 : x.key > y.key ? 1 : 0);
    keyed.sort((x, y) => (down ? order(y, x) : order(x, y)) || x.i - y.i);
    return keyed.map(({ row }) => row);
  }

  columns() {
    return this.kindOfRows === "buffers" ? BUFFER_COLUMNS : STEP_COLUMNS;
  }

  sortBy(column) {
    const sort = this.sort[this.kindOfRows], first = this.columns()[column].number === true;
    this.sort[this.kindOfRows] = { column, down: sort.column === column ? !sort.down : first };
    this.restart();
    document.querySelectorAll(".rows th button")[column].focus();
  }

  fill() {
    if (byId("table").hidden) return;
    const rows = this.rows(), sort = this.sort[this.kindOfRows];
    this.at = clamp(this.at, 0, Math.max(Math.ceil(rows.length / PAGE_ROWS) - 1, 0) * PAGE_ROWS);
    const end = Math.min(this.at + PAGE_ROWS, rows.length);
    document.querySelector(".rows thead").replaceChildren(element("tr", {}, ...this.columns().map((column, i) =>
      element("th", { scope: "col", class: column.number ? "number" : undefined,
        "aria-sort": sort.column === i ? (sort.down ? "descending" : "ascending") : undefined },
      element("button", { type: "button", onclick: () => this.sortBy(i) }, column.head)))));
    document.querySelector(".rows tbody").replaceChildren(...rows.slice(this.at, end).map((row) => this.row(row)));
    byId("range").textContent = rows.length ? `${countText(this.at + 1)} to ${countText(end)} of ${countText(rows.length)}` : "no rows";
    byId("page-back").disabled = this.at === 0;
    byId("page-on").disabled = end === rows.length;
  }

  row(row) {
    const { page } = this, buffers = this.kindOfRows === "buffers";
    const target = buffers ? { buffer: row } : { step: row.at };
    const isPinned = buffers ? page.pinned?.buffer === row : page.pinned?.step === row.at;
    const cells = this.columns().map((column, i) => {
      const text = column.cell(page.plan, row), mark = column.kind ? kindSwatch(page.plan, row) : column.run ? swatch(`run-${text}`) : null;
      const inside = i === 0 ? element("button", { type: "button", onclick: () => page.pin(target) }, text) : text;
      return element("td", { class: column.number ? "number" : undefined }, mark, inside);
    });
    return element("tr", { class: isPinned ? "pinned" : undefined }, ...cells);
  }
}
