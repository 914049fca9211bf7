// `structuredClone` and `crypto`.

/** A copy of plain values, arrays, objects, maps, sets, dates, regular expressions, errors, buffers and views, cycles included. */
function structuredClone(value, options = undefined) {
  if (options?.transfer !== undefined && options.transfer.length !== 0) {
    throw new DOMException("nothing can be transferred: there is nobody to transfer it to", "DataCloneError");
  }
  return cloned(value, new Map());
}

const ERROR_KEYS = ["message", "stack", "cause"];
const ERRORS = { __proto__: null, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
const PLAIN_WRAPPERS = [[Number, Number.prototype.valueOf], [String, String.prototype.valueOf], [Boolean, Boolean.prototype.valueOf]];
for (let at = 0; at < PLAIN_WRAPPERS.length; at++) PLAIN_WRAPPERS[at][1] = uncurried(PLAIN_WRAPPERS[at][1]);

function cloned(value, seen) {
  if (typeof value === "symbol" || typeof value === "function") {
    throw new DOMException(`${inspect(value)} could not be cloned.`, "DataCloneError");
  }
  if (typeof value !== "object" || value === null) return value;
  if (mapHas(seen, value)) return mapGet(seen, value);
  const keep = (copy) => {
    mapSet(seen, value, copy);
    return copy;
  };
  if (isArray(value)) {
    const copy = keep([]);
    copy.length = value.length;
    return withProperties(copy, value, seen);
  }
  const special = clonedSpecial(value, seen, keep);
  return special ?? withProperties(keep({}), value, seen);
}

/** The copy of an object of a built-in class; null where it is of none. */
function clonedSpecial(value, seen, keep) {
  if (isView(value)) {
    const kind = kindOfArray(value);
    const buffer = cloned(kind === undefined ? viewBuffer(value) : bufferOf(value), seen);
    if (kind === undefined) return keep(new DataView(buffer, viewOffset(value), viewLength(value)));
    return keep(new VIEWS[kind](buffer, offsetOf(value), lengthOf(value) / VIEWS[kind].BYTES_PER_ELEMENT));
  }
  const size = sizeOf(value);
  if (size !== null && size.isMap) {
    const copy = keep(new Map());
    mapForEach(value, (item, key) => mapSet(copy, cloned(key, seen), cloned(item, seen)));
    return copy;
  }
  if (size !== null) {
    const copy = keep(new Set());
    setForEach(value, (item) => setAdd(copy, cloned(item, seen)));
    return copy;
  }
  if (isError(value)) {
    const name = typeof value.name === "string" && value.name in ERRORS ? value.name : "Error";
    const copy = keep(objectCreate(ERRORS[name].prototype));
    for (let at = 0; at < ERROR_KEYS.length; at++) {
      const key = ERROR_KEYS[at];
      if (!objectHas(value, key) && key !== "stack") continue;
      objectDefine(copy, key, { __proto__: null, value: cloned(value[key], seen), writable: true, configurable: true });
    }
    return copy;
  }
  switch (objectText(value)) {
    case "[object Date]":
      return keep(new Date(dateNumber(value)));
    case "[object RegExp]":
      return keep(new RegExp(regexpSource(value), regexpFlags(value)));
    case "[object ArrayBuffer]":
      return keep(bufferSlice(value, 0));
    case "[object Promise]":
    case "[object WeakMap]":
    case "[object WeakSet]":
    case "[object WeakRef]":
      throw new DOMException(`${objectText(value)} could not be cloned.`, "DataCloneError");
  }
  for (let at = 0; at < PLAIN_WRAPPERS.length; at++) {
    try {
      return keep(Object(PLAIN_WRAPPERS[at][1](value)));
    } catch {}
  }
  return null;
}

function withProperties(copy, value, seen) {
  const keys = objectKeys(value);
  for (let at = 0; at < keys.length; at++) {
    objectDefine(copy, keys[at], { __proto__: null, value: cloned(value[keys[at]], seen), writable: true, configurable: true, enumerable: true });
  }
  return copy;
}

const VIEWS = {
  __proto__: null, Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array,
  BigUint64Array, Float16Array, Float32Array, Float64Array,
};

/** The most bytes of randomness at once. */
const RANDOM_MAX = 65_536;

const crypto = {
  /** Fills an array of integers with random bytes. */
  getRandomValues(array) {
    const kind = isView(array) ? kindOfArray(array) : undefined;
    if (kind === undefined || stringStartsWith(kind, "Float")) throw new TypeError(`what is filled must be an array of integers, not ${kindOf(array)}`);
    const length = lengthOf(array);
    if (length > RANDOM_MAX) throw new DOMException(`${length} bytes are more than ${RANDOM_MAX}`, "QuotaExceededError");
    if (length > 0) bytesSet(new Uint8Array(bufferOf(array), offsetOf(array), length), host("random", length));
    return array;
  },
  /** A random UUID, version 4. */
  randomUUID() {
    const bytes = host("random", 16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let out = "";
    for (let at = 0; at < 16; at++) {
      out += stringPadStart(numberToString(bytes[at], 16), 2, "0") + (at === 3 || at === 5 || at === 7 || at === 9 ? "-" : "");
    }
    return out;
  },
};

provide("structuredClone", structuredClone);
provide("crypto", crypto);
