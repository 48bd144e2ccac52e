// The first view: the run in figures, what is worth a look, where the calls went.

const NOTED = 200;                      // rows of each kind of note
const QUIET = /^SIG(CHLD|WINCH|URG|CONT)\b/;     // signals that are everyday life

class Overview {
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.timeline = new TimeLine(run, page);
    this.node = el("section", { class: "view view-overview", "aria-label": "Overview" }, this.tiles(), this.timeline.node,
      el("div", { class: "columns" }, this.busiest(), this.notes()));
  }

  tiles() {
    const { run } = this;
    const written = run.files.reduce((sum, file) => sum + file.written, 0), read = run.files.reduce((sum, file) => sum + file.read, 0);
    const tile = (value, words, act, kind = "") => el(act ? "button" : "div", { class: `tile sheet ${kind}`, onclick: act }, el("b", {}, value), el("span", { class: "dim" }, words));
    return el("div", { class: "tiles" },
      tile(duration(run.head.ns), "from begin to end"),
      tile(number(run.calls.count), "system calls", () => this.page.onlyCalls({})),
      tile(number(run.errors), "of them failed", () => this.page.onlyCalls({ errors: true }), run.errors ? "is-bad" : ""),
      tile(number(run.procs.length), run.threads.length > run.procs.length ? `processes, ${number(run.threads.length)} threads` : run.procs.length === 1 ? "process" : "processes"),
      tile(number(run.execs.filter((exec) => !exec.error).length), "programs", () => this.page.open("programs")),
      tile(bytes(read), `read, ${bytes(written)} written`, () => this.page.open("files")));
  }

  // Names of calls by the time spent in them, each with a bar.
  busiest() {
    const { run } = this;
    const entries = [...run.byName.values()].sort((a, b) => b.count - a.count).slice(0, 14);
    const most = Math.max(...entries.map((entry) => entry.count), 1);
    const row = (entry) => {
      const bar = el("span", { class: `bar-fill k-${SUBJECTS[subjectOf(run, entry.name)]}` });
      bar.style.width = `${Math.max(entry.count / most * 100, 0.5)}%`;
      return el("li", {}, el("button", { class: "plain count-row", onclick: () => this.page.onlyCalls({ name: entry.name }) },
        el("span", { class: "mono" }, run.strings[entry.name]), el("span", { class: "bar-track" }, bar), el("span", { class: "num" }, number(entry.count)),
        el("span", { class: "num dim" }, duration(entry.ns)), el("span", { class: "num bad" }, entry.errors ? `${number(entry.errors)} ✕` : "")));
    };
    return el("section", { class: "sheet block", "aria-label": "Calls by name" }, el("h2", {}, "Calls by name"), el("ol", { class: "counts" }, ...entries.map(row)),
      run.byName.size > entries.length ? el("p", { class: "dim" }, `and ${counted(run.byName.size - entries.length, "other name")}`) : null);
  }

  notes() {
    const { run } = this;
    const text = (word) => run.strings[word];
    const who = (thread) => `${run.procs[run.threads[thread].proc].pid} ${programAt(run, run.procs[run.threads[thread].proc], Infinity)}`;
    const note = (kind, at, subject, words, act) => ({ at, node: el("li", { class: "note" }, el("button", { class: "plain", onclick: act },
      el("span", { class: "mono dim" }, at === null ? "" : (at / 1e9).toFixed(6)), el("span", { class: `pill ${kind}` }, subject), el("span", { class: "wrap" }, words))) });
    const refusedExecs = run.execs.filter((exec) => exec.error && !exec.isSearch), signals = run.signals.filter((signal) => !QUIET.test(text(signal.text)));
    const badProcs = run.procs.filter((proc) => proc.isBad);
    const found = [
      ...run.refusals.slice(0, NOTED).map((refusal) => note("bad", refusal.at, "policy", `${who(refusal.thread)}: ${text(refusal.text)}`, () => this.timeline.look(refusal.at - 1e6, refusal.at + 1e6))),
      ...refusedExecs.slice(0, NOTED).map((exec) => note("warn", exec.at, "exec", `${text(exec.path)}: ${text(exec.error)}`, () => this.page.showExec(exec.index))),
      ...signals.slice(0, NOTED).map((signal) => note("warn", signal.at, "signal", `${who(signal.thread)}: ${text(signal.text)}`, () => this.timeline.look(signal.at - 1e6, signal.at + 1e6))),
      ...badProcs.slice(0, NOTED).map((proc) => note("bad", proc.died, "end", `${proc.pid} ${text(lastName(proc))} ${text(proc.status)}`, () => this.page.onlyCalls({ proc: proc.index }))),
    ].sort((a, b) => a.at - b.at);
    found.push(...run.missing.map(([name, times]) => note("warn", null, "ENOSYS", `${text(name)} is not there yet (${counted(times, "time")})`, () => this.page.onlyCalls({ text: text(name) }))));
    const whole = run.refusals.length + signals.length + run.missing.length + refusedExecs.length + badProcs.length;
    return el("section", { class: "sheet block", "aria-label": "Worth a look" }, el("h2", {}, "Worth a look"),
      found.length ? el("ol", { class: "notes" }, ...found.map(({ node }) => node)) : el("p", { class: "dim" }, "No refusals, no signals, no failed execs; everything ended with status 0."),
      whole > found.length ? el("p", { class: "dim" }, `and ${number(whole - found.length)} more of these`) : null);
  }

  open() { this.timeline.ask(); }
}
