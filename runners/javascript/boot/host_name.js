// Hosts of URLs: domains, IPv4 and IPv6, after the URL Standard.

const FORBIDDEN_IN_HOST = /[\0\t\n\r #/:<>?@[\\\]^|]/;
const FORBIDDEN_IN_DOMAIN = /[\x00-\x20#/:<>?@[\\\]^|%\x7f]/;

/** The host as it stands in a URL, or null where it is none. */
function parseHost(input, isSpecial) {
  if (stringStartsWith(input, "[")) {
    const pieces = stringEndsWith(input, "]") ? parseIpv6(stringSlice(input, 1, -1)) : null;
    return pieces === null ? null : `[${ipv6Text(pieces)}]`;
  }
  if (!isSpecial) return matched(FORBIDDEN_IN_HOST, input) ? null : percentEncoded(input, CONTROL_SET);
  const domain = asciiDomain(decodeText(bytesOfBinary(percentDecoded(input))));
  if (domain === null || domain === "" || matched(FORBIDDEN_IN_DOMAIN, domain)) return null;
  return endsInNumber(domain) ? parseIpv4(domain) : domain;
}

/** A domain in lower case, labels beyond ASCII as Punycode. Compatibility characters are unified as Unicode's NFKC does. */
function asciiDomain(domain) {
  if (matched(IS_ASCII, domain)) return stringLower(domain);
  const unified = stringNormalize(stringLower(stringNormalize(domain, "NFKC")), "NFC");
  const labels = parts(replaced(/[\u3002\uff0e\uff61]/g, replaced(/[\u00ad\u200b\u2060\ufeff]/g, unified, () => ""), () => "."), ".");
  for (let at = 0; at < labels.length; at++) {
    if (!matched(IS_ASCII, labels[at])) labels[at] = `xn--${punycode(labels[at])}`;
  }
  return arrayJoin(labels, ".");
}

/** RFC 3492. */
function punycode(label) {
  const points = [];
  let out = "";
  for (let at = 0; at < label.length; at++) {
    const point = stringCodePoint(label, at);
    if (point > 0xffff) at += 1;
    if (point < 0x80) out += fromCodePoint(point);
    arrayPush(points, point);
  }
  const basic = out.length;
  if (basic > 0) out += "-";
  let n = 128;
  let delta = 0;
  let bias = 72;
  for (let handled = basic; handled < points.length; delta++, n++) {
    let next = Infinity;
    for (let at = 0; at < points.length; at++) if (points[at] >= n && points[at] < next) next = points[at];
    delta += (next - n) * (handled + 1);
    n = next;
    for (let at = 0; at < points.length; at++) {
      if (points[at] < n) delta += 1;
      if (points[at] !== n) continue;
      let rest = delta;
      for (let k = 36; ; k += 36) {
        const least = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias;
        if (rest < least) break;
        out += digit(least + ((rest - least) % (36 - least)));
        rest = floor((rest - least) / (36 - least));
      }
      out += digit(rest);
      delta = floor(delta / (handled === basic ? 700 : 2));
      handled += 1;
      delta += floor(delta / handled);
      bias = 0;
      for (; delta > 455; bias += 36) delta = floor(delta / 35);
      bias += floor((36 * delta) / (delta + 38));
      delta = 0;
    }
  }
  return out;
}

function digit(value) {
  return fromCharCode(value < 26 ? 97 + value : 22 + value);
}

function endsInNumber(domain) {
  const labels = parts(domain, ".");
  if (labels[labels.length - 1] === "" && labels.length > 1) arrayPop(labels);
  return matched(/^(?:\d+|0x[\da-f]*)$/i, labels[labels.length - 1]) !== null;
}

function parseIpv4(domain) {
  const labels = parts(domain, ".");
  if (labels[labels.length - 1] === "" && labels.length > 1) arrayPop(labels);
  if (labels.length > 4) return null;
  let address = 0;
  for (let at = 0; at < labels.length; at++) {
    const found = matched(/^(?:0x([\da-f]*)|(0[0-7]*)|([1-9]\d*))$/i, labels[at]);
    if (found === null) return null;
    const value = found[1] !== undefined ? (found[1] === "" ? 0 : +`0x${found[1]}`) : found[2] !== undefined ? +`0o${found[2]}` : +found[3];
    const isLast = at === labels.length - 1;
    if (value >= (isLast ? 256 ** (5 - labels.length) : 256)) return null;
    address += isLast ? value : value * 256 ** (3 - at);
  }
  return `${floor(address / 2 ** 24)}.${floor(address / 2 ** 16) % 256}.${floor(address / 256) % 256}.${address % 256}`;
}

/** The eight pieces of an IPv6 address, or null. */
function parseIpv6(input) {
  const halves = parts(input, "::");
  if (halves.length > 2) return null;
  const lists = [];
  let count = 0;
  for (let half = 0; half < halves.length; half++) {
    const list = halves[half] === "" && halves.length === 2 ? [] : parts(halves[half], ":");
    const last = list[list.length - 1];
    if (half === halves.length - 1 && last !== undefined && stringIncludes(last, ".")) {
      const dotted = matched(/^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/, last);
      if (dotted === null || max(+dotted[1], +dotted[2], +dotted[3], +dotted[4]) > 255) return null;
      arrayPop(list);
      arrayPush(list, numberToString(+dotted[1] * 256 + +dotted[2], 16), numberToString(+dotted[3] * 256 + +dotted[4], 16));
    }
    for (let at = 0; at < list.length; at++) if (matched(/^[\da-f]{1,4}$/i, list[at]) === null) return null;
    count += list.length;
    arrayPush(lists, list);
  }
  if (halves.length === 1 ? count !== 8 : count > 7) return null;
  const pieces = [];
  for (let at = 0; at < lists[0].length; at++) arrayPush(pieces, +`0x${lists[0][at]}`);
  for (let at = count; at < 8; at++) arrayPush(pieces, 0);
  for (let at = 0; at < (lists[1]?.length ?? 0); at++) arrayPush(pieces, +`0x${lists[1][at]}`);
  return pieces;
}

/** The address with its longest run of zeros left out. */
function ipv6Text(pieces) {
  let start = -1;
  let longest = 1;
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && pieces[end] === 0) end++;
    if (end - at > longest) {
      start = at;
      longest = end - at;
    }
    if (end > at) at = end;
  }
  let out = "";
  for (let at = 0; at < 8; at++) {
    if (at === start) {
      out += at === 0 ? "::" : ":";
      at += longest - 1;
    } else {
      out += numberToString(pieces[at], 16) + (at < 7 ? ":" : "");
    }
  }
  return out;
}
