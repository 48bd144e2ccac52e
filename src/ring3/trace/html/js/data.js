// The run, as the recorder left it in the page: columns and a table of strings, parsed once.

const SUBJECTS = ["file", "memory", "process", "signal", "network", "time", "other"];

function load() {
  const doc = JSON.parse(document.getElementById("data").textContent);
  const calls = {
    count: doc.calls.at.length,
    at: sums(doc.calls.at),
    ns: Float64Array.from(doc.calls.ns),
    thread: Int32Array.from(doc.calls.thread),
    name: Int32Array.from(doc.calls.name),
    args: Int32Array.from(doc.calls.args),
    result: Int32Array.from(doc.calls.result),
    error: Int32Array.from(doc.calls.error),
  };
  const run = {
    head: doc.head, strings: doc.strings, calls, procs: doc.procs, threads: doc.threads, execs: doc.execs, files: doc.files,
    wakes: { at: sums(doc.wakes.at), from: doc.wakes.from, to: doc.wakes.to }, signals: doc.signals, refusals: doc.refusals, subjects: doc.subjects, meanings: doc.meanings, missing: doc.missing,
  };
  for (const [index, thread] of run.threads.entries()) {
    thread.index = index;
    run.procs[thread.proc].threads.push(thread);
  }
  const next = new Map();               // per thread, the exec after this one
  for (let index = run.execs.length - 1; index >= 0; index--) {
    const exec = run.execs[index], behind = next.get(exec.thread);
    exec.index = index;
    // A program looked for along PATH: refused here, found in a later directory.
    exec.isSearch = exec.error !== 0 && behind !== undefined && lastPart(run, behind) === lastPart(run, exec) && (!behind.error || behind.isSearch);
    next.set(exec.thread, exec);
  }
  for (const exec of run.execs) if (!exec.error) run.procs[run.threads[exec.thread].proc].execs.push(exec);
  countCalls(run);
  orderLanes(run);
  return run;
}

const lastPart = (run, exec) => run.strings[exec.path].slice(run.strings[exec.path].lastIndexOf("/") + 1);

function sums(deltas) {
  const found = new Float64Array(deltas.length);
  for (let index = 0, total = 0; index < deltas.length; index++) found[index] = total += deltas[index];
  return found;
}

// Per thread the rows of its calls, in the order they began; per name how often, how long, how many failed.
function countCalls(run) {
  const { calls } = run;
  const sizes = new Int32Array(run.threads.length);
  for (let row = 0; row < calls.count; row++) sizes[calls.thread[row]]++;
  const filled = new Int32Array(run.threads.length);
  run.threads.forEach((thread, index) => { thread.rows = new Int32Array(sizes[index]); });
  run.byName = new Map();
  run.errors = 0;
  for (let row = 0; row < calls.count; row++) {
    const index = calls.thread[row];
    run.threads[index].rows[filled[index]++] = row;
    let entry = run.byName.get(calls.name[row]);
    if (entry === undefined) run.byName.set(calls.name[row], entry = { name: calls.name[row], count: 0, ns: 0, errors: 0 });
    entry.count++;
    entry.ns += Math.max(calls.ns[row], 0);
    if (calls.error[row]) { entry.errors++; run.errors++; }
  }
}

// Lanes: every process below its parent, in the order they were made; its threads below it.
function orderLanes(run) {
  const children = run.procs.map(() => []);
  const roots = [];
  run.procs.forEach((proc, index) => {
    proc.index = index;
    (proc.parent < 0 ? roots : children[proc.parent]).push(index);
  });
  run.lanes = [];
  const pending = roots.reverse().map((index) => [index, 0]);
  while (pending.length) {
    const [index, depth] = pending.pop();
    const proc = run.procs[index];
    for (const thread of proc.threads) {
      thread.lane = run.lanes.length;
      run.lanes.push({ proc, thread, depth, isLeader: thread === proc.threads[0] });
    }
    for (const child of children[index].reverse()) pending.push([child, depth + 1]);
  }
}

// The name a process went by at a moment: that of its last program.
function programAt(run, proc, at) {
  let name = proc.name;
  for (const exec of proc.execs) {
    if (exec.at > at) break;
    name = exec.name;
  }
  return run.strings[name];
}

const subjectOf = (run, name) => run.subjects[name] ?? SUBJECTS.length - 1;

// The first row of `rows` whose call begins at or behind `at`.
function firstFrom(run, rows, at) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (run.calls.at[rows[middle]] < at) low = middle + 1; else high = middle;
  }
  return low;
}
