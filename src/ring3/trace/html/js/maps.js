// An address space as a picture to scale.  Mapped ranges are drawn in one scale, the highest address on top; the emptiness between
// them, which would fill everything, is cut out and said in words; a range much longer than the others is cut, and says so.

const APART = 4 * 2 ** 20;              // bytes of nothing that are cut out
const THINNEST = 2;                     // pixels of the smallest range
const BAR = { left: 118, width: 64 };
const TALL = 30, SHORT = 16;            // pixels of a label of two lines, of one

// Ranges that stand close together, lowest first.
function clusters(regions) {
  const found = [];
  for (const [start, length, bits, label] of regions) {
    const region = { start, length, bits, label };
    const last = found[found.length - 1];
    if (last && start - last.end < APART) { last.regions.push(region); last.end = start + length; } else found.push({ start, end: start + length, regions: [region] });
  }
  return found;
}

// One scale for several maps: pixels a byte, and how many bytes are drawn of a long range.
function scaleFor(maps, pixels) {
  const lengths = maps.flatMap((map) => map.regions.map(([, length]) => length)).sort((a, b) => a - b);
  const typical = lengths[Math.floor(lengths.length * 0.9)] ?? 4096;
  const longest = Math.max(typical * 3, 4 * 2 ** 20);
  const totals = maps.map((map) => map.regions.reduce((sum, [, length]) => sum + Math.min(length, longest), 0));
  return { longest, perByte: pixels / Math.max(...totals, 1) };
}

// Consecutive ranges with one name share one label; memory without a name right behind a file's is that file's (.bss).
function labelled(run, cluster) {
  const groups = [];
  for (const region of cluster.regions) {
    const last = groups[groups.length - 1];
    const isTail = last && !run.strings[region.label] && run.strings[last.label].startsWith("/");
    if (last && (last.label === region.label || isTail) && last.end === region.start) { last.parts.push(region); last.end += region.length; } else groups.push({ label: region.label, parts: [region], end: region.start + region.length });
  }
  return groups;
}

function drawMap(run, map, scale, title) {
  const bands = [];                     // from the top: {y, height, region | gap}
  let y = 8;
  const all = clusters(map.regions).reverse();
  all.forEach((cluster, index) => {
    const from = y;
    for (const region of [...cluster.regions].reverse()) {
      const height = Math.max(Math.min(region.length, scale.longest) * scale.perByte, THINNEST);
      region.y = y;
      region.height = height;
      region.isCut = region.length > scale.longest;
      bands.push(region);
      y += height;
    }
    cluster.y = from;
    cluster.height = y - from;
    if (cluster.height < 26 && index + 1 < all.length) y = from + 26;
    const below = all[index + 1];
    if (below) { cluster.gap = { bytes: cluster.start - below.end, y: y + 4 }; y += 30; }
  });
  const labels = placeLabels(run, all);
  const height = Math.max(y, ...labels.map((label) => label.y + label.height)) + 8;
  const picture = svg("svg", { class: "map", viewBox: `0 0 460 ${Math.round(height)}`, role: "img", "aria-label": `${title}: ${mapInWords(run, all)}` });
  for (const cluster of all) drawCluster(picture, cluster);
  for (const region of bands) drawRegion(run, picture, region);
  for (const label of labels) drawLabel(run, picture, label);
  return picture;
}

function placeLabels(run, all) {
  const labels = [];
  for (const cluster of all) {
    for (const group of labelled(run, cluster).reverse()) {
      const top = Math.min(...group.parts.map((part) => part.y)), bottom = Math.max(...group.parts.map((part) => part.y + part.height));
      const middle = (top + bottom) / 2, height = bottom - top >= TALL ? TALL : SHORT;
      labels.push({ group, middle, height, y: middle - height / 2 });
    }
  }
  labels.forEach((label, index) => { label.y = Math.max(label.y, index ? labels[index - 1].y + labels[index - 1].height : 0); });
  return labels;
}

function drawCluster(picture, cluster) {
  const text = (y, words) => picture.append(svg("text", { x: BAR.left - 10, y, class: "map-address", "text-anchor": "end" }, words));
  text(cluster.y + 9, address(cluster.end));
  if (cluster.height >= 24) text(cluster.y + cluster.height, address(cluster.start));
  if (!cluster.gap) return;
  const { y, bytes: empty } = cluster.gap;
  const middle = BAR.left + BAR.width / 2;
  picture.append(svg("path", { class: "map-gap", d: `M${middle} ${y} v6 l-5 3 l10 4 l-5 3 v6` }));
  picture.append(svg("text", { x: BAR.left - 10, y: y + 14, class: "map-note", "text-anchor": "end" }, `${far(empty)} empty`));
}

function drawRegion(run, picture, region) {
  const kind = ["none", "ro", "rw", "rw", "rx", "rx", "rwx", "rwx"][region.bits & 7];
  const box = svg("rect", { x: BAR.left, y: region.y, width: BAR.width, height: region.height, class: `map-region map-${kind}` },
    svg("title", {}, `${address(region.start)} – ${address(region.start + region.length)}\n${protection(region.bits)} ${far(region.length)} ${run.strings[region.label]}`));
  picture.append(box);
  if (region.isCut) {
    const y = region.y + region.height / 2, x = BAR.left;
    picture.append(svg("path", { class: "map-cut", d: `M${x - 4} ${y} l12 -5 l12 10 l12 -10 l12 10 l12 -10 l12 5` }));
  }
}

function drawLabel(run, picture, { group, middle, y, height }) {
  const x = BAR.left + BAR.width, centre = y + height / 2;
  picture.append(svg("path", { class: "map-leader", d: `M${x + 2} ${middle} L${x + 16} ${centre} H${x + 22}` }));
  const name = run.strings[group.label] || "memory without a name";
  const last = name.startsWith("/") ? name.slice(name.lastIndexOf("/") + 1) : name;
  const short = last.length > 34 ? `…${last.slice(-33)}` : last;
  const total = group.parts.reduce((sum, part) => sum + part.length, 0);
  const kinds = `${group.parts.map((part) => protection(part.bits)).slice(0, 6).join(" ")}${group.parts.length > 6 ? " …" : ""}`;
  const title = svg("title", {}, `${name}\n${far(total)} ${kinds}`);
  if (height === TALL) {
    picture.append(svg("text", { x: x + 26, y: centre - 3, class: "map-name" }, short, title));
    picture.append(svg("text", { x: x + 26, y: centre + 11, class: "map-note" }, `${far(total)}  ${kinds}`));
  } else {
    picture.append(svg("text", { x: x + 26, y: centre + 4, class: "map-name" }, short, svg("tspan", { class: "map-note", dx: 7 }, far(total)), title));
  }
}

// Sizes of address spaces go beyond what files have.
function far(count) {
  const gib = 2 ** 30;
  if (count >= 1024 * gib) return `${(count / (1024 * gib)).toFixed(1)} TiB`;
  return bytes(count);
}

const mapInWords = (run, all) => all.flatMap((cluster) => labelled(run, cluster).map((group) => run.strings[group.label] || "memory")).join(", ");
