// What the boot set uses of the language, taken before any plugin runs: a plugin that replaces `Map`, `JSON.stringify` or a method
// of a prototype changes what it itself gets from then on, and nothing here.

const {
  AggregateError, Array, ArrayBuffer, BigInt64Array, BigUint64Array, DataView, Date, DOMException, Error, EvalError, Float16Array,
  Float32Array, Float64Array, Function, Int16Array, Int32Array, Int8Array, JSON, Map, Math, Number, Boolean, Object, Promise, RangeError,
  ReferenceError, Reflect, RegExp, Set, String, Symbol, SyntaxError, TypeError, Uint16Array, Uint32Array, Uint8Array, Uint8ClampedArray,
  URIError,
} = globalThis;

/** `uncurried(Array.prototype.push)(list, value)` for `list.push(value)`. */
const uncurried = Function.prototype.bind.bind(Function.prototype.call);

const { parse: jsonParse, stringify: jsonStringify } = JSON;
const {
  assign: objectAssign,
  create: objectCreate,
  defineProperty: objectDefine,
  freeze: objectFreeze,
  getOwnPropertyDescriptor: objectDescriptor,
  getPrototypeOf: objectPrototype,
  hasOwn: objectHas,
  keys: objectKeys,
  setPrototypeOf: objectSetPrototype,
} = Object;
const { isArray } = Array;
const { isFinite: numberIsFinite, isInteger: numberIsInteger } = Number;
const { abs, ceil, floor, max, min, round, trunc } = Math;
const { fromCharCode, fromCodePoint } = String;
const { apply, ownKeys } = Reflect;
const { iterator } = Symbol;
const { isView } = ArrayBuffer;

const arrayIncludes = uncurried(Array.prototype.includes);
const arrayIndexOf = uncurried(Array.prototype.indexOf);
const arrayJoin = uncurried(Array.prototype.join);
const arrayPop = uncurried(Array.prototype.pop);
const arrayPush = uncurried(Array.prototype.push);
const arrayShift = uncurried(Array.prototype.shift);
const arraySlice = uncurried(Array.prototype.slice);
const arraySort = uncurried(Array.prototype.sort);
const arraySplice = uncurried(Array.prototype.splice);
const iteratorOfArray = uncurried(Array.prototype[Symbol.iterator]);

const stringAt = uncurried(String.prototype.charCodeAt);
const stringCodePoint = uncurried(String.prototype.codePointAt);
const stringEndsWith = uncurried(String.prototype.endsWith);
const stringIncludes = uncurried(String.prototype.includes);
const stringIndexOf = uncurried(String.prototype.indexOf);
const stringIsWellFormed = uncurried(String.prototype.isWellFormed);
const stringLastIndexOf = uncurried(String.prototype.lastIndexOf);
const stringLower = uncurried(String.prototype.toLowerCase);
const stringNormalize = uncurried(String.prototype.normalize);
const stringPadStart = uncurried(String.prototype.padStart);
const stringRepeat = uncurried(String.prototype.repeat);
const stringSlice = uncurried(String.prototype.slice);
const stringStartsWith = uncurried(String.prototype.startsWith);
const stringTrim = uncurried(String.prototype.trim);
const stringUpper = uncurried(String.prototype.toUpperCase);
const stringWellFormed = uncurried(String.prototype.toWellFormed);
const numberToString = uncurried(Number.prototype.toString);

const mapDelete = uncurried(Map.prototype.delete);
const mapForEach = uncurried(Map.prototype.forEach);
const mapGet = uncurried(Map.prototype.get);
const mapHas = uncurried(Map.prototype.has);
const mapSet = uncurried(Map.prototype.set);
const mapSize = uncurried(objectDescriptor(Map.prototype, "size").get);
const setAdd = uncurried(Set.prototype.add);
const setForEach = uncurried(Set.prototype.forEach);
const setHas = uncurried(Set.prototype.has);
const setSize = uncurried(objectDescriptor(Set.prototype, "size").get);

