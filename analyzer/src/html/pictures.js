// What the pictures of a report show, and how: the libraries draw them. What the page's own script defines is used here, inside of
// functions alone: it comes later.
"use strict";

// Pictures are drawn again when there is other room for them, or another theme.
let pictures = [];
function again() {
  pictures = pictures.filter(({ box }) => box.isConnected);
  pictures.forEach(({ draw }) => draw());
}
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
function chart(box, option) {
  const chart = libraries.init(box, null, { renderer: "svg", height: 1 });
  const draw = () => {
    const { height, told, ...rest } = option(box.clientWidth);
    chart.resize({ height });
    chart.setOption({ animation: false, textStyle: { color: colour("ink"), fontFamily: "system-ui, sans-serif" },
      tooltip: { appendTo: "body", padding: 0, borderWidth: 0, backgroundColor: "transparent", extraCssText: "box-shadow: none", transitionDuration: 0, formatter: event => tipped(told(event)), axisPointer: { lineStyle: { color: colour("soft") } } }, ...rest });
  };
  pictures.push({ box, draw });
  draw();
  return chart;
}
const axis = (type, rest) => ({ type, axisLine: { show: false }, axisTick: { show: false }, splitLine: { show: false }, ...rest, axisLabel: { color: colour("soft"), fontSize: 12, ...rest.axisLabel } });
// A rectangle of a chart, as far as it is inside it: wide enough to be seen and pointed at.
function rectangle(area, [left, top], [right, bottom], style) {
  const x = Math.max(left, area.x), width = Math.min(right, area.x + area.width) - x;
  return width > 0 ? { type: "rect", shape: { x, y: top, width: Math.max(width, 1), height: bottom - top }, style, emphasisDisabled: true } : null;
}

// Both pictures of time have one axis: columns stand under each other, and what zooms the one zooms the other.
const over_time = (width, row) => ({ left: width < 600 ? 44 : Math.min(330, width * 0.3), right: 12, ...row });
const time_axis = rest => axis("value", { min: 0, max: data.time.bin_ns * data.time.exits.length, axisLabel: { formatter: ns => ns ? time(ns) : "0", hideOverlap: true, showMaxLabel: false }, ...rest });
const wheel = axes => ({ id: "wheel", type: "inside", xAxisIndex: axes, filterMode: "none", zoomOnMouseWheel: "ctrl", preventDefaultMouseMove: false });

function timeline(width) {
  const t = data.time, most = Math.max(1, ...t.exits.map((_, i) => t.vmm[i] + t.path[i]));
  const bars = (kind, stack, yAxisIndex) => ({ id: kind, type: "bar", stack, yAxisIndex, z: yAxisIndex ? 1 : 2, barGap: "-100%", barCategoryGap: 0, emphasis: { disabled: true }, itemStyle: { color: colour(kind) }, data: t[kind].map((ns, i) => [(i + 0.5) * t.bin_ns, ns]) });
  const ink = colour("ink"), names = [...new Set(data.phases.map(p => p.name))], hue = name => names.indexOf(name) * 67 % 360;
  const phase = ({ coordSys, dataIndex }, api) => {
    const { name, from_ns, to_ns } = data.phases[dataIndex], { y, height } = coordSys;
    const box = rectangle(coordSys, [api.coord([from_ns, 0])[0], y], [api.coord([to_ns, 0])[0] - 1, y + height], { fill: `hsla(${hue(name)}, 45%, 55%, 0.45)` });
    const fits = box && box.shape.width > 30;
    return box && { ...box, shape: { ...box.shape, r: 2 }, textConfig: { position: "insideLeft" }, textContent: fits ? { style: { text: name, fill: ink, fontSize: 12, width: box.shape.width - 10, overflow: "truncate" } } : undefined };
  };
  by("phases").replaceChildren(...names.slice(0, 12).map(name => make("span", {}, make("i", { style: `background: hsl(${hue(name)} 45% 55% / .6)` }), name)));
  by("scale").textContent = `The scale is of the time in exits (VMM measured, exit path ${data.path_is}). Grey: idle, at full scale.`;
  const grid = (top, height, rest) => over_time(width, { top, height, ...rest });
  return {
    height: 214,
    grid: [grid(6, 120, { tooltip: { trigger: "axis" } }), grid(150, 18)],
    // What is no guest computing is small: it gets a scale of its own.
    xAxis: [time_axis({}), time_axis({ gridIndex: 1, axisLabel: { show: false } })],
    yAxis: [axis("value", { max: most, interval: most / 2, axisLabel: { formatter: ns => ns ? `${percent(ns * 100 / t.bin_ns)} %` : "0" } }), axis("value", { max: t.bin_ns, show: false }), axis("value", { gridIndex: 1, show: false })],
    dataZoom: [{ ...over_time(width, {}), id: "strip", type: "slider", xAxisIndex: [0, 1], filterMode: "none", top: 178, height: 26, labelFormatter: ns => time(ns), textStyle: { color: colour("soft") }, borderColor: colour("line"), backgroundColor: colour("card"), fillerColor: colour("strip"), dataBackground: { areaStyle: { color: colour("soft") }, lineStyle: { opacity: 0 } }, selectedDataBackground: { areaStyle: { color: colour("soft") }, lineStyle: { opacity: 0 } }, handleStyle: { color: colour("card"), borderColor: colour("soft") }, moveHandleSize: 0 }, wheel([0, 1])],
    series: [bars("vmm", "cost", 0), bars("path", "cost", 0), bars("idle", "idle", 1), { id: "phases", type: "custom", xAxisIndex: 1, yAxisIndex: 2, data: data.phases.map(p => [p.from_ns, 0]), renderItem: phase }],
    told: event => Array.isArray(event) ? column(event[0].dataIndex) : one_phase(data.phases[event.dataIndex]),
  };
}
const one_phase = p => `${p.name}\n${time(p.from_ns)} to ${time(p.to_ns)}, ${group(p.exits)} exits`;
function column(i) {
  const t = data.time;
  return `from ${time(i * t.bin_ns)}: ${group(t.exits[i])} exits, ${group(t.interrupts[i])} interrupts\nVMM ${time(t.vmm[i])}, exit path ${time(t.path[i])}\nguest ${time(t.guest[i])}, idle ${time(t.idle[i])}`;
}

