// Charts of the last hour: three of them, one axis of time, one cursor.

const HOUR = 3600;
const EDGE = { left: 50, right: 8, top: 8, bottom: 20 };
const history = { step: 10, points: [], deadline: null };
let cursor = null; // the instant that is read; none is the newest

const charts = [
  { id: "rate", title: "Good answers", unit: "a second", format: number, series: [{ key: "good", label: "good", filled: true }] },
  { id: "failures", title: "Errors, refusals, clients that left", unit: "a second", format: number,
    series: [{ key: "refused", label: "refused", filled: true }, { key: "left", label: "left" }, { key: "errors", label: "errors (5xx)" }] },
  { id: "latency", title: "How long requests took", unit: "logarithmic", format: duration, logarithmic: true,
    series: [{ key: "p99", field: "p99_ms", label: "p99" }, { key: "p50", field: "p50_ms", label: "p50" },
      { key: "deadline", label: "deadline" }] },
];

function valueOf(series, point) {
  return series.key === "deadline" ? history.deadline : point?.[series.field ?? series.key] ?? null;
}

/** The point nearest to an instant, if there is one close by. */
function pointAt(at) {
  const near = history.points.reduce((best, point) =>
    (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point), null);
  return near && Math.abs(near.at - at) <= history.step * 1.5 ? near : null;
}

/** Where values stand, and the values that get a line. */
function scaleOf(chart, bottom) {
  const values = history.points.flatMap((point) => chart.series.map((series) => valueOf(series, point)))
    .concat(chart.logarithmic ? [history.deadline] : []).filter((value) => known(value) && value > 0);
  if (chart.logarithmic) {
    const low = Math.floor(Math.log10(Math.max(0.1, Math.min(...values, 10))));
    const high = Math.max(Math.ceil(Math.log10(Math.max(...values, 100))), low + 2);
    const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
    const y = (value) => bottom - ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (bottom - EDGE.top);
    return { y, ticks, label: duration };
  }
  const most = Math.max(...values, 0.001);
  const size = 10 ** Math.floor(Math.log10(most));
  const top = values.length ? size * [1, 2, 5, 10].find((step) => size * step >= most) : 1;
  const y = (value) => bottom - (value / top) * (bottom - EDGE.top);
  return { y, ticks: [0, top / 2, top], label: (tick) => String(Number(tick.toPrecision(3))) };
}

/** A line that is broken where nothing is known. */
function lineOf(series, x, y) {
  let before = null;
  return history.points.map((point) => {
    const value = valueOf(series, point);
    if (!known(value)) {
      before = null;
      return "";
    }
    const joined = before && point.at - before.at <= history.step * 2.5;
    before = point;
    const place = `${x(point.at).toFixed(1)} ${y(value).toFixed(1)}`;
    return joined ? `L${place}` : `M${place}h0`;
  }).join("");
}

/** Quarters of an hour, by the clock. */
function timeTicks(from, to) {
  const ticks = [];
  for (let at = Math.ceil(from / 900) * 900; at <= to; at += 900) ticks.push(at);
  return ticks;
}

