// `fetch`, `Headers`, `Request` and `Response`. The host sends each request, and judges it by the plugin's permission `http`;
// redirects are followed here, each as a request of its own. A body is there as a whole: there are no streams.

const REDIRECTS_MAX = 20;
const TOKEN = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;

let headerList, headersOfList;

class Headers {
  /** Pairs of a name in lower case and a value, in order. */
  #list = [];

  static {
    headerList = (headers) => headers.#list;
    headersOfList = (list) => {
      const headers = new Headers();
      headers.#list = list;
      return headers;
    };
    arrayPush(shownAs, (value) => {
      if (!(#list in value)) return null;
      const shown = {};
      const sorted = value.#sorted();
      for (let at = 0; at < sorted.length; at++) shown[sorted[at][0]] = sorted[at][1];
      return shown;
    });
  }

  constructor(init = undefined) {
    if (init === undefined || init === null) return;
    if (typeof init !== "object") throw new TypeError(`headers are an object or pairs, not ${kindOf(init)}`);
    if (#list in init) {
      this.#list = arraySlice(init.#list);
    } else if (init[iterator] !== undefined) {
      for (const pair of init) {
        const items = [...pair];
        if (items.length !== 2) throw new TypeError("each of the headers must be a name and a value");
        this.append(items[0], items[1]);
      }
    } else {
      const names = objectKeys(init);
      for (let at = 0; at < names.length; at++) this.append(names[at], init[names[at]]);
    }
  }

  append(name, value) {
    arrayPush(this.#list, [headerName(name), headerValue(name, value)]);
  }

  set(name, value) {
    const wanted = headerName(name);
    const text = headerValue(name, value);
    const kept = [];
    let isSet = false;
    for (let at = 0; at < this.#list.length; at++) {
      const isMeant = this.#list[at][0] === wanted;
      if (!isMeant || !isSet) arrayPush(kept, isMeant ? [wanted, text] : this.#list[at]);
      isSet ||= isMeant;
    }
    if (!isSet) arrayPush(kept, [wanted, text]);
    this.#list = kept;
  }

  delete(name) {
    const wanted = headerName(name);
    const kept = [];
    for (let at = 0; at < this.#list.length; at++) if (this.#list[at][0] !== wanted) arrayPush(kept, this.#list[at]);
    this.#list = kept;
  }

  get(name) {
    const values = this.#values(headerName(name));
    return values.length > 0 ? arrayJoin(values, ", ") : null;
  }

  getSetCookie() {
    return this.#values("set-cookie");
  }

  has(name) {
    return this.#values(headerName(name)).length > 0;
  }

  forEach(action, self = undefined) {
    const sorted = this.#sorted();
    for (let at = 0; at < sorted.length; at++) apply(action, self, [sorted[at][1], sorted[at][0], this]);
  }

  *entries() {
    const sorted = this.#sorted();
    for (let at = 0; at < sorted.length; at++) yield [sorted[at][0], sorted[at][1]];
  }

  *keys() {
    const sorted = this.#sorted();
    for (let at = 0; at < sorted.length; at++) yield sorted[at][0];
  }

  *values() {
    const sorted = this.#sorted();
    for (let at = 0; at < sorted.length; at++) yield sorted[at][1];
  }

  #values(name) {
    const found = [];
    for (let at = 0; at < this.#list.length; at++) if (this.#list[at][0] === name) arrayPush(found, this.#list[at][1]);
    return found;
  }

  /** By name, those of one name joined, but for cookies. */
  #sorted() {
    const names = [];
    for (let at = 0; at < this.#list.length; at++) if (!arrayIncludes(names, this.#list[at][0])) arrayPush(names, this.#list[at][0]);
    arraySort(names);
    const sorted = [];
    for (let at = 0; at < names.length; at++) {
      const values = this.#values(names[at]);
      if (names[at] !== "set-cookie") arrayPush(sorted, [names[at], arrayJoin(values, ", ")]);
      else for (let each = 0; each < values.length; each++) arrayPush(sorted, [names[at], values[each]]);
    }
    return sorted;
  }
}
objectDefine(Headers.prototype, iterator, {
  __proto__: null, value: Headers.prototype.entries, writable: true, configurable: true,
});

function headerName(name) {
  const text = `${name}`;
  if (!matched(TOKEN, text)) throw new TypeError(`${inspect(text)} is no name of a header`);
  return stringLower(text);
}

function headerValue(name, value) {
  const text = replaced(/^[\t\n\r ]+|[\t\n\r ]+$/g, `${value}`, () => "");
  if (matched(/[\0\n\r]/, text) || matched(/[^\x00-\xff]/, text)) throw new TypeError(`the value of header \`${name}\` has characters that a header cannot have`);
  return text;
}

/** Bytes of a body and what kind they are, as `{ bytes, type }`; bytes null where there is none. */
function bodyOf(body) {
  if (body === undefined || body === null) return { bytes: null, type: null };
  const bytes = bytesOf(body);
  // What the plugin does to its bytes later does not change what is sent.
  if (bytes !== null) return { bytes: bytesSlice(bytes), type: null };
  const form = formText(body);
  if (form !== null) return { bytes: encodeText(form), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  if (typeof body === "object" || typeof body === "function") {
    throw new TypeError(`a body is a string, bytes or \`URLSearchParams\`, not ${kindOf(body)}: \`JSON.stringify\` it`);
  }
  return { bytes: encodeText(`${body}`), type: "text/plain;charset=UTF-8" };
}

let bodyBytes;

/** What requests and responses have in common. */
class Body {
  #bytes;
  #isUsed = false;

  static {
    bodyBytes = (message) => message.#bytes;
  }

  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** There are no streams. */
  get body() {
    return null;
  }

  get bodyUsed() {
    return this.#isUsed;
  }

  async bytes() {
    return this.#take();
  }

  async arrayBuffer() {
    return bufferOf(this.#take());
  }

  async text() {
    const text = decodeText(this.#take());
    return stringStartsWith(text, "\ufeff") ? stringSlice(text, 1) : text;
  }

  async json() {
    const text = decodeText(this.#take());
    return jsonParse(stringStartsWith(text, "\ufeff") ? stringSlice(text, 1) : text);
  }

  #take() {
    if (this.#isUsed) throw new TypeError("the body has been read already: read it once, or `clone()` before");
    if (this.#bytes === null) return new Uint8Array(0);
    this.#isUsed = true;
    return bytesSlice(this.#bytes);
  }
}

class Request extends Body {
  #url;
  #method;
  #headers;
  #redirect;
  #signal;

  static {
    arrayPush(shownAs, (value) =>
      #method in value ? { method: value.#method, url: urlText(value.#url), headers: value.#headers } : null,
    );
  }

  constructor(input, init = {}) {
    const from = typeof input === "object" && input !== null && #url in input ? input : null;
    const options = init ?? {};
    const url = from === null ? parseUrl(`${input}`, null) : from.#url;
    if (url === null) throw new TypeError(`Failed to parse URL from ${inspect(`${input}`)}`, { cause: invalidUrl(input) });
    if (url.username !== "" || url.password !== "") throw new TypeError("the URL has a user or a password in it: send a header `authorization`");
    const method = stringUpper(`${options.method ?? from?.#method ?? "GET"}`);
    if (!matched(TOKEN, method) || arrayIncludes(["CONNECT", "TRACE", "TRACK"], method)) throw new TypeError(`${inspect(method)} is no method that can be sent`);
    const hasBody = options.body !== undefined && options.body !== null;
    if (hasBody && (method === "GET" || method === "HEAD")) throw new TypeError(`a request with method ${method} cannot have a body`);
    if (!hasBody && from?.bodyUsed) throw new TypeError("the body of the request has been read already");
    const { bytes, type } = hasBody ? bodyOf(options.body) : { bytes: from === null ? null : bodyBytes(from), type: null };
    super(bytes);
    this.#url = url;
    this.#method = method;
    this.#headers = new Headers(options.headers ?? from?.#headers);
    if (type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
    this.#redirect = `${options.redirect ?? from?.#redirect ?? "follow"}`;
    if (!arrayIncludes(["follow", "error", "manual"], this.#redirect)) throw new TypeError(`\`redirect\` is "follow", "error" or "manual", not ${inspect(this.#redirect)}`);
    this.#signal = options.signal === undefined ? (from?.#signal ?? new AbortSignal(MAKING)) : (options.signal ?? new AbortSignal(MAKING));
    if (!isSignal(this.#signal)) throw new TypeError(`\`signal\` must be an \`AbortSignal\`, not ${kindOf(options.signal)}`);
  }

  get url() {
    return urlText(this.#url);
  }

  get method() {
    return this.#method;
  }

  get headers() {
    return this.#headers;
  }

  get redirect() {
    return this.#redirect;
  }

  get signal() {
    return this.#signal;
  }

  clone() {
    return new Request(this);
  }
}

let responseOf;

class Response extends Body {
  #status;
  #statusText;
  #headers;
  #url = "";
  #isRedirected = false;
  #type = "default";

  static {
    responseOf = (url, status, headers, bytes, isRedirected) => {
      const response = new Response(arrayIncludes([204, 205, 304], status) ? null : bytes);
      response.#status = status;
      response.#headers = headersOfList(headers);
      response.#url = urlText(url, false);
      response.#isRedirected = isRedirected;
      response.#type = "basic";
      return response;
    };
    arrayPush(shownAs, (value) =>
      #status in value ? { status: value.#status, url: value.#url, headers: value.#headers } : null,
    );
  }

  constructor(body = null, init = {}) {
    const { bytes, type } = bodyOf(body);
    super(bytes);
    const status = init?.status ?? 200;
    if (!numberIsInteger(status) || status < 200 || status > 599) throw new RangeError(`\`status\` must be from 200 to 599, not ${inspect(status)}`);
    this.#status = status;
    this.#statusText = `${init?.statusText ?? ""}`;
    this.#headers = new Headers(init?.headers);
    if (type !== null && !this.#headers.has("content-type")) this.#headers.append("content-type", type);
  }

  static json(value, init = {}) {
    const headers = new Headers(init?.headers);
    if (!headers.has("content-type")) headers.append("content-type", "application/json");
    return new Response(jsonOf(value, "the body"), { ...init, headers });
  }

  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    return response;
  }

  static redirect(url, status = 302) {
    if (!isRedirect(status)) throw new RangeError(`${inspect(status)} is no status of a redirect`);
    return new Response(null, { status, headers: { location: new URL(url).href } });
  }

  get status() {
    return this.#status;
  }

  get statusText() {
    return this.#statusText;
  }

  get ok() {
    return this.#status >= 200 && this.#status < 300;
  }

  get headers() {
    return this.#headers;
  }

  get url() {
    return this.#url;
  }

  get redirected() {
    return this.#isRedirected;
  }

  get type() {
    return this.#type;
  }

  clone() {
    if (this.bodyUsed) throw new TypeError("the body has been read already: `clone()` before");
    const copy = new Response(bodyBytes(this), { statusText: this.#statusText });
    copy.#status = this.#status;
    copy.#headers = new Headers(this.#headers);
    copy.#url = this.#url;
    copy.#isRedirected = this.#isRedirected;
    copy.#type = this.#type;
    return copy;
  }
}

function isRedirect(status) {
  return arrayIncludes([301, 302, 303, 307, 308], status);
}

async function fetch(input, init = undefined) {
  const request = new Request(input, init);
  const { signal, redirect } = request;
  let { method } = request;
  let bytes = bodyBytes(request);
  let headers = arraySlice(headerList(request.headers));
  let url = parseUrl(request.url, null);
  addMissing(headers, "accept", "*/*");
  // What is sent compressed cannot be unpacked here.
  addMissing(headers, "accept-encoding", "identity");
  for (let count = 0; ; count++) {
    const { head, body } = await send(method, url, headers, bytes, signal);
    const location = isRedirect(head.status) && redirect !== "manual" ? headersOfList(head.headers).get("location") : null;
    if (location === null) return responseOf(url, head.status, head.headers, body, count > 0);
    if (redirect === "error") throw new TypeError(`${shownUrl(url)} redirects, and the request forbids that`);
    if (count >= REDIRECTS_MAX) throw new TypeError(`more than ${REDIRECTS_MAX} redirects, the last by ${shownUrl(url)}`);
    const next = parseUrl(location, url);
    if (next === null) throw new TypeError(`${shownUrl(url)} redirects to what is no URL`);
    if (next.username !== "" || next.password !== "") throw new TypeError(`${shownUrl(url)} redirects to a URL with a user or a password in it`);
    next.fragment ??= url.fragment;
    const isChanged = (head.status <= 302 && method === "POST") || (head.status === 303 && method !== "GET" && method !== "HEAD");
    if (isChanged) {
      method = "GET";
      bytes = null;
      headers = without(headers, ["content-encoding", "content-language", "content-location", "content-type", "content-length"]);
    }
    if (originOf(next) !== originOf(url)) headers = without(headers, ["authorization", "proxy-authorization", "cookie", "host"]);
    url = next;
  }
}

/** A URL for an error's text: what is in its query may be secret. */
function shownUrl(url) {
  return parts(urlText(url, false), "?")[0];
}

function addMissing(headers, name, value) {
  for (let at = 0; at < headers.length; at++) if (headers[at][0] === name) return;
  arrayPush(headers, [name, value]);
}

function without(headers, names) {
  const kept = [];
  for (let at = 0; at < headers.length; at++) if (!arrayIncludes(names, headers[at][0])) arrayPush(kept, headers[at]);
  return kept;
}

/** Sends one request. What the host refuses is a TypeError in its words, with the failure as its cause. */
async function send(method, url, headers, bytes, signal) {
  signal.throwIfAborted();
  if (url.scheme !== "http:" && url.scheme !== "https:") throw new TypeError(`\`fetch\` knows http and https, not ${url.scheme}`);
  if (bytes !== null && lengthOf(bytes) > CROSSING_MAX) {
    throw new Failure(`the body has ${lengthOf(bytes)} bytes, more than ${CROSSING_MAX}`, "request_too_large");
  }
  const pairs = [];
  for (let at = 0; at < headers.length; at++) arrayPush(pairs, bareList([headers[at][0], headers[at][1]]));
  const { id, promise } = startOp(
    "http",
    { __proto__: null, method, url: urlText(url, false), headers: bareList(pairs), timeout_ns: null, on_behalf_of: onBehalfOf() },
    bytes ?? undefined,
  );
  const release = onAbort(signal, (reason) => cancelOp(id, reason));
  try {
    return await promise;
  } catch (error) {
    if (isFailure(error) && error.code !== "not_loaded") throw new Marked(new TypeError(error.message, { cause: error }), error);
    throw error;
  } finally {
    release();
  }
}

provide("Headers", Headers);
provide("Request", Request);
provide("Response", Response);
provide("fetch", fetch);
