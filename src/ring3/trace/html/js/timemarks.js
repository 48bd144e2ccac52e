// What stands over the lanes: arrows for wake-ups, marks where a policy said no.

const ARROWS = 300;                     // wake-ups that are drawn: with more of them in sight there is nothing to see

Object.assign(TimeLine.prototype, {
  // Arrows from the thread whose doing ended a sleep to the thread that slept.
  paintWakes(brush, height, scrolled, x) {
    const { wakes, threads } = this.run;
    let first = 0;
    for (let low = 0, high = wakes.at.length; low < high; first = low) {
      const middle = (low + high) >> 1;
      if (wakes.at[middle] < this.from) low = middle + 1; else high = middle;
    }
    let last = first;
    while (last < wakes.at.length && wakes.at[last] <= this.to && last - first <= ARROWS) last++;
    const count = last - first > ARROWS ? 0 : last - first;
    this.canvas.dataset.wakes = count;
    if (!count) return;
    brush.strokeStyle = brush.fillStyle = this.paints.accent;
    brush.lineWidth = 1;
    brush.globalAlpha = 0.7;
    for (let index = first; index < last; index++) {
      const from = threads[wakes.from[index]].lane * LANE - scrolled + 26, to = threads[wakes.to[index]].lane * LANE - scrolled + 26;
      if (Math.max(from, to) < 0 || Math.min(from, to) > height) continue;
      const at = Math.round(x(wakes.at[index])) + 0.5, way = Math.sign(to - from) || 1, tip = to - way * 6;
      brush.beginPath();
      brush.moveTo(at, from);
      brush.bezierCurveTo(at + 6, from + (tip - from) / 3, at + 6, from + (tip - from) * 2 / 3, at, tip);
      brush.stroke();
      brush.beginPath();
      brush.moveTo(at - 3, tip - way * 4);
      brush.lineTo(at, tip);
      brush.lineTo(at + 3, tip - way * 4);
      brush.fill();
    }
    brush.globalAlpha = 1;
  },

  // A mark where a policy said no.
  paintRefusals(brush, height, scrolled, x) {
    brush.fillStyle = this.paints.bad;
    for (const refusal of this.run.refusals) {
      if (refusal.at < this.from || refusal.at > this.to) continue;
      const at = x(refusal.at), y = this.run.threads[refusal.thread].lane * LANE - scrolled + 12;
      if (y < -LANE || y > height + LANE) continue;
      brush.beginPath();
      brush.moveTo(at, y - 6);
      brush.lineTo(at + 6, y);
      brush.lineTo(at, y + 6);
      brush.lineTo(at - 6, y);
      brush.fill();
    }
  },
});
