// The time line by keys: moving about, and going from call to call.
Object.assign(TimeLine.prototype, {
  key(event) {
    if (event.target !== this.node || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = (this.to - this.from) / 5;
    const act = {
      ArrowLeft: () => this.pan(-step), ArrowRight: () => this.pan(step), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      0: () => this.fit(), Home: () => this.pan(-this.whole), End: () => this.pan(this.whole),
      ArrowUp: () => this.lane(-1), ArrowDown: () => this.lane(1), n: () => this.neighbour(1), p: () => this.neighbour(-1),
      Enter: () => this.chosen >= 0 && this.page.showCall(this.chosen), Escape: () => this.close(),
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
  },

  // The call behind the chosen one in its lane, or before it (-1); the first in sight where none is chosen.
  neighbour(step) {
    const { calls, threads, lanes } = this.run;
    if (this.chosen < 0) {
      for (const lane of lanes) {
        const row = lane.thread.rows[firstFrom(this.run, lane.thread.rows, this.from)];
        if (row !== undefined && calls.at[row] <= this.to) return this.follow(row);
      }
      return undefined;
    }
    const { rows } = threads[calls.thread[this.chosen]];
    const index = rows.indexOf(this.chosen) + step;
    return index >= 0 && index < rows.length ? this.follow(rows[index]) : undefined;
  },

  // The nearest call of the next lane that has any; without a chosen call the lanes scroll.
  lane(step) {
    if (this.chosen < 0) return this.scroller.scrollBy(0, step * LANE);
    const { calls, threads, lanes } = this.run;
    for (let at = threads[calls.thread[this.chosen]].lane + step; at >= 0 && at < lanes.length; at += step) {
      const { rows } = lanes[at].thread;
      if (rows.length) return this.follow(rows[Math.min(firstFrom(this.run, rows, calls.at[this.chosen]), rows.length - 1)]);
    }
    return undefined;
  },

  // Choose a call and bring it into sight; how much is in sight stays.
  follow(row) {
    const { calls, threads } = this.run;
    const at = calls.at[row], span = this.to - this.from;
    if (at < this.from || at > this.to) this.look(at - span / 2, at + span / 2);
    const top = threads[calls.thread[row]].lane * LANE;
    if (top < this.scroller.scrollTop || top + LANE > this.scroller.scrollTop + this.scroller.clientHeight) {
      this.scroller.scrollTop = top - this.scroller.clientHeight / 2;
    }
    this.choose(row);
  },

  close() {
    this.card.hidden = true;
    this.chosen = -1;
    this.ask();
  },
});