// Neighbours of one shade are one rectangle: from which column to which, in which row, how strong.
function strokes(rows) {
  return rows.flatMap(({ heat }, row) => {
    const shade = heat.map(ns => ns === 0 ? 0 : Math.max(1, Math.ceil(Math.sqrt(Math.min(1, ns / data.time.bin_ns * 8)) * 10)));
    const starts = shade.flatMap((s, i) => s === shade[i - 1] ? [] : [i]);
    return starts.map((from, n) => [from, starts[n + 1] ?? shade.length, row, shade[from]]).filter(stroke => stroke[3]);
  });
}
const site_told = site => `${site.instruction} at ${place(site)}\n${site.does}`;
function heat(width, rows, all) {
  const narrow = width < 600, high = narrow ? 34 : 17;
  const grid = over_time(width, { top: 6, height: rows.length * high }), fill = colour("vmm");
  const stroke = ({ coordSys, dataIndex }, api) => {
    const [from, to, row, shade] = all[dataIndex], y = coordSys.y + (row + 1) * high;
    const x = bin => api.coord([bin * data.time.bin_ns, row])[0];
    return rectangle(coordSys, [x(from), y - 16], [x(to), y - 1], { fill, opacity: 0.08 + shade * 0.092 });
  };
  const named = site => `${place(site)}  ${site.does}`;
  // Where there is no room beside them, names stand above their rows.
  const beside = { inside: false, margin: 8, width: grid.left - 14, align: "right", verticalAlign: "middle", padding: 0 }, above = { inside: true, margin: 8 - grid.left, width: width - 20, align: "left", verticalAlign: "bottom", padding: [0, 0, 1, 0] };
  return {
    height: rows.length * high + 32,
    grid,
    xAxis: time_axis({}),
    yAxis: axis("category", { inverse: true, data: rows.map(named), triggerEvent: true, tooltip: { show: true, formatter: event => tipped(site_told(rows[event.tickIndex])) }, axisLabel: { interval: 0, overflow: "truncate", color: colour("ink"), ...(narrow ? above : beside) } }),
    dataZoom: [wheel([0])],
    series: [{ id: "heat", type: "custom", data: all.map(([from, , row]) => [from * data.time.bin_ns, row]), renderItem: stroke }],
    told: ({ dataIndex }) => `${site_told(rows[all[dataIndex][2]])}\nfrom ${time(all[dataIndex][0] * data.time.bin_ns)}`,
  };
}
function pictures_of_time() {
  const rows = data.sites.filter(s => s.heat), all = strokes(rows);
  by("heats").hidden = !rows.length;
  const upper = chart(by("timeline"), timeline), lower = chart(by("heat"), width => heat(width, rows, all));
  const window = of => { const { start, end } = of.getOption().dataZoom[0]; return { start, end }; };
  const follow = (one, other) => one.on("datazoom", () => {
    const here = window(one), there = window(other);
    if (here.start !== there.start || here.end !== there.end) other.dispatchAction({ type: "dataZoom", ...here });
  });
  follow(upper, lower);
  follow(lower, upper);
  lower.on("click", event => choose(rows[event.componentType === "series" ? all[event.dataIndex][2] : event.dataIndex].site, true));
  // By how much a key makes the window wider, and moves it, in widths.
  const keys = { "+": [0.5, 0], "-": [2, 0], ArrowLeft: [1, -0.25], ArrowRight: [1, 0.25] };
  by("timeline").addEventListener("keydown", event => {
    if (!keys[event.key]) return;
    event.preventDefault();
    const { start, end } = window(upper), [wider, by_widths] = keys[event.key];
    const width = Math.min(100, (end - start) * wider), from = (start + end - width) / 2 + by_widths * width;
    const inside = Math.max(0, Math.min(100 - width, from));
    upper.dispatchAction({ type: "dataZoom", start: inside, end: inside + width });
  });
  return [upper, lower];
}

