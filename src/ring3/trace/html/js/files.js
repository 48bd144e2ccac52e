// Files: what was opened, read, written, renamed, removed, and looked for in vain.

const DEEDS = ["created", "renamed", "removed", "changed"];
const FILE_ORDERS = {
  path: (run) => (a, b) => run.strings[a.path].localeCompare(run.strings[b.path]),
  opens: () => (a, b) => b.opens - a.opens, read: () => (a, b) => b.read - a.read, written: () => (a, b) => b.written - a.written,
  fails: () => (a, b) => b.fails - a.fails,
};

class Files {
  constructor(run, page) {
    this.run = run;
    this.page = page;
    this.order = { key: "written", isReversed: false };
    this.build();
    this.apply();
  }

  build() {
    const { run } = this;
    this.search = el("input", { type: "search", id: "search-files", placeholder: "Search paths", "aria-label": "Search paths", spellcheck: "false", oninput: () => this.apply() });
    this.filters = [["read", (file) => file.read > 0], ["written", (file) => file.written > 0], ["changed", (file) => file.deeds.length > 0], ["failed", (file) => file.fails > 0]]
      .map(([label, test]) => ({ test, button: el("button", { "aria-pressed": "false", onclick: (event) => { toggle(event.currentTarget); this.apply(); } }, label) }));
    this.told = el("output", { class: "dim", "aria-live": "polite" });
    const column = (key, label) => ({ key, label, sort: () => this.sort(key) });
    this.list = new List({
      label: "Files", kind: "files",
      columns: [column("path", "path"), column("opens", "opened"), column("read", "read"), column("written", "written"), { key: "deeds", label: "done to it" }, column("fails", "failed")],
      draw: ([path, opens, read, written, deeds, fails], index, node) => {
        const file = this.shown[index];
        path.textContent = run.strings[file.path];
        opens.textContent = file.opens || "";
        read.textContent = file.read ? bytes(file.read) : "";
        written.textContent = file.written ? bytes(file.written) : "";
        deeds.textContent = file.deeds.map((deed) => DEEDS[deed]).join(", ");
        fails.textContent = file.fails || "";
        node.classList.toggle("failed", file.fails > 0 && !file.opens);
      },
      choose: (index) => this.page.onlyCalls({ text: this.wordFor(this.shown[index]) }),
    });
    this.node = el("section", { class: "view view-files", "aria-label": "Files" },
      el("div", { class: "bar", role: "search" }, this.search, ...this.filters.map(({ button }) => button), this.told), this.list.node);
  }

  // What finds the file's calls: the last part of its path, since most calls name it from a directory.
  wordFor(file) {
    const parts = this.run.strings[file.path].split("/");
    return parts[parts.length - 1].split(/\s/)[0];
  }

  sort(key) {
    this.order = { key, isReversed: this.order.key === key && !this.order.isReversed };
    this.apply();
  }

  apply() {
    const word = this.search.value.toLowerCase();
    const tests = this.filters.filter(({ button }) => isPressed(button)).map(({ test }) => test);
    this.shown = this.run.files.filter((file) => this.run.strings[file.path].toLowerCase().includes(word) && tests.every((test) => test(file)));
    const { key, isReversed } = this.order;
    this.shown.sort(FILE_ORDERS[key](this.run));
    if (isReversed) this.shown.reverse();
    this.list.sorted(key, (key === "path") === isReversed);
    this.list.show(this.shown.length);
    this.told.value = this.shown.length === this.run.files.length ? counted(this.shown.length, "file") : `${number(this.shown.length)} of ${counted(this.run.files.length, "file")}`;
  }
}
