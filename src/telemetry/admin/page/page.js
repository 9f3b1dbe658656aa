// Draws the status that comes each second: findings and tables, whatever they hold.

const SILENCE = 5000; // milliseconds without an event after which the connection counts as lost
const RETRY = 1000;
const SHAPES = {
  well: ["M12 1a11 11 0 1 0 0 22 11 11 0 1 0 0-22z", "m7 12.4 3.4 3.4L17 8.8"],
  warning: ["M12 2.2 23 21.5H1z", "M12 9.3v5m0 3.4v.1"],
  trouble: ["M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z", "m8.2 8.2 7.6 7.6m0-7.6-7.6 7.6"],
  unknown: ["M12 1a11 11 0 1 0 0 22 11 11 0 1 0 0-22z", "M7 12h.1m4.9 0h.1m4.9 0h.1"],
};
const WORDS = { warning: "Look at this", trouble: "Trouble" };
let last = null; // the newest status
let heard = 0; // when it came, by our clock
let lost = null; // since when the connection is

const mark = (health) => make("svg", { class: "mark", viewBox: "0 0 24 24", "aria-hidden": "true" }, make("path", { d: SHAPES[health][0] }));

/** How much there is of what may be. */
function bar(used) {
  const fill = make("i");
  fill.style.width = `${Math.min(Math.max(used, 0), 1) * 100}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, fill);
}

const flagged = (health, text) => make("span", { class: health && "flag" }, health && mark(health), text);

/** Rows that are a name and a value. */
function facts({ rows }) {
  return make("dl", { class: "facts" }, ...rows.map(({ cells: [name, value], used, health }) =>
    make("div", { "data-health": health }, make("dt", {}, health && mark(health), name), make("dd", {}, value), known(used) ? bar(used) : null)));
}

/** Rows with a cell for each column; below a row what concerns all of it. */
function grid({ columns, rows }) {
  const cell = (row, text, index) => make("td", { role: "cell", "data-label": columns[index] }, text, row.small[index] ? make("small", {}, row.small[index]) : null);
  const body = rows.flatMap((row) => {
    const [name, ...cells] = row.cells;
    const notes = row.notes.map((note) => make("small", {}, note));
    const head = make("th", { scope: "row", role: "rowheader" }, flagged(row.health, name), row.small[0] ? make("small", {}, row.small[0]) : null, known(row.used) ? bar(row.used) : null);
    const lines = [make("tr", { role: "row", "data-health": row.health }, head, ...cells.map((text, index) => cell(row, text, index + 1)))];
    if (notes.length) lines.push(make("tr", { role: "row", class: "notes" }, make("td", { role: "cell", class: "wide", colspan: columns.length }, ...notes)));
    return lines;
  });
  const head = columns.map((name) => make("th", { scope: "col", role: "columnheader" }, name));
  return make("table", { class: isWide(columns) ? "cards" : null, role: "table" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)), make("tbody", { role: "rowgroup" }, ...body));
}

const isWide = (columns) => columns.length > 4;

/** The section of a table, made when it is first seen: wide tables above, narrow ones beside each other. */
function section({ name, columns }) {
  const old = byId(name);
  if (old) return old;
  const made = make("section", { id: name, "aria-labelledby": `${name}-title` }, make("h2", { id: `${name}-title` }), make("div"), make("p", { class: "note" }));
  byId(isWide(columns) ? "wide" : "narrow").append(made);
  return made;
}

/** Draws a table, whatever it holds. */
function drawTable(table) {
  const [title, body, note] = section(table).children;
  say(title, table.title);
  const drawn = table.columns.length ? grid(table) : facts(table);
  body.replaceChildren(...(table.rows.length ? [drawn] : []));
  say(note, table.note ?? "");
}

function drawGlance({ rows }) {
  byId("figures").replaceChildren(...rows.map(({ cells: [name, value, meaning] }) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value, make("small", {}, meaning)))));
}

/** The first of the findings is the headline's own, and goes without its subject. */
function showVerdict(health, headline, findings, summary) {
  byId("verdict").dataset.health = health;
  byId("shape").setAttribute("d", SHAPES[health][0]);
  byId("sign").setAttribute("d", SHAPES[health][1]);
  say(byId("headline"), headline);
  say(byId("summary"), summary);
  const [first, ...others] = findings;
  byId("reason").replaceChildren(...prose(first?.text ?? ""));
  byId("findings").replaceChildren(...others.map((finding) => make("li", { "data-health": finding.health },
    mark(finding.health), make("b", {}, finding.subject), ": ", ...prose(finding.text))));
  // Only when something else is wrong, not when a figure in it moves.
  const subjects = findings.map((finding) => finding.subject).join(", ");
  say(byId("announcement"), health === "unknown" || findings.length === 0 ? headline : `${WORDS[health]}: ${subjects}`);
  document.title = `${{ well: "Well", unknown: "?" }[health] ?? WORDS[health]} · gatherd`;
}

/** Shows a status everywhere. */
function show(status) {
  // Another version of gatherd brings another page.
  if (last && last.process.version !== status.process.version) return location.reload();
  last = status;
  history.now = status.at;
  history.deadline = status.deadline_ms;
  say(byId("version"), status.process.version);
  const { health, findings, summary } = status;
  showVerdict(health, findings.length ? `${WORDS[health]}: ${findings[0].subject}` : "All well", findings, summary);
  drawGlance(status.glance);
  for (const old of document.querySelectorAll(":is(#wide, #narrow) > section")) {
    if (!status.tables.some(({ name }) => name === old.id)) old.remove();
  }
  status.tables.forEach(drawTable);
  drawAll();
}

function found(status) {
  heard = Date.now();
  lost = null;
  byId("link").className = "live";
  show(status);
  say(byId("link"), `live, ${clock(status.at)}`);
}

function lose() {
  lost ??= (heard || Date.now()) / 1000;
  const since = clock(lost);
  byId("link").className = "lost";
  say(byId("link"), `connection lost, since ${since}`);
  const stale = last ? `The figures below are from ${clock(last.at)}.` : "";
  showVerdict("unknown", `Connection lost, since ${since}`, [], `Trying again each second. ${stale}`);
}

/** Listens until nothing comes any more, and then anew. */
function listen() {
  const events = new EventSource("/events");
  let watch;
  const again = () => {
    events.close();
    clearTimeout(watch);
    lose();
    setTimeout(listen, RETRY);
  };
  const alive = () => {
    clearTimeout(watch);
    watch = setTimeout(again, SILENCE);
  };
  alive();
  events.onerror = again;
  events.addEventListener("history", ({ data }) => {
    const { step_seconds, points } = JSON.parse(data);
    Object.assign(history, { step: step_seconds, points });
    tabulate();
    drawAll();
  });
  events.addEventListener("point", ({ data }) => {
    const point = JSON.parse(data);
    history.points = [...history.points.filter(({ at }) => at > point.at - HOUR), point];
    tabulate();
  });
  events.addEventListener("status", ({ data }) => {
    alive();
    found(JSON.parse(data));
  });
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
say(byId("zone"), `Times are in the zone of this browser${zone ? `: ${zone}` : ""}.`);
charts.forEach(prepare);
showVerdict("unknown", "Waiting for the first figures", [], "");
listen();
