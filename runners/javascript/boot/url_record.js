// URLs taken apart and put together, after the URL Standard.

/** Schemes whose URLs have a host and a path, with their ports. */
const PORTS = { __proto__: null, "http:": 80, "https:": 443, "ws:": 80, "wss:": 443, "ftp:": 21, "file:": null };

// What is percent-encoded where.
const CONTROL_SET = /[^\x20-\x7e]/gu;
const FRAGMENT_SET = /[^\x21\x23-\x3b\x3d\x3f-\x5f\x61-\x7e]/gu;
const QUERY_SET = /[^\x21\x24-\x3b\x3d\x3f-\x7e]/gu;
const SPECIAL_QUERY_SET = /[^\x21\x24-\x26\x28-\x3b\x3d\x3f-\x7e]/gu;
const PATH_SET = /[^\x21\x24-\x3b\x3d\x40-\x5d\x5f\x61-\x7a\x7c\x7e]/gu;
const USERINFO_SET = /[^\x21\x24-\x2e\x30-\x39\x41-\x5a\x5f\x61-\x7a\x7e]/gu;

function percentEncoded(text, set) {
  return replaced(set, text, (match) => {
    const point = stringCodePoint(match[0], 0);
    return point < 0x80 ? `%${stringPadStart(stringUpper(numberToString(point, 16)), 2, "0")}` : uriEncode(match[0]);
  });
}

/** The text's UTF-8 with its `%XX` replaced, one character per byte. */
function percentDecoded(text) {
  const binary = matched(IS_ASCII, text) ? text : latin1Unescape(uriEncode(stringWellFormed(text)));
  if (!stringIncludes(binary, "%")) return binary;
  return replaced(/%([\da-f]{2})/gi, binary, (match) => fromCharCode(+`0x${match[1]}`));
}

function isSpecial(url) {
  return url.scheme in PORTS;
}

/** `{ scheme, username, password, host, port, path, query, fragment }`, or null. `path` is a text where it is opaque, else an array. */
function parseUrl(input, base) {
  let rest = replaced(/[\t\n\r]/g, replaced(/^[\x00-\x20]+|[\x00-\x20]+$/g, stringWellFormed(input), () => ""), () => "");
  const url = { __proto__: null, scheme: "", username: "", password: "", host: null, port: null, path: [], query: null, fragment: null };
  const scheme = matched(/^[a-z][a-z\d+.-]*:/i, rest);
  if (scheme !== null) {
    url.scheme = stringLower(scheme[0]);
    rest = stringSlice(rest, scheme[0].length);
  }
  const hash = stringIndexOf(rest, "#");
  if (hash >= 0) {
    url.fragment = percentEncoded(stringSlice(rest, hash + 1), FRAGMENT_SET);
    rest = stringSlice(rest, 0, hash);
  }
  const mark = stringIndexOf(rest, "?");
  const query = mark >= 0 ? stringSlice(rest, mark + 1) : null;
  if (mark >= 0) rest = stringSlice(rest, 0, mark);
  if (scheme === null) {
    if (base === null || (typeof base.path === "string" && (rest !== "" || query !== null || hash < 0))) return null;
    url.scheme = base.scheme;
  }
  if (query !== null) url.query = percentEncoded(query, isSpecial(url) ? SPECIAL_QUERY_SET : QUERY_SET);
  if (scheme === null && typeof base.path === "string") return { ...base, fragment: url.fragment };
  const parsed = url.scheme === "file:" ? parseFile(url, rest, base) : parseRest(url, rest, base, scheme !== null);
  return parsed ? url : null;
}

/** What follows the scheme, without query and fragment. */
function parseRest(url, rest, base, hasScheme) {
  const special = isSpecial(url);
  const slashes = special ? /^[/\\]{2}/ : /^\/\//;
  const isRelative = !hasScheme || (special && base !== null && base.scheme === url.scheme && !stringStartsWith(rest, "//"));
  if (!isRelative && special) return parseAuthority(url, replaced(/^[/\\]+/g, rest, () => ""));
  if (matched(slashes, rest)) return parseAuthority(url, special ? replaced(/^[/\\]+/g, rest, () => "") : stringSlice(rest, 2));
  if (!isRelative) {
    if (stringStartsWith(rest, "/")) appendPath(url, stringSlice(rest, 1));
    else url.path = percentEncoded(rest, CONTROL_SET);
    return true;
  }
  url.username = base.username;
  url.password = base.password;
  url.host = base.host;
  url.port = base.port;
  if (stringStartsWith(rest, "/") || (special && stringStartsWith(rest, "\\"))) {
    appendPath(url, stringSlice(rest, 1));
  } else {
    url.path = arraySlice(base.path);
    if (rest === "") {
      if (url.query === null) url.query = base.query;
    } else {
      arrayPop(url.path);
      appendPath(url, rest);
    }
  }
  return true;
}

