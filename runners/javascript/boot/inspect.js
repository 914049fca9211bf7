// Values and errors as text, for the log and for messages.

const DEPTH_MAX = 4;
const ITEMS_MAX = 100;
const STRING_MAX = 10_000;

/** Names under which the boot set's own code stands in stacks: found in a stack made here. */
const OWN_FILE = matched(/([^\s()]+):\d+:\d+\)?\s*$/m, new Error().stack)?.[1] ?? "";

/** What shows values whose properties are private: each gives a text or an object in place of its own kind, and else null. */
const shownAs = [];

/** The value as a person reads it. Getters are not called, and it never throws. */
function inspect(value, depth = DEPTH_MAX) {
  try {
    return inspected(value, depth, []);
  } catch {
    // A proxy whose traps throw.
    return "[object that cannot be looked at]";
  }
}

function inspected(value, depth, above) {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "bigint":
      return `${value}n`;
    case "number":
      return value === 0 && 1 / value < 0 ? "-0" : `${value}`;
    case "symbol":
      return symbolText(value);
    case "function":
      return functionName(value);
    case "object":
      break;
    default:
      return `${value}`;
  }
  if (value === null) return "null";
  if (arrayIncludes(above, value)) return "[Circular]";
  if (isError(value)) return errorText(value, depth, above);
  arrayPush(above, value);
  try {
    return inspectedObject(value, depth, above);
  } finally {
    arrayPop(above);
  }
}

function inspectedObject(value, depth, above) {
  const name = className(value);
  const tagged = (content, brackets) => {
    const prefix = name === "Object" || name === "Array" ? "" : name === null ? "[Object: null prototype] " : `${name} `;
    return prefix + brackets[0] + content + brackets[1];
  };
  const within = (item) => inspected(item, depth - 1, above);
  if (isArray(value)) return depth < 0 ? "[Array]" : tagged(listed(value.length, (at) => within(value[at])), ["[ ", " ]"]);
  const typed = isView(value) ? kindOfArray(value) : undefined;
  if (typed !== undefined) return `${typed}(${countOf(value)}) [ ${listed(countOf(value), (at) => `${value[at]}`)} ]`;
  const size = sizeOf(value);
  if (size !== null) {
    if (depth < 0) return `[${name}]`;
    const items = [];
    if (size.isMap) mapForEach(value, (item, key) => items.length < ITEMS_MAX && arrayPush(items, `${within(key)} => ${within(item)}`));
    else setForEach(value, (item) => items.length < ITEMS_MAX && arrayPush(items, within(item)));
    if (size.count > items.length) arrayPush(items, `… ${size.count - items.length} more`);
    return `${name}(${size.count}) { ${arrayJoin(items, ", ")} }`;
  }
  for (let at = 0; at < shownAs.length; at++) {
    const shown = shownAs[at](value);
    if (typeof shown === "string") return `${name} { ${quoted(shown)} }`;
    if (shown !== null) return `${name} ${inspected(shown, depth, above)}`;
  }
  const simple = simpleText(value);
  if (simple !== null) return simple;
  if (depth < 0) return `[${name ?? "Object"}]`;
  const keys = objectKeys(value);
  if (keys.length === 0) return tagged("", "{}");
  const items = listed(keys.length, (at) => {
    const property = objectDescriptor(value, keys[at]);
    const shown = property === undefined || "value" in property ? within(property?.value) : property.get ? "[Getter]" : "[Setter]";
    return `${matched(/^[A-Za-z_$][\w$]*$/, keys[at]) ? keys[at] : quoted(keys[at])}: ${shown}`;
  });
  return tagged(items, ["{ ", " }"]);
}

function listed(count, item) {
  const items = [];
  for (let at = 0; at < count && at < ITEMS_MAX; at++) arrayPush(items, item(at));
  if (count > ITEMS_MAX) arrayPush(items, `… ${count - ITEMS_MAX} more`);
  return arrayJoin(items, ", ");
}

function sizeOf(value) {
  try {
    return { isMap: true, count: mapSize(value) };
  } catch {}
  try {
    return { isMap: false, count: setSize(value) };
  } catch {}
  return null;
}

