// `TextEncoder`, `TextDecoder` (UTF-8), and what else makes text of bytes. The engine's own functions do the work: code in a loop
// over bytes is many times slower.

const IS_ASCII = /^[\x00-\x7f]*$/;

/** The text as UTF-8; lone surrogates become U+FFFD. */
function encodeText(value) {
  const binary = matched(IS_ASCII, value) ? value : latin1Unescape(uriEncode(stringWellFormed(value)));
  return bytesFromBase64(base64OfBinary(binary));
}

/** The bytes as text; what is no UTF-8 becomes U+FFFD, or fails where `isFatal`. */
function decodeText(bytes, isFatal = false) {
  const binary = binaryOfBytes(bytes);
  if (matched(IS_ASCII, binary)) return binary;
  try {
    return uriDecode(latin1Escape(binary));
  } catch {
    if (isFatal) throw new TypeError("the bytes are no UTF-8");
    return decodeLossily(binary);
  }
}

/** One character per byte. */
function binaryOfBytes(bytes) {
  return binaryOfBase64(bytesToBase64(bytes));
}

/** The bytes of a text of one character per byte. */
function bytesOfBinary(binary) {
  return bytesFromBase64(base64OfBinary(binary));
}

/** UTF-8 with U+FFFD for each longest part of a character that breaks off, as the standard says. */
function decodeLossily(binary) {
  let out = "";
  for (let at = 0; at < binary.length; ) {
    const { length, point } = characterAt(binary, at);
    out += point < 0 ? "\ufffd" : fromCodePoint(point);
    at += length;
  }
  return out;
}

/** The character at a place: its length in bytes, and its code point, or -1 where it is none and -2 where it may go on. */
function characterAt(binary, at) {
  const first = stringAt(binary, at);
  if (first < 0x80) return { length: 1, point: first };
  const count = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
  if (count === 0) return { length: 1, point: -1 };
  let point = first & (0x3f >> count);
  let low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  let high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  for (let next = 1; next <= count; next++) {
    if (at + next >= binary.length) return { length: next, point: -2 };
    const byte = stringAt(binary, at + next);
    if (byte < low || byte > high) return { length: next, point: -1 };
    point = (point << 6) | (byte & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  return { length: count + 1, point };
}

class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(input = "") {
    return encodeText(`${input}`);
  }

  encodeInto(source, destination) {
    let read = 0;
    let written = 0;
    const from = stringWellFormed(`${source}`);
    while (read < from.length) {
      const point = stringCodePoint(from, read);
      const length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
      if (written + length > countOf(destination)) break;
      bytesSet(destination, encodeText(fromCodePoint(point)), written);
      written += length;
      read += length === 4 ? 2 : 1;
    }
    return { read, written };
  }
}

class TextDecoder {
  #isFatal;
  #keepsMark;
  #rest = "";
  #isBegun = false;

  constructor(label = "utf-8", options = {}) {
    if (!arrayIncludes(["utf-8", "utf8", "unicode-1-1-utf-8"], stringLower(stringTrim(`${label}`)))) {
      throw new RangeError(`the encoding \`${label}\` is not known: there is utf-8`);
    }
    this.#isFatal = !!options?.fatal;
    this.#keepsMark = !!options?.ignoreBOM;
  }

  get encoding() {
    return "utf-8";
  }

  get fatal() {
    return this.#isFatal;
  }

  get ignoreBOM() {
    return this.#keepsMark;
  }

  decode(input = undefined, options = {}) {
    const bytes = input === undefined ? new Uint8Array(0) : bytesOf(input);
    if (bytes === null) throw new TypeError(`what is decoded must be bytes, not ${kindOf(input)}`);
    let binary = this.#rest + binaryOfBytes(bytes);
    this.#rest = "";
    if (options?.stream) {
      // A character at the end that may go on waits for the rest.
      for (let at = max(0, binary.length - 3); at < binary.length; at++) {
        if (stringAt(binary, at) < 0xc0 || characterAt(binary, at).point !== -2) continue;
        this.#rest = stringSlice(binary, at);
        binary = stringSlice(binary, 0, at);
        break;
      }
    }
    const isFirst = !this.#isBegun;
    this.#isBegun = !!options?.stream && (this.#isBegun || binary !== "");
    const out = decodeText(bytesOfBinary(binary), this.#isFatal);
    return isFirst && !this.#keepsMark && stringStartsWith(out, "\ufeff") ? stringSlice(out, 1) : out;
  }
}

provide("TextEncoder", TextEncoder);
provide("TextDecoder", TextDecoder);