// How often each duration occurred, on a logarithmic axis.
function histogram(box, title, ranges) {
  box.append(make("p", { class: "soft" }, title));
  if (!ranges.length) return null;
  const picture = make("div", { class: "histogram", role: "img", "aria-label": title });
  box.append(picture);
  const bar = ({ coordSys, dataIndex }, api) => {
    const [from, to, exits] = ranges[dataIndex], foot = coordSys.y + coordSys.height;
    const [x, y] = api.coord([Math.max(1, from), exits]);
    return rectangle(coordSys, [x, Math.min(y, foot - 1.5)], [Math.max(api.coord([to, 0])[0] - 1, x + 1), foot], { fill: colour("guest") });
  };
  return chart(picture, () => ({
    height: 140,
    grid: { left: 8, right: 8, top: 6, height: 104 },
    xAxis: axis("log", { logBase: 10, min: Math.max(1, ranges[0][0]), max: Math.max(2, ranges.at(-1)[1]), axisLabel: { formatter: ns => time(ns), hideOverlap: true, alignMinLabel: "left", alignMaxLabel: "right" } }),
    yAxis: axis("value", { show: false, max: Math.max(...ranges.map(r => r[2])) }),
    series: [{ id: "durations", type: "custom", data: ranges.map(([from, , exits]) => [Math.max(1, from), exits]), renderItem: bar }],
    told: ({ dataIndex }) => { const [from, to, exits] = ranges[dataIndex]; return `${time(from)} to ${time(to)}: ${group(exits)} exits`; },
  }));
}

// Costs as a tree: callers, function, instruction, what it does.
function tree() {
  const root = { name: "all", value: 0, children: [], known: new Map() };
  const add = (site, callers, value) => {
    let node = root;
    root.value += value;
    const own = [site.function, `${site.instruction} at ${place(site)}`, site.does];
    for (const [name, key] of [...callers.map(c => [c, c]), ...own.map(name => [name, `${name} ${site.start}`])]) {
      if (!node.known.has(key)) {
        node.known.set(key, { name, value: 0, children: [], known: new Map() });
        node.children.push(node.known.get(key));
      }
      node = node.known.get(key);
      node.value += value;
    }
    // A leaf of several sites leads to none of them.
    node.site = node.site === undefined || node.site === site.site ? site.site : null;
  };
  const costly = new Map(data.sites.filter(s => !s.idle).map(s => [s.site, s]));
  if (data.stacks) for (const stack of data.stacks) { if (costly.has(stack.site)) add(costly.get(stack.site), stack.callers, cost(stack)); }
  else for (const site of costly.values()) add(site, [], cost(site));
  return root;
}
// Most names begin alike: the library's own colours, which are of the first letters, would be one.
function warm(name) {
  const hue = [...name].reduce((hash, c) => (hash * 31 + c.codePointAt(0)) % 997, 0);
  return `hsl(${18 + hue % 38} 75% ${62 + hue % 13}%)`;
}
function flame() {
  const root = tree(), high = 22, box = by("flame");
  by("flames").hidden = !root.value;
  if (!root.value) return;
  if (data.stacks) by("flame-by").textContent = "who called (? is guessed), ";
  const levels = node => 1 + Math.max(0, ...node.children.map(levels));
  const of_all = value => `${timed ? time(value) : group(value)}, ${percent(value * 100 / root.value)} %`;
  const graph = libraries.flamegraph().width(box.clientWidth).height(levels(root) * high).cellHeight(high).minFrameSize(1)
    .transitionDuration(matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 200)
    .sort((a, b) => b.data.value - a.data.value)
    .setColorMapper(frame => frame.highlight ? "hsl(285 75% 74%)" : frame.depth ? warm(frame.data.name) : "#d9c9a3")
    .tooltip(Object.assign(() => {}, { show: (event, { data }) => show(event, `${data.name}\n${of_all(data.value)}`), hide }))
    .setSearchMatch((frame, words) => words.every(word => frame.data.name.toLowerCase().includes(word)))
    .setSearchHandler((frames, sum) => { by("found").textContent = `${counted(frames.length, "frame")}, ${of_all(sum)}`; });
  libraries.select(box).datum(root).call(graph);
  // What stands for a site leads to it, instead of filling the picture.
  box.addEventListener("click", event => {
    const site = event.target.closest(".frame")?.__data__.data.site;
    if (typeof site === "number") { event.stopPropagation(); choose(site, true); }
  }, true);
  by("search").addEventListener("input", () => {
    const words = by("search").value.toLowerCase().split(/\s+/).filter(w => w);
    by("found").textContent = "";
    if (words.length) graph.search(words); else graph.clear();
  });
  pictures.push({ box, draw: () => graph.width(box.clientWidth).update() });
}
