// Programs: each exec, tried or done, with the address spaces before and after.

class Programs {
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.build();
    this.apply();
  }

  build() {
    const { run } = this;
    this.list = new List({
      label: "Execs", kind: "execs",
      columns: [{ key: "at", label: "time" }, { key: "who", label: "pid" }, { key: "path", label: "program" }],
      draw: ([at, who, path], index, node) => {
        const exec = this.shown[index];
        at.textContent = (exec.at / 1e9).toFixed(6);
        who.textContent = run.procs[run.threads[exec.thread].proc].pid;
        path.textContent = exec.error ? `${run.strings[exec.path]}: ${run.strings[exec.error]}` : exec.argv.map((word) => run.strings[word]).join(" ");
        node.classList.toggle("failed", exec.error !== 0);
      },
      choose: (index) => this.show(this.shown[index]),
    });
    const searches = run.execs.filter((exec) => exec.isSearch).length;
    this.searches = el("button", { "aria-pressed": "false", hidden: searches === 0, onclick: () => { toggle(this.searches); this.apply(); } },
      `${counted(searches, "step")} along PATH`);
    this.detail = el("div", { class: "exec-detail" });
    this.node = el("section", { class: "view view-programs", "aria-label": "Programs" }, el("div", { class: "bar" }, this.searches), el("div", { class: "beside" }, this.list.node, this.detail));
  }

  // Refused execs that only looked for the program are left out unless wanted.
  apply() {
    this.shown = this.run.execs.filter((exec) => !exec.isSearch || isPressed(this.searches));
    this.list.show(this.shown.length);
  }

  // Show one of the run's execs.
  reveal(exec) {
    if (!this.shown.includes(exec)) { this.searches.setAttribute("aria-pressed", "true"); this.apply(); }
    this.list.open(this.shown.indexOf(exec));
  }

  open() {
    if (this.run.execs.length && !this.detail.hasChildNodes()) this.reveal(this.run.execs.find((exec) => !exec.error) ?? this.run.execs[0]);
    if (!this.run.execs.length) this.detail.replaceChildren(el("p", { class: "dim" }, "Nothing was executed while this was recorded."));
  }

  show(exec) {
    const { run } = this;
    const proc = run.procs[run.threads[exec.thread].proc];
    const text = (word) => run.strings[word];
    const facts = [
      ["process", `${proc.pid}, at ${moment(exec.at)}`], ["asked for", text(exec.path)], ...exec.facts.map(([key, value]) => [text(key), text(value)]),
      ...(exec.error ? [["refused", `${text(exec.error)}${run.meanings[text(exec.error)] ? `: ${run.meanings[text(exec.error)]}` : ""}`]] : []),
    ];
    this.detail.replaceChildren(
      el("h2", { class: "mono wrap" }, exec.error ? text(exec.path) : exec.argv.map(text).join(" ") + (exec.argc > exec.argv.length ? " …" : "")),
      el("dl", { class: "facts" }, ...facts.flatMap(([key, value]) => [el("dt", {}, key), el("dd", { class: "mono" }, value)])),
      this.maps(exec));
  }

  maps(exec) {
    const present = [exec.before, exec.after].filter(Boolean);
    if (!present.length) return el("p", { class: "dim" }, exec.error ? "Nothing changed: the process went on as it was." : "No address space was recorded.");
    const scale = scaleFor(present, 420);
    const figure = (map, title, missing) => el("figure", {}, el("figcaption", {}, el("h3", {}, title), el("span", { class: "dim" }, map ? total(map) : missing)),
      map ? drawMap(this.run, map, scale, title) : null);
    return el("div", { class: "maps" },
      el("p", { class: "legend" }, ...[["rx", "r-x code"], ["ro", "r-- constants"], ["rw", "rw- data"], ["none", "--- reserved"]].map(([kind, words]) => el("span", { class: `key m-${kind}` }, words)),
        el("span", { class: "dim" }, `1 MiB is ${Math.max(Math.round(scale.perByte * 2 ** 20), 1)} px; nothing is thinner than ${THINNEST} px, a zigzag stands for more`)),
      el("div", { class: "pair" }, figure(exec.before, "before", "no program yet: the kernel made this process"), figure(exec.after, "after", "")));
  }
}

function total(map) {
  const sum = map.regions.reduce((all, [, length]) => all + length, 0);
  return `${counted(map.regions.length, "range")}, ${far(sum)}`;
}