function draw(chart, now) {
  const plot = chart.plot;
  const { width, height } = plot.getBoundingClientRect();
  if (!width) return;
  const bottom = height - EDGE.bottom;
  const right = width - EDGE.right;
  const x = (at) => right - ((now - at) / HOUR) * (right - EDGE.left);
  const { y, ticks, label } = scaleOf(chart, bottom);
  const across = ticks.flatMap((tick) => [
    make("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(tick), y2: y(tick) }),
    make("text", { x: EDGE.left - 6, y: y(tick) + 4, "text-anchor": "end" }, label(tick)),
  ]);
  const along = timeTicks(now - HOUR, now).map((tick) =>
    make("text", { x: Math.min(Math.max(x(tick), EDGE.left + 8), right - 14), y: height - 4, "text-anchor": "middle" }, clock(tick, false).slice(-5)));
  const lines = chart.series.flatMap((series) => {
    if (series.key === "deadline") {
      return known(history.deadline)
        ? [make("path", { class: "series deadline", d: `M${EDGE.left} ${y(history.deadline)}H${right}` })] : [];
    }
    const d = lineOf(series, x, y);
    const line = make("path", { class: `series ${series.key}`, d });
    if (!series.filled) return [line];
    const shade = d.split("M").filter(Boolean).map((part) => {
      const places = part.split(/h0|L/).filter(Boolean);
      const [first, last] = [places[0].split(" ")[0], places[places.length - 1].split(" ")[0]];
      return `M${first} ${bottom}L${places.join("L")}L${last} ${bottom}Z`;
    }).join("");
    return [make("path", { class: `area ${series.key}`, d: shade }), line];
  });
  const read = known(cursor) ? [make("line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: EDGE.top, y2: bottom })] : [];
  plot.replaceChildren(...across, ...along, ...lines, ...read);
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.instant = (px) => now - ((right - px) / (right - EDGE.left)) * HOUR;
}

/** The values at the cursor, for eyes and ears. */
function read(chart, now) {
  const newest = history.points[history.points.length - 1];
  const point = known(cursor) ? pointAt(cursor) : newest;
  chart.series.forEach((series) => say(series.value, chart.format(valueOf(series, point))));
  say(chart.when, known(cursor) ? `at ${clock(cursor)}` : chart.unit);
  const spoken = chart.series.map((series) => `${series.label} ${chart.format(valueOf(series, point))}`).join(", ");
  const at = known(cursor) ? cursor : newest?.at ?? now;
  chart.plot.setAttribute("aria-valuenow", String(Math.round((at - now) / 60)));
  // Ears hear what was asked for; eyes see it move.
  if (known(cursor) || document.activeElement !== chart.plot) chart.plot.setAttribute("aria-valuetext", `${clock(at)}: ${spoken}`);
}

function drawAll() {
  const now = history.now ?? Date.now() / 1000;
  if (known(cursor) && cursor < now - HOUR) cursor = null;
  charts.forEach((chart) => {
    draw(chart, now);
    read(chart, now);
  });
}

function moveCursor(at) {
  const points = history.points;
  cursor = points.length && known(at) ? Math.min(Math.max(at, points[0].at), points[points.length - 1].at) : null;
  const near = known(cursor) && pointAt(cursor);
  if (near) cursor = near.at;
  drawAll();
}

function onKey(event) {
  const { points, step } = history;
  if (!points.length || event.ctrlKey || event.altKey || event.metaKey) return;
  const newest = points[points.length - 1].at;
  const at = cursor ?? newest;
  const to = {
    ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step,
    PageDown: at - step * 30, PageUp: at + step * 30, Home: points[0].at, End: newest, Escape: null,
  };
  if (!(event.key in to)) return;
  event.preventDefault();
  moveCursor(to[event.key]);
}

/** Puts an empty chart into its figure. */
function prepare(chart) {
  chart.when = make("span", {}, chart.unit);
  chart.series.forEach((series) => (series.value = make("b", {}, NONE)));
  const legend = chart.series.map((series) => make("li", {},
    make("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" }, 
      series.filled && make("path", { class: `area ${series.key}`, d: "M1 2H21V10H1Z" }), make("path", { class: `series ${series.key}`, d: series.filled ? "M1 2H21" : "M1 5H21" })),
    `${series.label} `, series.value));
  chart.plot = make("svg", {
    class: "plot", tabindex: "0", role: "slider", "aria-label": `${chart.title}, minutes before now`,
    "aria-valuemin": "-60", "aria-valuemax": "0", "aria-valuenow": "0",
  });
  chart.plot.addEventListener("pointermove", (event) =>
    moveCursor(chart.instant?.(event.clientX - chart.plot.getBoundingClientRect().left)));
  chart.plot.addEventListener("pointerleave", () => moveCursor(null));
  chart.plot.addEventListener("blur", () => moveCursor(null));
  chart.plot.addEventListener("keydown", onKey);
  byId(chart.id).append(make("figcaption", {}, chart.title, chart.when), make("ul", { class: "legend" }, ...legend), chart.plot);
  new ResizeObserver(drawAll).observe(chart.plot);
}

/** The hour as a table: a row for each minute, the newest first. */
function tabulate() {
  const minutes = new Map();
  history.points.forEach((point) => minutes.set(Math.floor(point.at / 60), [...(minutes.get(Math.floor(point.at / 60)) ?? []), point]));
  const mean = (points, key) => points.reduce((sum, point) => sum + (point[key] ?? 0), 0) / points.length;
  const worst = (points, key) => points.reduce((most, point) => (known(point[key]) ? Math.max(most ?? 0, point[key]) : most), null);
  const rows = [...minutes].reverse().map(([minute, points]) => make("tr", {},
    make("th", { scope: "row" }, clock(minute * 60, false)),
    ...["good", "errors", "refused", "left"].map((key) => make("td", {}, number(mean(points, key)))),
    ...["p50_ms", "p99_ms"].map((key) => make("td", {}, duration(worst(points, key))))));
  const names = ["Minute", "Good /s", "Errors /s", "Refused /s", "Left /s", "p50, worst", "p99, worst"];
  byId("minutes").replaceChildren(
    make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
}
