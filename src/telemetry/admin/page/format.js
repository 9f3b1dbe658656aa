// Numbers and instants as people read them, and elements whose text is only ever text.

const NONE = "–";
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;

/** A count or a rate: more digits where they say something. */
function number(value) {
  if (!known(value)) return NONE;
  if (value === 0 || value >= 100) return grouped.format(value);
  if (value < 0.01) return "< 0.01";
  return value.toFixed(value < 1 ? 2 : Number.isInteger(value) ? 0 : 1);
}

/** Milliseconds. */
function duration(ms) {
  if (!known(ms)) return NONE;
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${Number((ms / 1000).toFixed(1))} s` : age(ms / 1000);
}

/** Seconds, in its two largest units. */
function age(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const [below, smaller] = parts[first + 1] ?? [0, ""];
  const rest = below ? Math.floor((whole % size) / below) : 0;
  return `${Math.floor(whole / size)} ${unit}${rest && first < 3 ? ` ${rest} ${smaller}` : ""}`;
}

/** The time of day of an instant, in the zone of who looks; with the day unless it is today. */
function clock(at, seconds = true) {
  const date = new Date(at * 1000);
  const two = (part) => String(part).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ""}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`;
}

/** An element with attributes of ours; strings among its children become text. */
function make(tag, attributes, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "rect"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (known(value)) made.setAttribute(name, value);
  }
  made.append(...children.filter(known));
  return made;
}

/** Sets text only where it is new, so that selections live and screen readers say it once. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Words of ours in code, which may break after a dot or an underscore. */
function code(text) {
  return make("code", {}, ...text.split(/(?<=[._])/).flatMap((part, index) => (index ? [make("wbr"), part] : [part])));
}

/** Text in which words between `backticks` are set as code. */
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? code(part) : part));
}
