// What the service says of itself, each second, put where it belongs.

const SILENCE = 5000; // so many milliseconds without a word, and the connection counts as lost
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
const per = (value) => `${number(value)} /s`;
const total = (rows, of) => rows.reduce((sum, row) => sum + of(row), 0);

/** How bad it is at a place: what is found there, or at a part of it. */
function flag(...places) {
  const found = last.findings.find(({ subject }) => places.some((place) => subject === place || subject.startsWith(`${place} `)));
  return found?.health;
}

/** Marks the title of a section whose whole is in question. */
function title(id, health) {
  const heading = byId(id);
  if (heading.dataset.health === health) return;
  if (health) heading.dataset.health = health;
  else delete heading.dataset.health;
  heading.replaceChildren(make("span", { class: health && "flag" }, health && mark(health), heading.textContent));
}

/** How much there is of what may be. */
function bar(value, limit) {
  const share = limit > 0 ? Math.min(Math.max(value / limit, 0), 1) : 0;
  const fill = make("i");
  fill.style.width = `${share * 100}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, fill);
}

/** Fills a list of facts: [term, description, how bad it is, more elements]. */
function facts(id, rows) {
  byId(id).replaceChildren(...rows.filter(Boolean).map(([term, text, health, ...more]) =>
    make("div", { "data-health": health }, make("dt", {}, health && mark(health), term), make("dd", {}, text), ...more)));
}

/** Fills a table; a row is [health, header, …cells], a cell a text or [text, small text, class]. */
function table(id, names, rows, empty) {
  const cell = (value, index) => {
    const [text, small, kind] = Array.isArray(value) ? value : [value];
    return make("td", { role: "cell", "data-label": names[index + 1][0], class: kind }, text, small && make("small", {}, small));
  };
  const body = rows.map(([health, [name, small], ...cells]) => make("tr", { role: "row", "data-health": health },
    make("th", { scope: "row", role: "rowheader" }, make("span", { class: health && "flag" }, health && mark(health), name), small && make("small", {}, small)),
    ...cells.map(cell)));
  if (!body.length) return byId(id).replaceChildren(make("tbody", { role: "rowgroup" }, make("tr", { role: "row" }, make("td", { role: "cell", class: "empty" }, empty))));
  const head = names.map(([name, small, kind]) =>
    make("th", { scope: "col", role: "columnheader", class: kind }, name, small && make("small", {}, small)));
  byId(id).replaceChildren(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
    make("tbody", { role: "rowgroup" }, ...body));
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

function verdict({ health, findings, routes, process }) {
  const requests = total(routes, (route) => route.minute.requests);
  const traffic = requests > 0 ? `${number(requests)} requests a second in the last minute.` : "No requests in the last minute.";
  const state = process.state === "ready" ? "" : ` The service is ${process.state}.`;
  const headline = findings.length ? `${WORDS[health]}: ${findings[0].subject}` : "All well";
  showVerdict(health, headline, findings, traffic + state);
}

function figures({ routes, refusals, load, resources }) {
  const good = total(routes, (route) => route.minute.good);
  const bad = total(routes, (route) => route.minute.errors);
  const timed = routes.filter((route) => known(route.minute.p99_ms)).sort((a, b) => b.minute.p99_ms - a.minute.p99_ms)[0];
  const left = total(routes, (route) => route.minute.left);
  const unhappy = [bad > 0 && `${per(bad)} errors`, left > 0 && `${per(left)} left`].filter(Boolean);
  const refused = total(refusals, (limit) => limit.minute);
  const rows = [
    ["Good answers", per(good), `${per(total(routes, (route) => route.five_minutes.good))} over 5 min`],
    ["Good share", percent(good + bad > 0 ? good / (good + bad) : null), unhappy.join(", ") || "no errors"],
    ["p99, slowest route", duration(timed?.minute.p99_ms), timed ? `of ${duration(timed.deadline_ms)}: ${timed.route}` : "no requests"],
    ["In flight", number(load.in_flight), `of ${number(load.max_in_flight)}`],
    ["Refused", per(refused), refused > 0 ? "see the limits below" : "none"],
    ["CPU of a core", percent(resources.cpu), `event loop late by ${duration(resources.loop_lag_ms)}`],
  ];
  byId("figures").replaceChildren(...rows.map(([term, value, small]) =>
    make("div", {}, make("dt", {}, term), make("dd", {}, value, make("small", {}, small)))));
}

function routes({ routes }) {
  const names = [["Route"], ["Good /s"], ["Good share"], ["Errors /s"], ["Left /s"], ["p50"], ["p99"], ["Deadline"]];
  const seen = routes.filter((route) => route.route !== "none" || route.five_minutes.requests > 0);
  const rows = seen.map(({ route, policy, deadline_ms, minute, five_minutes: five, ...rest }) => [
    flag(`route ${route}`),
    route === "none" ? ["no route", "404 and 405"] : [route, [policy, ...hedges(rest)].join(", ")],
    [number(minute.good), number(five.good)], [percent(minute.good_share), percent(five.good_share)],
    [number(minute.errors), number(five.errors)], [number(minute.left), number(five.left)], [duration(minute.p50_ms), duration(five.p50_ms)],
    [duration(minute.p99_ms), duration(five.p99_ms)], duration(deadline_ms),
  ]);
  table("routes", names, rows, "There are no routes.");
}

const hedges = ({ hedges_started: started, hedges_won: won, hedges_held_back: held, tail }) => [
  ...(started + held > 0 ? [`hedges ${per(started)}`, `${per(won)} won`, `${per(held)} held back`] : []),
  ...(tail ? [`p99.9 ${duration(tail.p999_ms)}, without hedges ${duration(tail.p999_without_ms)}`,
    `p99 ${duration(tail.p99_ms)}, without ${duration(tail.p99_without_ms)}`, `${percent(tail.extra_calls)} more calls`] : []),
];

function upstreams({ upstreams }) {
  const names = [["Upstream"], ["Calls /s"], ["Succeed"], ["Failures", null, "left"], ["p50"], ["p99"], ["Calls now"], ["Address", null, "left"]];
  const rows = upstreams.map((upstream) => {
    const used = upstream.running + upstream.lingering;
    const failures = upstream.failures.map(({ kind, count, rate }) =>
      make("div", {}, code(kind), ` ${percent(upstream.branches > 0 ? rate / upstream.branches : null)} (${number(count)})`));
    return [
      flag(`upstream ${upstream.upstream}`), [upstream.upstream, upstream.breaker ? `breaker ${upstream.breaker}` : null],
      [number(upstream.calls), upstream.retries > 0 ? `retried ${per(upstream.retries)}` : null],
      percent(upstream.branches > 0 ? upstream.succeeded / upstream.branches : null),
      [failures.length ? make("div", {}, ...failures) : "none", null, "left wide"],
      duration(upstream.p50_ms), duration(upstream.p99_ms),
      [make("div", {}, `${number(used)} of ${number(upstream.max_calls)}`, bar(used, upstream.max_calls)),
        `lingering ${number(upstream.lingering)}, waiting ${number(upstream.waiting)}`],
      [code(upstream.addresses.join(", ") || NONE), known(upstream.addresses_age_seconds) ? `unchanged for ${age(upstream.addresses_age_seconds)}` : null, "left wide"],
    ];
  });
  table("upstreams", names, rows, "There are no upstreams.");
}

function load({ load, upstreams }) {
  const connections = load.active + load.idle + load.handshaking;
  const of = (value, limit, format = number) => `${format(value)} of ${format(limit)}`;
  const calls = total(upstreams, (upstream) => upstream.max_calls);
  title("load-title", flag("load"));
  facts("load", [
    ["Gathers in flight", of(load.in_flight, load.max_in_flight), flag("limit max_in_flight"), bar(load.in_flight, load.max_in_flight)],
    ["Connections", of(connections, load.max_connections), flag("limit max_connections"), bar(connections, load.max_connections)],
    ["Active, idle, in handshake", `${number(load.active)}, ${number(load.idle)}, ${number(load.handshaking)}`],
    ["Branches waiting for a call", number(load.waiting), flag("limit max_wait")],
    ["Calls lingering", of(load.lingering, calls), null, bar(load.lingering, calls)],
    ["Replies held", of(load.buffered_bytes, load.max_buffered_bytes, bytes), flag("limit max_buffered"), bar(load.buffered_bytes, load.max_buffered_bytes)],
    ["Handshakes that failed", per(load.handshakes_failed), flag("handshakes")],
    ["Calls for each request", number(load.calls_per_request)],
    ["Clients tracked", number(load.clients_tracked)],
  ]);
}

function machine({ resources: now }) {
  const pressures = [["CPU", now.cpu_pressure], ["memory", now.memory_pressure], ["disk", now.io_pressure]].filter(([, share]) => known(share));
  facts("machine", [
    ["Event loop late by", duration(now.loop_lag_ms), flag("event loop")],
    ["CPU of gatherd", `${percent(now.cpu)} of a core`],
    ["CPU of the host", `${percent(now.host_cpu)} of ${number(now.cores)} ${now.cores === 1 ? "core" : "cores"}`, null, bar(now.host_cpu, 1)],
    ["Steal", percent(now.steal), flag("steal")],
    ["Memory", `${bytes(now.resident_bytes)} of ${bytes(now.memory_limit_bytes)}`, flag("memory"), bar(now.resident_bytes, now.memory_limit_bytes)],
    ["Descriptors", `${number(now.descriptors)} of ${number(now.max_descriptors)}`, flag("descriptors"), bar(now.descriptors, now.max_descriptors)],
    ["Connections the kernel dropped", `${per(now.listen_drops)} (${number(now.listen_drops_total)})`, flag("listeners")],
    pressures.length > 0 && [`Waits for ${pressures.map(([name]) => name).join(", ")}`, pressures.map(([, share]) => percent(share)).join(", ")],
  ]);
}

function service({ at, process, certificate }) {
  const left = certificate?.seconds_left;
  const early = certificate?.seconds_to_valid ?? 0;
  const expiry = early > 0 ? `not valid for another ${age(early)}` : left < 0 ? `expired ${age(-left)} ago` : `expires in ${age(left)}`;
  const reload = process.last_reload;
  facts("service", [
    ["State", process.state, process.state === "ready" ? null : flag("service")],
    certificate ? [make("span", {}, "Certificate ", code(certificate.name)), `${expiry}, ${clock(certificate.expires, false)}`, left < 0 ? "trouble" : flag("certificate")]
      : ["Certificate", "not known"],
    ["Started", `${clock(process.started)}, ${age(at - process.started)} ago`],
    ["Stopped before", process.last_stop ?? "not known"],
    ["Last reload", reload ? `${reload.applied ? "applied" : "refused"}, ${clock(reload.at)}` : "none", flag("configuration")],
    ["Reloads", `${number(process.reloads)}, refused ${number(process.reloads_failed)}`],
    ["Log lines lost", number(process.log_lines_lost), flag("log")],
    ["Panics", number(process.panics), process.panics > 0 ? flag("service") : null],
  ]);
}

function refusals({ refusals }) {
  const some = refusals.filter((limit) => limit.total > 0).sort((a, b) => b.minute - a.minute || b.total - a.total);
  const none = refusals.filter((limit) => limit.total === 0).map((limit) => limit.limit);
  const rows = some.map((limit) => [flag(`limit ${limit.limit}`), [code(limit.limit)], number(limit.minute), number(limit.five_minutes), number(limit.total)]);
  table("refusals", [["Limit"], ["/s, 1 min"], ["5 min"], ["Total"]], rows, "No limit has refused a request.");
  say(byId("quiet-limits"), some.length && none.length ? `No refusals by ${none.join(", ")}.` : "");
}

function sharedLimit({ shared_limit: shared }) {
  byId("shared-limit-section").hidden = !shared;
  if (!shared) return;
  const results = shared.checks.map((check) => [check.result.replace("_", " "), `${per(check.minute)} (${number(check.total)})`]);
  facts("shared-limit", [["Redis", shared.up ? "counts for all hosts" : "is away", flag("shared limit")], ...results]);
}

function clients({ clients }) {
  const rows = clients.map((client) => [null, [code(client.client)], number(client.requests)]);
  table("clients", [["Client"], ["Requests /s"]], rows, "No requests in the last two minutes.");
}

/** Shows a status everywhere. */
function show(status) {
  // Another version of gatherd brings another page.
  if (last && last.process.version !== status.process.version) return location.reload();
  last = status;
  history.now = status.at;
  // Of the routes that are asked, if any is.
  const asked = status.routes.filter((route) => route.five_minutes.requests > 0);
  const timed = asked.length ? asked : status.routes;
  history.deadline = timed.reduce((least, route) => Math.min(least, route.deadline_ms ?? Infinity), Infinity);
  if (history.deadline === Infinity) history.deadline = null;
  say(byId("version"), status.process.version);
  [verdict, figures, routes, upstreams, load, machine, service, refusals, sharedLimit, clients].forEach((part) => part(status));
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