/** Dates, regular expressions and promises. */
function simpleText(value) {
  switch (objectText(value)) {
    case "[object Date]":
      try {
        const time = dateNumber(value);
        return time !== time ? "Invalid Date" : dateText(value);
      } catch {
        return null;
      }
    case "[object RegExp]":
      try {
        return `/${regexpSource(value)}/${regexpFlags(value)}`;
      } catch {
        return null;
      }
    case "[object Promise]":
      return "Promise {}";
    default:
      return null;
  }
}

function className(value) {
  for (let at = objectPrototype(value); at !== null; at = objectPrototype(at)) {
    const made = objectDescriptor(at, "constructor")?.value;
    if (typeof made === "function" && typeof made.name === "string" && made.name !== "") return made.name;
  }
  return null;
}

function functionName(value) {
  const kind = stringStartsWith(functionText(value), "class") ? "class" : "Function";
  const name = objectDescriptor(value, "name")?.value;
  return `[${kind}${typeof name === "string" && name !== "" ? `: ${name}` : " (anonymous)"}]`;
}

const symbolText = uncurried(Symbol.prototype.toString);

function quoted(value) {
  const cut = value.length > STRING_MAX ? `${stringSlice(value, 0, STRING_MAX)}…` : value;
  const text = jsonStringify(cut);
  // As people write it, unless that needs escapes of its own.
  return stringIncludes(cut, "'") || stringIncludes(cut, '"') ? text : `'${stringSlice(text, 1, -1)}'`;
}

function isError(value) {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

/** What an error says: its message, or its name where it says nothing. Never throws. */
function errorWords(error) {
  try {
    if (typeof error === "object" && error !== null) {
      const { message } = error;
      if (typeof message === "string" && message !== "") {
        return message === "out of memory" && error.name === "InternalError"
          ? "out of memory: the plugin has reached its `limits.memory`"
          : message;
      }
      if (isError(error) && typeof error.name === "string") return error.name;
    }
    return typeof error === "string" ? error : inspect(error);
  } catch {
    return "an error that cannot be looked at";
  }
}

/** The error with its stack and its causes, as the log has them. The boot set's own frames are left out. */
function errorText(error, depth = DEPTH_MAX, above = []) {
  let said;
  try {
    const name = typeof error.name === "string" ? error.name : "Error";
    const message = errorWords(error);
    said = message === name ? name : `${name}: ${message}`;
    const stack = ownStack(error.stack);
    if (stack !== "") said += `\n${stack}`;
    if (depth < 0) return said;
    arrayPush(above, error);
    try {
      const cause = objectDescriptor(error, "cause");
      if (cause !== undefined) said += `\n  caused by ${inspected(cause.value, depth - 1, above)}`;
      const errors = objectDescriptor(error, "errors")?.value;
      if (isArray(errors)) {
        for (let at = 0; at < errors.length && at < ITEMS_MAX; at++) said += `\n  with ${inspected(errors[at], depth - 1, above)}`;
      }
    } finally {
      arrayPop(above);
    }
    return said;
  } catch {
    return said ?? "an error that cannot be looked at";
  }
}

/** The frames of the plugin itself. */
function ownStack(stack) {
  if (typeof stack !== "string") return "";
  const kept = [];
  const lines = parts(stack, "\n");
  for (let at = 0; at < lines.length; at++) {
    if (stringStartsWith(stringTrim(lines[at]), "at ") && !stringIncludes(lines[at], `${OWN_FILE}:`) && !stringEndsWith(lines[at], "(native)")) {
      arrayPush(kept, lines[at]);
    }
  }
  return arrayJoin(kept, "\n");
}

/** File and line of the topmost frame in a module of the plugin, or null. */
function placeOf(error) {
  let stack;
  try {
    stack = ownStack(error.stack);
  } catch {
    return null;
  }
  const found = matched(/at (?:.*\()?([^\s()]+?):(\d+)(?::\d+)?\)?$/m, stack);
  // Stacks are the plugin's to write.
  return found === null || found[1].length > 1024 || !stringIsWellFormed(found[1]) || host("source", found[1]) === null ? null : { file: found[1], line: +found[2] };
}

/** Writes to the plugin's log, a line for each line of the text. */
function writeLog(level, target, message) {
  const lines = parts(wellFormed(message), "\n");
  for (let at = 0; at < lines.length; at++) host("log", level, target, lines[at]);
}

/** Writes to the log what nobody caught. */
function logError(what, error) {
  writeLog("error", "plugin", `${what}\n${isError(error) ? errorText(error) : inspect(error)}`);
}
