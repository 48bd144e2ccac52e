// The call table: search, filters, order, and one call in full.

const ORDERS = {
  at: (run) => run.calls.at,
  ns: (run) => run.calls.ns,
};

class Calls {
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.order = { key: "at", isDescending: false };
    this.window = null;                 // [from, to] in ns: only calls that touch it
    this.shown = Int32Array.from({ length: run.calls.count }, (_, row) => row);
    this.build();
    this.apply();
  }

  build() {
    const { run } = this;
    const refilter = () => this.apply();
    this.search = el("input", { type: "search", id: "search", placeholder: "Search calls: openat /etc ENOENT", "aria-label": "Search calls",
      spellcheck: "false", autocomplete: "off", oninput: refilter });
    const names = [...run.byName.values()].sort((a, b) => run.strings[a.name].localeCompare(run.strings[b.name]));
    this.call = el("select", { id: "filter-call", "aria-label": "Call", onchange: refilter }, el("option", { value: "" }, "every call"),
      ...names.map((entry) => el("option", { value: entry.name }, `${run.strings[entry.name]} (${number(entry.count)})`)));
    this.process = el("select", { id: "filter-process", "aria-label": "Process", onchange: refilter }, el("option", { value: "" }, "every process"),
      ...run.procs.map((proc) => el("option", { value: proc.index }, `${proc.pid} ${run.strings[lastName(proc)]}`)));
    this.errors = el("button", { id: "filter-errors", "aria-pressed": "false", onclick: () => { toggle(this.errors); refilter(); } }, "errors only");
    this.subjects = SUBJECTS.map((subject, index) => el("button", { class: `subject s-${subject}`, "aria-pressed": "false",
      onclick: (event) => { toggle(event.currentTarget); refilter(); }, "data-subject": index }, subject));
    this.range = el("button", { id: "filter-range", hidden: true, title: "Show calls of the whole run", onclick: () => this.within(null) });
    this.clear = el("button", { class: "plain", id: "filter-clear", hidden: true, onclick: () => this.reset() }, "clear");
    this.told = el("output", { id: "shown", class: "dim", "aria-live": "polite" });
    this.list = new List({
      label: "System calls", kind: "calls",
      columns: [
        { key: "at", label: "time", sort: () => this.sort("at") }, { key: "who", label: "process" }, { key: "call", label: "call" },
        { key: "result", label: "result" }, { key: "ns", label: "took", sort: () => this.sort("ns") },
      ],
      draw: (cells, index, node) => this.draw(cells, index, node),
      choose: (index) => this.page.showCall(this.shown[index]),
    });
    this.detail = el("aside", { class: "detail sheet", "aria-label": "The chosen call", hidden: true });
    this.node = el("section", { class: "view view-calls", "aria-label": "Calls" },
      el("div", { class: "bar", role: "search" }, this.search, this.process, this.call, this.errors, this.range, this.clear),
      el("div", { class: "bar subjects", role: "group", "aria-label": "Subjects" }, ...this.subjects, this.told),
      el("div", { class: "beside" }, this.list.node, this.detail));
  }

  draw([at, who, call, result, took], index, node) {
    const { run } = this;
    const { calls, strings } = run;
    const row = this.shown[index];
    const thread = run.threads[calls.thread[row]];
    const proc = run.procs[thread.proc];
    at.textContent = (calls.at[row] / 1e9).toFixed(6);
    who.textContent = `${thread.tid} ${programAt(run, proc, calls.at[row])}`;
    const name = call.firstChild ?? call.appendChild(el("b"));
    name.textContent = strings[calls.name[row]];
    name.className = `t-${SUBJECTS[subjectOf(run, calls.name[row])]}`;
    const rest = name.nextSibling ?? call.appendChild(document.createTextNode(""));
    rest.data = `(${strings[calls.args[row]]})`;
    result.textContent = strings[calls.result[row]];
    if (calls.error[row]) node.classList.add("failed");
    took.textContent = calls.ns[row] < 0 ? "…" : duration(calls.ns[row]);
  }

  // Which rows are shown.  Words are looked up in each string once, not in each call.
  apply() {
    const { calls, strings } = this.run;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) this.lower ??= strings.map((text) => text.toLowerCase());
    const hits = words.map((word) => {
      const inText = Uint8Array.from(this.lower, (text) => (text.includes(word) ? 1 : 0));
      const asName = word.endsWith("(") ? word.slice(0, -1) : null;      // "read(" is how a call is written
      return { inText, name: asName === null ? inText : Uint8Array.from(this.lower, (text) => (text === asName ? 1 : 0)) };
    });
    const wantedCall = this.call.value === "" ? -1 : Number(this.call.value);
    const wantedProc = this.process.value === "" ? -1 : Number(this.process.value);
    const onlyErrors = isPressed(this.errors);
    const subjects = new Set(this.subjects.filter(isPressed).map((button) => Number(button.dataset.subject)));
    const [from, to] = this.window ?? [-Infinity, Infinity];
    const found = new Int32Array(calls.count);
    let size = 0;
    rows: for (let row = 0; row < calls.count; row++) {
      if (onlyErrors && !calls.error[row]) continue;
      if (wantedCall >= 0 && calls.name[row] !== wantedCall) continue;
      if (wantedProc >= 0 && this.run.threads[calls.thread[row]].proc !== wantedProc) continue;
      if (subjects.size && !subjects.has(subjectOf(this.run, calls.name[row]))) continue;
      if (calls.at[row] > to || calls.at[row] + Math.max(calls.ns[row], 0) < from) continue;
      for (const hit of hits) if (!hit.name[calls.name[row]] && !hit.inText[calls.args[row]] && !hit.inText[calls.result[row]]) continue rows;
      found[size++] = row;
    }
    this.shown = found.subarray(0, size);
    this.inOrder();
    this.list.show(size);
    this.told.value = size === calls.count ? counted(size, "call") : `${number(size)} of ${counted(calls.count, "call")}`;
    this.clear.hidden = size === calls.count && !words.length;
  }

  inOrder() {
    const { key, isDescending } = this.order;
    const values = ORDERS[key](this.run);
    if (key === "ns") this.shown.sort((a, b) => values[a] - values[b] || a - b);
    if (isDescending) this.shown.reverse();
    this.list.sorted(key, isDescending);
  }

  sort(key) {
    const isSame = this.order.key === key;
    this.order = { key, isDescending: isSame ? !this.order.isDescending : key === "ns" };
    this.apply();
    this.list.scroller.scrollTop = 0;
  }

  within(range) {
    this.window = range;
    this.range.hidden = range === null;
    if (range) this.range.textContent = `${moment(range[0], (range[1] - range[0]) / 100)} – ${moment(range[1], (range[1] - range[0]) / 100)} ✕`;
    this.apply();
  }

  only({ name = null, proc = null, errors = false, text = "" }) {
    this.reset();
    if (name !== null) this.call.value = String(name);
    if (proc !== null) this.process.value = String(proc);
    if (errors) this.errors.setAttribute("aria-pressed", "true");
    this.search.value = text;
    this.apply();
  }

  reset() {
    this.search.value = this.call.value = this.process.value = "";
    for (const button of [this.errors, ...this.subjects]) button.setAttribute("aria-pressed", "false");
    this.order = { key: "at", isDescending: false };
    this.within(null);
  }

  // Show a row in the table; filters that hide it go.
  reveal(row) {
    let index = this.shown.indexOf(row);
    if (index < 0) { this.reset(); index = this.shown.indexOf(row); }
    this.list.go(index, true);
    this.detail.replaceChildren(el("button", { class: "plain close", "aria-label": "Close", onclick: () => this.close() }, "✕"), callCard(this.run, row, this.page));
    this.detail.hidden = false;
  }

  close() {
    this.detail.hidden = true;
    this.list.node.focus();
  }
}

