// The time line: a lane for each process and thread, programs as bars, calls as slices below them, forks as lines between lanes.
// Only lanes in sight are drawn, and in a lane one slice a pixel, so that the number of calls does not matter.

const LANE = 36;                        // pixels a lane is high: a bar of 15, then slices
const SHORTEST_WINDOW = 2_000;          // ns

class TimeLine {
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.whole = Math.max(run.head.ns, 1);
    this.from = -this.whole * 0.01;
    this.to = this.whole * 1.01;
    this.pointers = new Map();
    this.chosen = -1;
    this.build();
  }

  build() {
    const button = (label, title, act) => el("button", { title, "aria-label": title, onclick: act }, label);
    this.overview = el("canvas", { class: "tl-overview", "aria-hidden": "true" });
    this.axis = el("canvas", { class: "tl-axis", "aria-hidden": "true" });
    this.canvas = el("canvas", { class: "tl-canvas", "aria-hidden": "true" });
    this.labels = el("div", { class: "tl-labels" });
    this.inner = el("div", { class: "tl-inner" }, this.labels, this.canvas);
    this.scroller = el("div", { class: "tl-scroll", onscroll: () => this.ask() }, this.inner);
    this.said = el("output", { class: "dim mono tl-said" });
    this.tip = el("div", { class: "tip sheet", role: "status", hidden: true });
    this.card = el("div", { class: "tl-card", hidden: true, "aria-live": "polite" });
    const keys = "+ − 0 zoom, ← → move, n p next and previous call, ↑ ↓ other lanes, Enter its row, Esc closes";
    this.node = el("section", { class: "timeline sheet", "aria-label": `Time line; keys: ${keys}`, tabindex: 0, onkeydown: (event) => this.key(event) },
      el("div", { class: "bar" }, el("h2", {}, "Time line"), el("span", { class: "legend" }, ...SUBJECTS.map((name) => el("span", { class: `key k-${name}` }, name)),
        el("span", { class: "key k-failed" }, "failed"), this.run.refusals.length ? el("span", { class: "key k-refused" }, "◆ refused") : null,
        this.run.wakes.at.length ? el("span", { class: "key k-wake", title: "the thread whose doing ended a sleep; zoom in to see them" }, "↧ wake-up") : null),
        this.said, el("span", { class: "push" }), button("−", "Zoom out (−)", () => this.zoom(2)), button("+", "Zoom in (+)", () => this.zoom(0.5)),
        button("fit", "Show the whole run (0)", () => this.fit()), button("calls ↓", "Show the calls of this part in the table", () => this.page.callsWithin([this.from, this.to]))),
      this.overview, this.axis, this.scroller, el("p", { class: "dim tl-keys", "aria-hidden": "true" }, keys), this.tip, this.card);
    this.inner.style.height = `${this.run.lanes.length * LANE + 4}px`;
    this.listen();
    new ResizeObserver(() => this.ask()).observe(this.node);
  }

  listen() {
    const { canvas, overview } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("dblclick", (event) => this.zoom(0.25, event.offsetX));
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(event.deltaY / 200), event.offsetX);
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan((event.deltaX || event.deltaY) * this.perPixel);
      else return;
      event.preventDefault();
    }, { passive: false });
    const jump = (event) => {
      if (!event.buttons) return;
      const middle = event.offsetX / overview.clientWidth * this.whole * 1.02 - this.whole * 0.01;
      this.look(middle - (this.to - this.from) / 2, middle + (this.to - this.from) / 2);
    };
    overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); jump(event); });
    overview.addEventListener("pointermove", jump);
  }

  // --- moving about
  get perPixel() { return (this.to - this.from) / Math.max(this.width, 1); }

  look(from, to) {
    const span = Math.min(Math.max(to - from, SHORTEST_WINDOW), this.whole * 1.02);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, -this.whole * 0.01), this.whole * 1.01 - span);
    this.to = this.from + span;
    this.ask();
  }

  fit() { this.look(-this.whole * 0.01, this.whole * 1.01); }

  pan(ns) { this.look(this.from + ns, this.to + ns); }

  zoom(factor, x = this.width / 2) {
    const at = this.from + x * this.perPixel;
    this.look(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  // --- pointers: one drags, two pinch, a short one chooses
  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event.offsetX);
    this.moved = 0;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) { this.hover(event); return; }
    const x = event.offsetX;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const factor = Math.abs(before - other) / Math.max(Math.abs(x - other), 1);
      this.zoom(Math.min(Math.max(factor, 0.5), 2), (x + other) / 2);
    } else this.pan((before - x) * this.perPixel);
    this.moved += Math.abs(x - before);
    this.pointers.set(event.pointerId, x);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (event.type !== "pointerup" || this.moved > 4) return;
    const row = this.callAt(event.offsetX, event.offsetY);
    if (row >= 0) this.choose(row);
  }

  laneAt(y) { return this.run.lanes[Math.floor((y + this.scroller.scrollTop) / LANE)]; }

  // When a call ended; one that never did, with its thread.
  endOf(row, thread) {
    const { calls } = this.run;
    return calls.ns[row] >= 0 ? calls.at[row] + calls.ns[row] : thread.died >= 0 ? thread.died : this.whole;
  }

  callAt(x, y) {
    const lane = this.laneAt(y);
    if (!lane) return -1;
    const at = this.from + x * this.perPixel, slack = 3 * this.perPixel;
    const { rows } = lane.thread, { calls } = this.run;
    const next = firstFrom(this.run, rows, at);
    for (const index of [next - 1, next]) {
      const row = rows[index];
      if (row === undefined) continue;
      const end = this.endOf(row, lane.thread);
      if (calls.at[row] - slack <= at && at <= end + slack) return row;
    }
    return -1;
  }

  hover(event) {
    const row = this.callAt(event.offsetX, event.offsetY);
    this.tip.hidden = row < 0;
    if (row < 0) return;
    const { calls, strings } = this.run;
    const args = strings[calls.args[row]];
    this.tip.replaceChildren(el("b", {}, strings[calls.name[row]]), `(${args.length > 120 ? args.slice(0, 119) + "…" : args})`, el("br"),
      el("span", { class: calls.error[row] ? "bad" : "dim" }, `= ${strings[calls.result[row]]}`), ` ${duration(calls.ns[row])}`);
    const box = this.node.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    this.tip.style.left = `${Math.min(x + 12, Math.max(box.width - this.tip.offsetWidth - 8, 4))}px`;
    this.tip.style.top = `${y + 18}px`;
  }

  choose(row) {
    this.chosen = row;
    this.tip.hidden = true;
    this.card.replaceChildren(el("button", { class: "plain close", "aria-label": "Close", onclick: () => { this.close(); this.node.focus(); } }, "✕"),
      callCard(this.run, row, this.page), el("p", { class: "bar" }, el("button", { onclick: () => this.page.showCall(row) }, "in the call table")));
    this.card.hidden = false;
    this.ask();
  }

  // Bring a call into sight, with its neighbours.
  reveal(row) {
    const { calls } = this.run;
    const at = calls.at[row], ns = Math.max(calls.ns[row], 2_000);
    if (this.to - this.from > ns * 200 || at < this.from || at > this.to) this.look(at - ns * 20, at + ns * 20);
    this.scroller.scrollTop = this.run.threads[calls.thread[row]].lane * LANE - this.scroller.clientHeight / 2;
    this.choose(row);
  }

  // --- drawing
  ask() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }

  recolour() {
    this.paints = null;
    this.ask();
  }

  paint() {
    if (!this.node.clientWidth || !this.scroller.clientHeight) return;
    this.paints ??= colours([...SUBJECTS, "ink", "dim", "line", "accent", "bad", "sunk", "sheet", "paper", "shade"]);
    this.font ??= getComputedStyle(this.node).fontFamily;
    this.sizeUp(this.overview, this.overview.clientWidth, this.overview.clientHeight);
    const height = Math.min(this.scroller.clientHeight, this.run.lanes.length * LANE + 4);
    this.canvas.style.height = `${height}px`;
    this.width = this.canvas.clientWidth;
    this.sizeUp(this.canvas, this.width, height);
    this.sizeUp(this.axis, this.width, 18);
    this.paintOverview();
    this.paintLanes(height);
    this.paintLabels(height);
    this.said.value = `${this.tick(Math.max(this.from, 0), this.perPixel)} – ${this.tick(Math.min(this.to, this.whole), this.perPixel)}`;
  }

  sizeUp(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    const wide = Math.round(width * ratio), high = Math.round(height * ratio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const brush = canvas.getContext("2d");
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.clearRect(0, 0, width, height);
  }

  // How many calls each part of the run made, and which part is looked at.
  paintOverview() {
    const { calls } = this.run;
    const width = this.overview.clientWidth, height = this.overview.clientHeight;
    const brush = this.overview.getContext("2d");
    const bins = Math.max(Math.floor(width / 3), 1);
    if (this.bins?.length !== bins) {
      this.bins = new Float64Array(bins);
      this.badBins = new Float64Array(bins);
      for (let row = 0; row < calls.count; row++) {
        const bin = Math.min(Math.max(Math.floor((calls.at[row] / this.whole + 0.01) / 1.02 * bins), 0), bins - 1);
        this.bins[bin]++;
        if (calls.error[row]) this.badBins[bin]++;
      }
    }
    const most = Math.log1p(this.bins.reduce((a, b) => Math.max(a, b), 1));
    for (const [values, paint] of [[this.bins, this.paints.accent], [this.badBins, this.paints.bad]]) {
      brush.fillStyle = paint;
      values.forEach((value, bin) => {
        const high = Math.log1p(value) / most * (height - 6);
        if (value) brush.fillRect(bin * width / bins, height - Math.max(high, 2), Math.max(width / bins - 1, 1), Math.max(high, 2));
      });
    }
    const place = (ns) => (ns / this.whole + 0.01) / 1.02 * width;
    const left = place(this.from), right = place(this.to);
    brush.fillStyle = this.paints.shade;
    brush.fillRect(0, 0, left, height);
    brush.fillRect(right, 0, width - right, height);
    brush.strokeStyle = this.paints.accent;
    brush.lineWidth = 1.5;
    brush.strokeRect(left + 0.75, 0.75, Math.max(right - left - 1.5, 2), height - 1.5);
  }

  paintLanes(height) {
    const { run, paints } = this;
    const brush = this.canvas.getContext("2d");
    const scrolled = this.scroller.scrollTop;
    const x = (ns) => (ns - this.from) / this.perPixel;
    this.paintGrid(brush, height, x);
    const first = Math.max(Math.floor(scrolled / LANE), 0), last = Math.min(Math.ceil((scrolled + height) / LANE), run.lanes.length);
    for (let index = first; index < last; index++) this.paintLane(brush, run.lanes[index], index * LANE - scrolled + 4, x);
    brush.strokeStyle = paints.dim;
    brush.lineWidth = 1;
    brush.globalAlpha = 0.55;
    for (const proc of run.procs) {
      if (proc.parent < 0) continue;
      const from = run.procs[proc.parent].threads[0].lane * LANE - scrolled + 19, to = proc.threads[0].lane * LANE - scrolled + 4;
      const at = Math.round(x(proc.born)) + 0.5;
      if (to < -LANE || from > height + LANE || at < 0 || at > this.width) continue;
      brush.beginPath();
      brush.moveTo(at, from);
      brush.lineTo(at, to - 3);
      brush.moveTo(at - 3, to - 5);
      brush.lineTo(at, to - 1);
      brush.lineTo(at + 3, to - 5);
      brush.stroke();
    }
    brush.globalAlpha = 1;
    this.paintWakes(brush, height, scrolled, x);
    this.paintRefusals(brush, height, scrolled, x);
  }

  // A moment with the digits that tell it from the next one `step` away; a short run is told in milliseconds.
  tick(ns, step) {
    if (this.whole >= 2e9) return moment(ns, step);
    return `${(ns / 1e6).toFixed(Math.min(6, Math.max(0, 6 - Math.floor(Math.log10(Math.max(step, 1))))))} ms`;
  }

  paintGrid(brush, height, x) {
    const step = niceStep(this.perPixel * 84), axis = this.axis.getContext("2d");
    axis.fillStyle = this.paints.dim;
    axis.font = `11px ${this.font}`;
    brush.strokeStyle = this.paints.line;
    brush.lineWidth = 1;
    brush.beginPath();
    for (let at = Math.ceil(Math.max(this.from, 0) / step) * step; at <= this.to; at += step) {
      const px = Math.round(x(at)) + 0.5;
      brush.moveTo(px, 0);
      brush.lineTo(px, height);
      axis.fillText(this.tick(at, step), px + 3, 13);
      axis.fillRect(px - 0.5, 8, 1, 10);
    }
    brush.stroke();
  }

  paintLane(brush, { proc, thread, isLeader }, y, x) {
    const { run, paints } = this;
    const end = thread.died < 0 ? this.whole : thread.died;
    if (isLeader) {
      const parts = [{ at: thread.born, name: proc.name }, ...proc.execs.filter((exec) => exec.at >= thread.born)];
      parts.forEach((part, index) => {
        const until = index + 1 < parts.length ? parts[index + 1].at : end;
        this.paintBar(brush, x(part.at), x(until), y, run.strings[part.name], index > 0);
      });
      if (thread.died >= 0 && proc.isBad) { brush.fillStyle = paints.bad; brush.fillRect(x(end) - 2, y, 3, 15); }
    } else {
      brush.fillStyle = paints.line;
      brush.fillRect(x(thread.born), y + 6, Math.max(x(end) - x(thread.born), 1), 3);
    }
    this.paintCalls(brush, thread, y + 17, x);
  }

  paintBar(brush, left, right, y, name, isExec) {
    const { paints } = this;
    const from = Math.max(left, -2), to = Math.min(right, this.width + 2);
    if (to <= from && !(left >= 0 && left <= this.width)) return;
    brush.fillStyle = isExec ? paints.sunk : paints.shade;
    brush.fillRect(from, y, Math.max(to - from, 1), 15);
    brush.strokeStyle = paints.line;
    brush.lineWidth = 1;
    brush.strokeRect(from + 0.5, y + 0.5, Math.max(to - from - 1, 0), 14);
    if (isExec && left >= -3) {
      brush.fillStyle = paints.accent;
      brush.fillRect(left - 1, y - 2, 3, 19);
    }
    if (to - from < 14) return;
    brush.save();
    brush.beginPath();
    brush.rect(from, y, to - from - 3, 15);
    brush.clip();
    brush.fillStyle = isExec ? paints.ink : paints.dim;
    brush.font = `11px ${this.font}`;
    brush.textBaseline = "middle";
    brush.fillText(name, from + 6, y + 8);
    brush.restore();
  }

  paintCalls(brush, thread, y, x) {
    const { calls } = this.run, { paints } = this, { rows } = thread;
    let index = firstFrom(this.run, rows, this.from);
    while (index > 0 && calls.at[rows[index - 1]] + Math.max(calls.ns[rows[index - 1]], 0) >= this.from) index--;
    if (index > 0 && calls.ns[rows[index - 1]] < 0) index--;
    while (index < rows.length) {
      const row = rows[index];
      const at = calls.at[row];
      if (at > this.to) break;
      const left = x(at), right = x(this.endOf(row, thread));
      brush.fillStyle = paints[SUBJECTS[subjectOf(this.run, calls.name[row])]];
      brush.globalAlpha = right - left > 60 ? 0.6 : 1;
      brush.fillRect(left, y, Math.max(right - left, 1), 10);
      brush.globalAlpha = 1;
      if (calls.error[row]) { brush.fillStyle = paints.bad; brush.fillRect(left, y + 11, Math.max(Math.min(right - left, 6), 2), 3); }
      if (row === this.chosen) { brush.strokeStyle = paints.ink; brush.lineWidth = 2; brush.strokeRect(left - 1, y - 1, Math.max(right - left, 1) + 2, 12); }
      if (right - left > 46) this.paintName(brush, left, right, y, this.run.strings[calls.name[row]]);
      // Of those that begin in the same pixel the last may be a long one.
      index = right - left >= 1 ? index + 1 : Math.max(index + 1, firstFrom(this.run, rows, at + this.perPixel) - 1);
    }
  }

  paintName(brush, left, right, y, name) {
    const from = Math.max(left, 0);
    if (Math.min(right, this.width) - from < 30) return;
    brush.save();
    brush.beginPath();
    brush.rect(from, y, Math.min(right, this.width) - from - 2, 10);
    brush.clip();
    brush.fillStyle = this.paints.paper;
    brush.font = `9px ${this.font}`;
    brush.textBaseline = "middle";
    brush.fillText(name, from + 4, y + 5.5);
    brush.restore();
  }

  paintLabels(height) {
    const { run } = this;
    const scrolled = this.scroller.scrollTop;
    const first = Math.max(Math.floor(scrolled / LANE), 0), last = Math.min(Math.ceil((scrolled + height) / LANE), run.lanes.length);
    if (this.labelled === `${first}-${last}`) return;
    this.labelled = `${first}-${last}`;
    this.labels.replaceChildren(...run.lanes.slice(first, last).map(({ proc, thread, depth, isLeader }, offset) => {
      const name = run.strings[lastName(proc)];
      const label = isLeader ? el("button", { class: "plain", title: `${proc.pid} ${name}: ${run.strings[proc.status]}`, onclick: () => this.page.onlyCalls({ proc: proc.index }) },
        el("b", {}, String(proc.pid)), ` ${name}`, proc.isBad ? el("span", { class: "bad" }, " ✕") : null) : el("span", { class: "dim" }, `thread ${thread.tid}`);
      label.style.top = `${(first + offset) * LANE + 2}px`;
      label.style.paddingLeft = `${Math.min(depth, 6) * 0.7 + 0.3}rem`;
      return label;
    }));
  }
}

// 1, 2 or 5 times a power of ten, at least `ns`.
function niceStep(ns) {
  const power = 10 ** Math.floor(Math.log10(Math.max(ns, 1)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= ns);
}
