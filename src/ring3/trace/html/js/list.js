// A list that only ever draws the rows in sight.  Row N is drawn by slot N modulo the number of slots, so that scrolling by K rows
// draws K.  Browsers end a page at some ten million pixels; a longer list is scrolled by proportion.

const LONGEST = 8_000_000;

class List {
  // columns: [{key, label, sort}]; draw(cells, index) fills a row; choose(index) is told what was opened.
  constructor({ label, columns, draw, choose, kind = "" }) {
    this.draw = draw;
    this.choose = choose;
    this.count = 0;
    this.active = -1;
    this.slots = [];
    this.columns = columns;
    this.name = `list-${List.made = (List.made ?? 0) + 1}`;
    this.headers = columns.map((column) => el("span", { role: "columnheader", class: `c-${column.key}` },
      column.sort ? el("button", { class: "plain", onclick: () => column.sort(), tabindex: 0 }, column.label) : column.label));
    this.space = el("div", { class: "list-space", role: "presentation" });
    this.scroller = el("div", { class: "list-scroll", role: "rowgroup", tabindex: -1, onscroll: () => this.ask() }, this.space);
    this.node = el("div", { class: `list ${kind}`, role: "grid", "aria-label": label, tabindex: 0, onkeydown: (event) => this.key(event) },
      el("div", { class: "list-head", role: "row", "aria-rowindex": 1 }, ...this.headers), this.scroller);
    this.space.addEventListener("click", (event) => {
      const row = event.target.closest("[role=row]");
      if (row) this.open(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.measure()).observe(this.scroller);
  }

  measure() {
    const pixels = parseFloat(getComputedStyle(this.node).getPropertyValue("--row")) || 26;
    this.height = this.scroller.clientHeight;
    if (!this.height) return;
    this.rowHeight = pixels;
    this.fresh();
  }

  // There are `count` rows now, and any of them may look different.
  show(count) {
    this.count = count;
    this.active = Math.min(this.active, count - 1);
    this.node.setAttribute("aria-rowcount", count + 1);
    if (this.height) this.fresh();
  }

  fresh() {
    const whole = this.count * this.rowHeight;
    this.pixels = Math.min(whole, LONGEST);
    this.space.style.height = `${this.pixels}px`;
    const wanted = Math.min(Math.ceil(this.height / this.rowHeight) + 8, Math.max(this.count, 1));
    while (this.slots.length > wanted) this.slots.pop().node.remove();
    while (this.slots.length < wanted) {
      const cells = this.columns.map((column) => el("span", { role: "gridcell", class: `c-${column.key}` }));
      const node = el("div", { role: "row", class: "list-row" }, ...cells);
      this.space.append(node);
      this.slots.push({ node, cells, index: -1 });
    }
    for (const slot of this.slots) slot.index = -1;
    this.paint();
  }

  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  get ratio() { return Math.max(this.count * this.rowHeight - this.height, 0) / Math.max(this.pixels - this.height, 1); }

  paint() {
    if (!this.height) return;
    const scrolled = this.scroller.scrollTop;
    const stretched = this.count * this.rowHeight > this.pixels;
    const top = stretched ? scrolled * this.ratio : scrolled;
    const size = this.slots.length;
    const first = Math.max(0, Math.min(Math.floor(top / this.rowHeight) - 3, this.count - size));
    for (let index = first; index < first + size; index++) {
      const slot = this.slots[index % size];
      if (index >= this.count) { slot.node.hidden = true; continue; }
      if (slot.index !== index) {
        slot.index = index;
        slot.node.hidden = false;
        slot.node.dataset.index = index;
        slot.node.id = `${this.name}-${index}`;
        slot.node.setAttribute("aria-rowindex", index + 2);
        slot.node.className = "list-row";
        this.draw(slot.cells, index, slot.node);
        slot.node.setAttribute("aria-selected", index === this.active);
        slot.y = null;
      }
      const y = index * this.rowHeight - (stretched ? top - scrolled : 0);
      if (slot.y !== y) slot.node.style.transform = `translateY(${slot.y = y}px)`;
    }
  }

  // Bring a row into sight and make it the active one.
  go(index, centred = false) {
    if (!this.count) return;
    if (!this.height) this.measure();   // asked before the first layout
    if (!this.height) return;
    this.active = Math.max(0, Math.min(index, this.count - 1));
    const y = this.active * this.rowHeight;
    const top = this.scroller.scrollTop * (this.count * this.rowHeight > this.pixels ? this.ratio : 1);
    let wanted = top;
    if (centred) wanted = y - this.height / 2;
    else if (y < top) wanted = y;
    else if (y + this.rowHeight > top + this.height) wanted = y + this.rowHeight - this.height;
    if (wanted !== top) this.scroller.scrollTop = wanted / (this.count * this.rowHeight > this.pixels ? this.ratio : 1);
    for (const slot of this.slots) slot.node.setAttribute("aria-selected", slot.index === this.active);
    this.paint();
    this.node.setAttribute("aria-activedescendant", `${this.name}-${this.active}`);
  }

  open(index) {
    this.go(index);
    this.choose(this.active);
  }

  key(event) {
    if (event.target !== this.node || event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(Math.floor(this.height / this.rowHeight) - 1, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (event.key in steps) this.go(this.active < 0 && Math.abs(steps[event.key]) < this.count ? 0 : this.active + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.open(Math.max(this.active, 0));
    else return;
    event.preventDefault();
  }

  // Which column the rows are ordered by, for who cannot see the arrow.
  sorted(key, isDescending) {
    this.columns.forEach((column, index) => {
      if (column.sort) this.headers[index].setAttribute("aria-sort", column.key !== key ? "none" : isDescending ? "descending" : "ascending");
    });
  }
}