/** `user:password@host:port/path`. */
function parseAuthority(url, rest) {
  const end = matched(isSpecial(url) ? /[/\\]|$/ : /\/|$/, rest).index;
  let authority = stringSlice(rest, 0, end);
  const at = stringLastIndexOf(authority, "@");
  if (at >= 0) {
    const colon = stringIndexOf(stringSlice(authority, 0, at), ":");
    url.username = percentEncoded(stringSlice(authority, 0, colon < 0 ? at : colon), USERINFO_SET);
    if (colon >= 0) url.password = percentEncoded(stringSlice(authority, colon + 1, at), USERINFO_SET);
    authority = stringSlice(authority, at + 1);
    if (authority === "") return false;
  }
  if (!parseHostAndPort(url, authority)) return false;
  const path = stringSlice(rest, end);
  if (path !== "" || isSpecial(url)) appendPath(url, stringSlice(path, 1));
  return true;
}

function parseHostAndPort(url, authority) {
  const found = matched(/^((?:\[[^\]]*\]?|[^:[])*)(?::(.*))?$/, authority);
  const name = found?.[1];
  const port = found?.[2];
  if (name === undefined || (name === "" && (isSpecial(url) || port !== undefined))) return false;
  url.host = name === "" ? "" : parseHost(name, isSpecial(url));
  if (url.host === null || (port !== undefined && !matched(/^\d*$/, port)) || +(port ?? 0) > 65535) return false;
  if (port) setPort(url, +port);
  return true;
}

function setPort(url, port) {
  url.port = port === PORTS[url.scheme] ? null : port;
}

/** A drive of Windows at the beginning of a path. */
const DRIVE = /^[a-z][:|](?:[/\\]|$)/i;

function parseFile(url, rest, base) {
  const from = base !== null && base.scheme === "file:" ? base : null;
  url.host = "";
  if (matched(/^[/\\]{2}/, rest)) {
    const end = matched(/[/\\]|$/g, stringSlice(rest, 2)).index + 2;
    const name = stringSlice(rest, 2, end);
    if (matched(/^[a-z][:|]$/i, name)) {
      appendPath(url, stringSlice(rest, 2));
      return true;
    }
    if (name !== "") {
      url.host = parseHost(name, true);
      if (url.host === null) return false;
      if (url.host === "localhost") url.host = "";
    }
    appendPath(url, stringSlice(rest, end + 1));
  } else if (matched(/^[/\\]/, rest)) {
    if (from !== null) {
      url.host = from.host;
      if (!matched(DRIVE, stringSlice(rest, 1)) && from.path.length > 0 && matched(/^[a-z]:$/i, from.path[0])) arrayPush(url.path, from.path[0]);
    }
    appendPath(url, stringSlice(rest, 1));
  } else if (from !== null) {
    url.host = from.host;
    url.path = arraySlice(from.path);
    if (rest === "") {
      if (url.query === null) url.query = from.query;
    } else {
      if (matched(DRIVE, rest)) url.path = [];
      else shorten(url);
      appendPath(url, rest);
    }
  } else {
    appendPath(url, rest);
  }
  return true;
}

/** Takes the last segment away, but for a drive. */
function shorten(url) {
  if (url.scheme === "file:" && url.path.length === 1 && matched(/^[a-z]:$/i, url.path[0])) return;
  arrayPop(url.path);
}

/** Adds the segments of a path, which is without its first slash. */
function appendPath(url, path) {
  const special = isSpecial(url);
  const segments = parts(special ? replaced(/\\/g, path, () => "/") : path, "/");
  for (let at = 0; at < segments.length; at++) {
    const isLast = at === segments.length - 1;
    const dots = stringLower(replaced(/%2e/gi, segments[at], () => "."));
    if (dots === "..") {
      shorten(url);
      if (isLast) arrayPush(url.path, "");
    } else if (dots === ".") {
      if (isLast) arrayPush(url.path, "");
    } else if (url.scheme === "file:" && url.path.length === 0 && matched(/^[a-z][:|]$/i, segments[at])) {
      arrayPush(url.path, `${segments[at][0]}:`);
    } else {
      arrayPush(url.path, percentEncoded(segments[at], PATH_SET));
    }
  }
}

function pathText(url) {
  return typeof url.path === "string" ? url.path : url.path.length > 0 ? `/${arrayJoin(url.path, "/")}` : "";
}

function hostText(url) {
  return url.host === null ? "" : url.port === null ? url.host : `${url.host}:${url.port}`;
}

function urlText(url, withFragment = true) {
  let out = url.scheme;
  if (url.host !== null) {
    out += "//";
    if (url.username !== "" || url.password !== "") out += `${url.username}${url.password === "" ? "" : `:${url.password}`}@`;
    out += hostText(url);
  } else if (typeof url.path !== "string" && url.path.length > 1 && url.path[0] === "") {
    out += "/.";
  }
  out += pathText(url);
  if (url.query !== null) out += `?${url.query}`;
  if (withFragment && url.fragment !== null) out += `#${url.fragment}`;
  return out;
}

/** `https://host:port`, or `null` for schemes that have none. */
function originOf(url) {
  return isSpecial(url) && url.scheme !== "file:" ? `${url.scheme}//${hostText(url)}` : "null";
}
