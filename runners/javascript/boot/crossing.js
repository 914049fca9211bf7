// What crosses to the host, and failures. What is of the wrong type or too large is refused here, with its name, before it crosses.

const host = globalThis.__host;
delete globalThis.__host;

/** Numbers that cross where they lie in memory, which costs nothing: the host has the same list. */
const cells = new Float64Array(bufferOf(globalThis.__cells));
delete globalThis.__cells;
/** The call that is begun or cancelled or whose outcome is taken, or the op whose outcome is delivered. */
const ID = 0;
/** The place in `KINDS` of the call that is begun, or in `OP_KINDS` of the op's outcome. */
const KIND = 1;
/** What the text is that an entry gives. */
const OUTCOME = 2;
const [FAILED, DONE, PROMISED] = [0, 1, 2];
/** How many outcomes there are to be taken. */
const OUTCOMES_LEFT = 3;

/** The most bytes of a result, payload or parameters, as of a body or a kept value. */
const CROSSING_MAX = 8 << 20;
/** The most characters of a name, an address or a header. */
const TEXT_MAX = 1 << 20;
/** The most characters of an error's text or a line of the log, which the host cuts further. */
const WORDS_MAX = 64 << 10;

let isFailure;

/** A failure with a stable `code` (snake case) and whether the same call may succeed later. Every other error is its text, with the code `error`. */
class Failure extends Error {
  #branded;

  static {
    isFailure = (value) => typeof value === "object" && value !== null && #branded in value;
  }

  constructor(message, code = "error", retryable = false) {
    super(message);
    if (typeof code !== "string") throw new TypeError("a failure is `new Failure(message, code, retryable)`, and its code a string");
    this.code = code;
    this.retryable = retryable === true;
  }
}
objectDefine(Failure.prototype, "name", { __proto__: null, value: "Failure", writable: true, configurable: true });

let failureTold;

class Given {
  constructor(error) {
    return error;
  }
}

/** Marks an error as what the plugin sees in the place of a failure of the host's, from which the caller is told the code. */
class Marked extends Given {
  #failure;

  static {
    failureTold = (error) => (typeof error === "object" && error !== null && #failure in error ? error.#failure : null);
  }

  constructor(error, failure) {
    super(error);
    this.#failure = failure;
  }
}

/** What the host answered, or its failure thrown. */
function told(answer) {
  if (typeof answer === "string" && stringStartsWith(answer, "{")) throw failureOf(answer);
  return answer;
}

/** The host's failure as an error. */
function failureOf(json) {
  const { message, code, retryable } = jsonParse(json);
  return new Failure(message, code, retryable);
}

/** A failure as the host reads it. */
function failureText(message, code, retryable = false) {
  return jsonStringify({ __proto__: null, code: wellFormed(code), message: wellFormed(message), retryable });
}

function wellFormed(text) {
  return stringWellFormed(text.length > WORDS_MAX ? stringSlice(text, 0, WORDS_MAX) : text);
}

/** What kind of value it is, for a message. */
function kindOf(value) {
  if (value === null) return "null";
  if (isArray(value)) return "an array";
  const kind = typeof value;
  return kind === "undefined" ? kind : `${kind === "object" ? "an" : "a"} ${kind}`;
}

/** The value, which has to be a string that can be told. */
function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string, not ${kindOf(value)}`);
  if (!stringIsWellFormed(value)) throw new TypeError(`${what} has a lone surrogate, which is no text`);
  if (value.length > TEXT_MAX) throw new TypeError(`${what} has ${value.length} characters, more than ${TEXT_MAX}`);
  return value;
}

/** The value as JSON. Throws a TypeError where JSON has no word for it, and a failure of code `tooLarge`. */
function jsonOf(value, what, tooLarge) {
  let encoded;
  try {
    encoded = jsonStringify(value);
    // What is not finite becomes `null`, silently.
    if (encoded !== undefined && stringIncludes(encoded, "null")) jsonStringify(value, refuseNotFinite);
  } catch (error) {
    throw new TypeError(`${what} is no JSON: ${errorWords(error)}`, { cause: error });
  }
  if (encoded === undefined) throw new TypeError(`${what} is no JSON: it is ${kindOf(value)}`);
  // No character has more than three bytes for each of its units.
  const isShort = encoded.length * 3 <= CROSSING_MAX;
  if (!isShort && (encoded.length > CROSSING_MAX || lengthOf(encodeText(encoded)) > CROSSING_MAX)) {
    throw new Failure(`${what} has more than ${CROSSING_MAX} bytes as JSON`, tooLarge);
  }
  return encoded;
}

function refuseNotFinite(key, value) {
  if (typeof value === "number" && !numberIsFinite(value)) throw new TypeError(`${key === "" ? "it" : `\`${key}\``} is ${value}`);
  return value;
}

/** The list, with nothing that a plugin gave all lists: a `toJSON` of theirs would be asked for its JSON. */
function bareList(list) {
  return objectSetPrototype(list, null);
}

/** JSON of a value that has to be an object, as parameters and payloads are. */
function jsonOfObject(value, what, tooLarge) {
  if (typeof value !== "object" || value === null || isArray(value)) {
    throw new TypeError(`${what} must be an object, not ${kindOf(value)}`);
  }
  return jsonOf(value, what, tooLarge);
}

/** The bytes of a buffer or of a view of one, not copied; null where it is neither. */
function bytesOf(value) {
  if (typeof value !== "object" || value === null) return null;
  if (isView(value)) {
    const isTyped = kindOfArray(value) !== undefined;
    return isTyped
      ? new Uint8Array(bufferOf(value), offsetOf(value), lengthOf(value))
      : new Uint8Array(viewBuffer(value), viewOffset(value), viewLength(value));
  }
  try {
    bufferLength(value);
  } catch {
    return null;
  }
  return new Uint8Array(value);
}

const UNITS = { __proto__: null, ns: 1e-6, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };

/** Milliseconds of a duration: a number of them, or a text with a unit. */
function milliseconds(value, what) {
  if (typeof value === "number" && value >= 0) return value;
  const found = typeof value === "string" ? matched(/^(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)$/, value) : null;
  if (found === null) {
    throw new TypeError(`${what} is a number of milliseconds or a text with a unit, as "500ms" or "10s", not ${shortly(value)}`);
  }
  return +found[1] * UNITS[found[2]];
}

function shortly(value) {
  return typeof value === "string" || typeof value === "number" ? jsonStringify(value) ?? "NaN" : kindOf(value);
}

/** Nanoseconds as the host takes them: none stays none. */
function nanoseconds(duration, what) {
  if (duration === undefined || duration === null) return null;
  // As large as a number may be and still be exact.
  return min(ceil(milliseconds(duration, what) * 1e6), 2 ** 53 - 1);
}