/** A map of the boot set's own, which has its methods itself: `map.get(key)` meets nothing of a plugin, and costs a third of `mapGet`. */
function ownMap() {
  const { delete: remove, get, has, set } = Map.prototype;
  return objectAssign(new Map(), { __proto__: null, delete: remove, get, has, set });
}

const { prototype: promisePrototype } = Promise;
const promiseThen = uncurried(Promise.prototype.then);
const promiseReject = Promise.reject.bind(Promise);
const promiseResolve = Promise.resolve.bind(Promise);
const functionText = uncurried(Function.prototype.toString);
const objectText = uncurried(Object.prototype.toString);
const dateNumber = uncurried(Date.prototype.getTime);
const dateText = uncurried(Date.prototype.toISOString);
const regexpExec = uncurried(RegExp.prototype.exec);
const regexpSource = uncurried(objectDescriptor(RegExp.prototype, "source").get);
const regexpFlags = uncurried(objectDescriptor(RegExp.prototype, "flags").get);

const typedArray = objectPrototype(Uint8Array);
const bufferOf = uncurried(objectDescriptor(typedArray.prototype, "buffer").get);
const offsetOf = uncurried(objectDescriptor(typedArray.prototype, "byteOffset").get);
const lengthOf = uncurried(objectDescriptor(typedArray.prototype, "byteLength").get);
const countOf = uncurried(objectDescriptor(typedArray.prototype, "length").get);
const kindOfArray = uncurried(objectDescriptor(typedArray.prototype, Symbol.toStringTag).get);
const bytesSet = uncurried(typedArray.prototype.set);
const bytesSlice = uncurried(typedArray.prototype.slice);
const bytesView = uncurried(typedArray.prototype.subarray);
const viewBuffer = uncurried(objectDescriptor(DataView.prototype, "buffer").get);
const viewOffset = uncurried(objectDescriptor(DataView.prototype, "byteOffset").get);
const viewLength = uncurried(objectDescriptor(DataView.prototype, "byteLength").get);
const bufferLength = uncurried(objectDescriptor(ArrayBuffer.prototype, "byteLength").get);
const bufferSlice = uncurried(ArrayBuffer.prototype.slice);
const bytesToBase64 = uncurried(Uint8Array.prototype.toBase64);
const bytesFromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
const { atob: binaryOfBase64, btoa: base64OfBinary, decodeURIComponent: uriDecode, encodeURIComponent: uriEncode } = globalThis;
const { escape: latin1Escape, unescape: latin1Unescape } = globalThis;
const evaluate = globalThis.eval;

// The engine makes template literals by asking for this method, the boot set's own too: it is the one that stays as it is.
objectDefine(String.prototype, "concat", { __proto__: null, writable: false, configurable: false });

/** The match of a regular expression that is ours, or null. `exec` of a patched prototype is not asked. */
function matched(expression, text) {
  expression.lastIndex = 0;
  return regexpExec(expression, text);
}

/** The text with each match of `expression`, which has the flag `g`, replaced by what `by` makes of it. */
function replaced(expression, text, by) {
  let out = "";
  let from = 0;
  expression.lastIndex = 0;
  for (let match; (match = regexpExec(expression, text)) !== null; ) {
    out += stringSlice(text, from, match.index) + by(match);
    from = match.index + match[0].length;
    // `by` may have used the same expression.
    expression.lastIndex = match[0] === "" ? from + 1 : from;
  }
  return out + stringSlice(text, from);
}

/** The parts of a text between `separator`s. */
function parts(text, separator) {
  const found = [];
  let from = 0;
  for (let at; (at = stringIndexOf(text, separator, from)) >= 0; from = at + separator.length) {
    arrayPush(found, stringSlice(text, from, at));
  }
  arrayPush(found, stringSlice(text, from));
  return found;
}

/** Gives the global object a property as built-in ones are: writable, and not enumerable. */
function provide(name, value) {
  objectDefine(globalThis, name, { __proto__: null, value, writable: true, configurable: true, enumerable: false });
}
