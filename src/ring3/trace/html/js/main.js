// The page: head, views behind tabs, theme; and what the views ask of each other.

const VIEWS = [["overview", "Overview"], ["calls", "Calls"], ["programs", "Programs"], ["files", "Files"]];

class Page {
  constructor(run) {
    this.run = run;
    this.views = {};
    this.makers = { overview: () => new Overview(run, this), calls: () => new Calls(run, this), programs: () => new Programs(run, this), files: () => new Files(run, this) };
    document.getElementById("top").replaceChildren(...this.header());
    addEventListener("hashchange", () => this.fromHash());
    this.fromHash();
  }

  header() {
    const { head } = this.run;
    const counts = { calls: this.run.calls.count, programs: this.run.execs.filter((exec) => !exec.isSearch).length, files: this.run.files.length };
    this.tabs = VIEWS.map(([name, label]) => el("a", { role: "tab", href: `#${name}`, id: `tab-${name}`, "aria-controls": "main", onkeydown: (event) => this.tabKey(event) },
      label, counts[name] === undefined ? null : el("span", { class: "dim" }, ` ${number(counts[name])}`)));
    this.theme = el("button", { class: "plain theme", onclick: () => this.turn() });
    this.showTheme(stored("ring3-theme") ?? "");
    return [
      el("div", { class: "head" },
        logo(),
        el("h1", { class: "mono", title: head.command.join(" ") }, head.command.join(" ") || head.title),
        el("span", { class: `pill ${head.isGood ? "good" : "bad"}` }, head.status), el("span", { class: "pill dim" }, head.system),
        head.began ? el("time", { class: "dim", datetime: new Date(head.began * 1000).toISOString() }, new Date(head.began * 1000).toLocaleString()) : null,
        el("span", { class: "dim made" }, head.made), this.theme),
      head.dropped ? el("p", { class: "warn cut" }, `The recorder was full: ${counted(head.dropped, "event")} ${head.dropped === 1 ? "is" : "are"} not in this report.`) : null,
      el("nav", { role: "tablist", "aria-label": "Views" }, ...this.tabs),
    ].filter(Boolean);
  }

  tabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = this.tabs[(this.tabs.indexOf(event.currentTarget) + step + this.tabs.length) % this.tabs.length];
    next.focus();
    location.hash = next.getAttribute("href");
    event.preventDefault();
  }

  // --- views
  fromHash() {
    const wanted = location.hash.slice(1);
    if (wanted === "main") return;
    this.show(this.makers[wanted] ? wanted : "overview");
  }

  show(name) {
    this.view = name;
    const view = this.views[name] ??= this.makers[name]();
    document.getElementById("main").replaceChildren(view.node);
    document.body.dataset.view = name;
    for (const tab of this.tabs) {
      const isChosen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    document.getElementById("main").setAttribute("aria-labelledby", `tab-${name}`);
    view.open?.();
  }

  open(name) {
    if (this.view !== name) { history.pushState(null, "", `#${name}`); this.show(name); }
    return this.views[name];
  }

  // --- what one view asks of another
  onlyCalls(what) { this.open("calls").only(what); }

  callsWithin(range) { this.open("calls").within(range); }

  showCall(row) { this.open("calls").reveal(row); }

  showMoment(row) {
    const view = this.open("overview");
    view.timeline.node.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => view.timeline.reveal(row));
  }

  showExec(index) {
    const view = this.open("programs");
    view.reveal(this.run.execs[index]);
  }

  // --- light and dark
  turn() {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    this.showTheme(isDark ? "light" : "dark");
    store("ring3-theme", document.documentElement.dataset.theme);
    this.views.overview?.timeline.recolour();
  }

  showTheme(name) {
    if (name) document.documentElement.dataset.theme = name;
    const isDark = name ? name === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    this.theme.textContent = isDark ? "☀ light" : "☾ dark";
    this.theme.setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
  }
}

// A file:// page may have no storage.
function stored(key) { try { return localStorage.getItem(key); } catch { return null; } }
function store(key, value) { try { localStorage.setItem(key, value); } catch { /* forgotten with the page */ } }

function logo() {
  const ring = (r) => svg("circle", { cx: 16, cy: 16, r, fill: "none", stroke: "currentColor", "stroke-width": 2 });
  return svg("svg", { viewBox: "0 0 32 32", class: "logo", "aria-hidden": "true" }, ring(14), ring(9.5), ring(5), svg("circle", { cx: 30, cy: 16, r: 2, fill: "currentColor" }));
}

const page = new Page(load());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.views.overview?.timeline.recolour());
performance.mark("ring3-built");
requestAnimationFrame(() => requestAnimationFrame(() => { performance.mark("ring3-shown"); document.documentElement.dataset.ready = "yes"; }));
