// `console`, into the plugin's log.

let indent = "";
const counts = new Map();
const stopwatches = new Map();

/** The arguments as one text, with the directives (`%s`, `%d`, …) of the first, if it is a text. */
function formatted(values) {
  try {
    return format(values);
  } catch (error) {
    return `what was to be logged cannot be shown: ${errorWords(error)}`;
  }
}

function format(values) {
  const first = values[0];
  let at = 0;
  let out = "";
  if (typeof first === "string") {
    at = 1;
    out = replaced(/%[sdifjoOc%]/g, first, (match) => {
      const directive = match[0];
      if (directive === "%%") return values.length === 1 ? "%%" : "%";
      if (at >= values.length) return directive;
      const value = values[at++];
      switch (directive) {
        case "%s":
          return typeof value === "string" ? value : inspect(value, 0);
        case "%d":
          return typeof value === "object" || typeof value === "symbol" ? "NaN" : typeof value === "bigint" ? `${value}n` : `${+value}`;
        case "%i":
          return typeof value === "object" || typeof value === "symbol" ? "NaN" : typeof value === "bigint" ? `${value}n` : `${trunc(+value)}`;
        case "%f":
          return typeof value === "symbol" ? "NaN" : `${+value}`;
        case "%j":
          try {
            return `${jsonStringify(value)}`;
          } catch {
            return "[Circular]";
          }
        case "%c":
          return "";
        default:
          return inspect(value);
      }
    });
  }
  for (; at < values.length; at++) {
    if (at > 0) out += " ";
    out += typeof values[at] === "string" ? values[at] : inspect(values[at]);
  }
  return out;
}

function print(level, values) {
  const said = formatted(values);
  writeLog(level, "console", indent === "" ? said : indent + arrayJoin(parts(said, "\n"), `\n${indent}`));
}

const consoleMethods = {
  trace: (...values) => print("debug", [`Trace: ${formatted(values)}\n${ownStack(new Error().stack)}`]),
  debug: (...values) => print("debug", values),
  log: (...values) => print("info", values),
  info: (...values) => print("info", values),
  warn: (...values) => print("warn", values),
  error: (...values) => print("error", values),
  dir: (value) => print("info", [inspect(value)]),
  table: (value) => print("info", [inspect(value)]),
  assert(condition, ...values) {
    if (!condition) print("error", [values.length === 0 ? "Assertion failed" : `Assertion failed: ${formatted(values)}`]);
  },
  group(...values) {
    if (values.length > 0) print("info", values);
    indent += "  ";
  },
  groupEnd() {
    indent = stringSlice(indent, 2);
  },
  count(label = "default") {
    const count = (mapGet(counts, `${label}`) ?? 0) + 1;
    mapSet(counts, `${label}`, count);
    print("info", [`${label}: ${count}`]);
  },
  countReset(label = "default") {
    mapDelete(counts, `${label}`);
  },
  time(label = "default") {
    mapSet(stopwatches, `${label}`, host("monotonic"));
  },
  timeLog(label = "default", ...values) {
    const since = mapGet(stopwatches, `${label}`);
    if (since === undefined) print("warn", [`there is no timer \`${label}\``]);
    else print("info", [`${label}: ${round((host("monotonic") - since) * 1000) / 1000}ms${values.length > 0 ? ` ${formatted(values)}` : ""}`]);
  },
  timeEnd(label = "default") {
    consoleMethods.timeLog(label);
    mapDelete(stopwatches, `${label}`);
  },
};
consoleMethods.groupCollapsed = consoleMethods.group;

provide("console", objectAssign({}, consoleMethods));