const toggle = (button) => button.setAttribute("aria-pressed", String(!isPressed(button)));
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";
const lastName = (proc) => (proc.execs.length ? proc.execs[proc.execs.length - 1].name : proc.name);

// One call in full.
function callCard(run, row, page) {
  const { calls, strings } = run;
  const thread = run.threads[calls.thread[row]];
  const proc = run.procs[thread.proc];
  const error = strings[calls.error[row]];
  const facts = [
    ["result", strings[calls.result[row]]],
    ...(calls.error[row] && run.meanings[error] ? [["that is", run.meanings[error]]] : []),
    ["process", `${proc.pid} ${programAt(run, proc, calls.at[row])}${thread.tid === proc.pid ? "" : `, thread ${thread.tid}`}`],
    ["began", moment(calls.at[row])], ["took", calls.ns[row] < 0 ? "it did not return" : duration(calls.ns[row])],
    ["subject", SUBJECTS[subjectOf(run, calls.name[row])]],
  ];
  const same = run.byName.get(calls.name[row]);
  return el("div", { class: "card" },
    el("h3", { class: `mono t-${SUBJECTS[subjectOf(run, calls.name[row])]}` }, strings[calls.name[row]]),
    el("ol", { class: "arguments mono" }, ...splitArguments(strings[calls.args[row]]).map((part) => el("li", {}, part))),
    el("dl", { class: "facts" }, ...facts.flatMap(([key, value]) => [el("dt", {}, key), el("dd", { class: calls.error[row] && key === "result" ? "bad mono" : "mono" }, value)])),
    el("p", { class: "bar" }, el("button", { onclick: () => page.onlyCalls({ name: calls.name[row] }) }, `all ${number(same.count)} of these`),
      el("button", { onclick: () => page.onlyCalls({ proc: proc.index }) }, "this process"),
      el("button", { onclick: () => page.showMoment(row) }, "on the time line")));
}

// The arguments of a call as it was printed: cut at commas outside of quotes and brackets.
function splitArguments(text) {
  const parts = [];
  let depth = 0, isQuoted = false, start = 0;
  for (let index = 0; index < text.length; index++) {
    const letter = text[index];
    if (isQuoted) { if (letter === "\\") index++; else if (letter === '"') isQuoted = false; }
    else if (letter === '"') isQuoted = true;
    else if ("([{".includes(letter)) depth++;
    else if (")]}".includes(letter)) depth--;
    else if (letter === "," && depth <= 0) { parts.push(text.slice(start, index).trim()); start = index + 1; }
  }
  const last = text.slice(start).trim();
  return last ? [...parts, last] : parts;
}
