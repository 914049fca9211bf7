// `URL` and `URLSearchParams`.

class URL {
  #record;
  #params = null;

  static {
    arrayPush(shownAs, (value) => (#record in value ? urlText(value.#record) : null));
  }

  constructor(url, base = undefined) {
    const from = base === undefined ? null : parseUrl(`${base}`, null);
    const record = base !== undefined && from === null ? null : parseUrl(`${url}`, from);
    if (record === null) throw invalidUrl(url, base);
    this.#record = record;
  }

  static canParse(url, base = undefined) {
    return URL.parse(url, base) !== null;
  }

  static parse(url, base = undefined) {
    try {
      return new URL(url, base);
    } catch {
      return null;
    }
  }

  get href() {
    return urlText(this.#record);
  }

  set href(value) {
    const record = parseUrl(`${value}`, null);
    if (record === null) throw invalidUrl(value);
    this.#record = record;
    this.#queryChanged();
  }

  get origin() {
    return originOf(this.#record);
  }

  get protocol() {
    return this.#record.scheme;
  }

  set protocol(value) {
    const url = this.#record;
    const found = matched(/^([a-z][a-z\d+.-]*)(?::|$)/i, `${value}`);
    if (found === null) return;
    const scheme = `${stringLower(found[1])}:`;
    if (scheme in PORTS !== isSpecial(url)) return;
    if (scheme === "file:" && (url.username !== "" || url.password !== "" || url.port !== null)) return;
    if (url.scheme === "file:" && url.host === "") return;
    url.scheme = scheme;
    if (url.port === PORTS[scheme]) url.port = null;
  }

  get username() {
    return this.#record.username;
  }

  set username(value) {
    if (this.#hasServer()) this.#record.username = percentEncoded(stringWellFormed(`${value}`), USERINFO_SET);
  }

  get password() {
    return this.#record.password;
  }

  set password(value) {
    if (this.#hasServer()) this.#record.password = percentEncoded(stringWellFormed(`${value}`), USERINFO_SET);
  }

  get host() {
    return hostText(this.#record);
  }

  set host(value) {
    this.#setHost(`${value}`, true);
  }

  get hostname() {
    return this.#record.host ?? "";
  }

  set hostname(value) {
    this.#setHost(`${value}`, false);
  }

  get port() {
    return this.#record.port === null ? "" : `${this.#record.port}`;
  }

  set port(value) {
    const digits = matched(/^\d*/, replaced(/[\t\n\r]/g, `${value}`, () => ""))[0];
    if (!this.#hasServer() || (digits === "" && `${value}` !== "") || +digits > 65535) return;
    if (digits === "") this.#record.port = null;
    else setPort(this.#record, +digits);
  }

  get pathname() {
    return pathText(this.#record);
  }

  set pathname(value) {
    const url = this.#record;
    if (typeof url.path === "string") return;
    url.path = [];
    const path = replaced(/[\t\n\r]/g, stringWellFormed(`${value}`), () => "");
    const isRooted = stringStartsWith(path, "/") || (isSpecial(url) && stringStartsWith(path, "\\"));
    if (path !== "" || isSpecial(url)) appendPath(url, isRooted ? stringSlice(path, 1) : path);
    // `?` and `#` belong to the path here.
    for (let at = 0; at < url.path.length; at++) url.path[at] = replaced(/[?#]/g, url.path[at], (match) => (match[0] === "?" ? "%3F" : "%23"));
  }

  get search() {
    const { query } = this.#record;
    return query === null || query === "" ? "" : `?${query}`;
  }

  set search(value) {
    const given = replaced(/[\t\n\r]/g, stringWellFormed(`${value}`), () => "");
    const query = stringStartsWith(given, "?") ? stringSlice(given, 1) : given;
    this.#record.query = given === "" ? null : percentEncoded(query, isSpecial(this.#record) ? SPECIAL_QUERY_SET : QUERY_SET);
    this.#queryChanged();
  }

  get searchParams() {
    if (this.#params === null) {
      this.#params = new URLSearchParams(this.search);
      watchParams(this.#params, (query) => {
        this.#record.query = query === "" ? null : query;
      });
    }
    return this.#params;
  }

  get hash() {
    const { fragment } = this.#record;
    return fragment === null || fragment === "" ? "" : `#${fragment}`;
  }

  set hash(value) {
    const given = replaced(/[\t\n\r]/g, stringWellFormed(`${value}`), () => "");
    const fragment = stringStartsWith(given, "#") ? stringSlice(given, 1) : given;
    this.#record.fragment = given === "" ? null : percentEncoded(fragment, FRAGMENT_SET);
  }

  toString() {
    return this.href;
  }

  toJSON() {
    return this.href;
  }

  #hasServer() {
    const { host: name, scheme } = this.#record;
    return name !== null && name !== "" && scheme !== "file:";
  }

  #setHost(value, withPort) {
    const url = this.#record;
    if (typeof url.path === "string") return;
    const given = replaced(/[\t\n\r]/g, stringWellFormed(value), () => "");
    const authority = stringSlice(given, 0, matched(isSpecial(url) ? /[/\\?#]|$/ : /[/?#]|$/, given).index);
    const found = matched(/^((?:\[[^\]]*\]?|[^:[])*)(?::(\d*))?/, authority);
    const name = found[1];
    if (name === "" && (isSpecial(url) ? url.scheme !== "file:" : url.port !== null || url.username !== "" || url.password !== "")) return;
    if (found[2] !== undefined && (name === "" || !withPort || url.scheme === "file:")) return;
    const host = name === "" ? "" : parseHost(name, isSpecial(url));
    if (host === null) return;
    url.host = url.scheme === "file:" && host === "localhost" ? "" : host;
    if (found[2] && +found[2] <= 65535) setPort(url, +found[2]);
  }

  #queryChanged() {
    if (this.#params !== null) replaceParams(this.#params, this.#record.query ?? "");
  }
}

function invalidUrl(url, base = undefined) {
  const error = new TypeError(`Invalid URL: ${inspect(`${url}`)}${base === undefined ? "" : ` with base ${inspect(`${base}`)}`}`);
  error.code = "ERR_INVALID_URL";
  return error;
}

let watchParams, replaceParams, formText;

class URLSearchParams {
  /** Pairs of name and value. */
  #list = [];
  #changed = null;

  static {
    watchParams = (params, changed) => {
      params.#changed = changed;
    };
    replaceParams = (params, query) => {
      params.#list = parseForm(query);
    };
    formText = (value) => (typeof value === "object" && value !== null && #list in value ? value.#text() : null);
    arrayPush(shownAs, formText);
  }

  constructor(init = "") {
    const given = formText(init);
    if (given !== null) {
      this.#list = parseForm(given);
    } else if ((typeof init === "object" && init !== null) || typeof init === "function") {
      if (init[iterator] !== undefined && init[iterator] !== null) {
        for (const pair of init) {
          const items = [...pair];
          if (items.length !== 2) throw new TypeError("each of the pairs must be a name and a value");
          arrayPush(this.#list, [formWord(items[0]), formWord(items[1])]);
        }
      } else {
        const names = objectKeys(init);
        for (let at = 0; at < names.length; at++) arrayPush(this.#list, [formWord(names[at]), formWord(init[names[at]])]);
      }
    } else {
      const text = formWord(init);
      this.#list = parseForm(stringStartsWith(text, "?") ? stringSlice(text, 1) : text);
    }
  }

  get size() {
    return this.#list.length;
  }

  append(name, value) {
    arrayPush(this.#list, [formWord(name), formWord(value)]);
    this.#update();
  }

  delete(name, value = undefined) {
    this.#list = this.#without(formWord(name), value);
    this.#update();
  }

  get(name) {
    const all = this.getAll(name);
    return all.length > 0 ? all[0] : null;
  }

  getAll(name) {
    const found = [];
    const wanted = formWord(name);
    for (let at = 0; at < this.#list.length; at++) if (this.#list[at][0] === wanted) arrayPush(found, this.#list[at][1]);
    return found;
  }

  has(name, value = undefined) {
    return this.#without(formWord(name), value).length < this.#list.length;
  }

  set(name, value) {
    const wanted = formWord(name);
    const kept = [];
    let isSet = false;
    for (let at = 0; at < this.#list.length; at++) {
      if (this.#list[at][0] !== wanted) arrayPush(kept, this.#list[at]);
      else if (!isSet) arrayPush(kept, [wanted, formWord(value)]);
      isSet ||= this.#list[at][0] === wanted;
    }
    if (!isSet) arrayPush(kept, [wanted, formWord(value)]);
    this.#list = kept;
    this.#update();
  }

  sort() {
    arraySort(this.#list, (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
    this.#update();
  }

  forEach(action, self = undefined) {
    for (let at = 0; at < this.#list.length; at++) apply(action, self, [this.#list[at][1], this.#list[at][0], this]);
  }

  *entries() {
    for (let at = 0; at < this.#list.length; at++) yield [this.#list[at][0], this.#list[at][1]];
  }

  *keys() {
    for (let at = 0; at < this.#list.length; at++) yield this.#list[at][0];
  }

  *values() {
    for (let at = 0; at < this.#list.length; at++) yield this.#list[at][1];
  }

  toString() {
    return this.#text();
  }

  #text() {
    const pairs = [];
    for (let at = 0; at < this.#list.length; at++) arrayPush(pairs, `${formEncoded(this.#list[at][0])}=${formEncoded(this.#list[at][1])}`);
    return arrayJoin(pairs, "&");
  }

  #without(name, value) {
    const kept = [];
    for (let at = 0; at < this.#list.length; at++) {
      const isMeant = this.#list[at][0] === name && (value === undefined || this.#list[at][1] === formWord(value));
      if (!isMeant) arrayPush(kept, this.#list[at]);
    }
    return kept;
  }

  #update() {
    this.#changed?.(this.#text());
  }
}
objectDefine(URLSearchParams.prototype, iterator, {
  __proto__: null, value: URLSearchParams.prototype.entries, writable: true, configurable: true,
});

function formWord(value) {
  return stringWellFormed(`${value}`);
}

const FORM_SET = /[^*\-.\dA-Z_a-z]/gu;

function formEncoded(word) {
  return replaced(/%20/g, percentEncoded(word, FORM_SET), () => "+");
}

function parseForm(query) {
  const list = [];
  const pairs = parts(query, "&");
  for (let at = 0; at < pairs.length; at++) {
    if (pairs[at] === "") continue;
    const equals = stringIndexOf(pairs[at], "=");
    const name = equals < 0 ? pairs[at] : stringSlice(pairs[at], 0, equals);
    arrayPush(list, [formDecoded(name), equals < 0 ? "" : formDecoded(stringSlice(pairs[at], equals + 1))]);
  }
  return list;
}

function formDecoded(word) {
  const spaced = replaced(/\+/g, word, () => " ");
  return stringIncludes(spaced, "%") ? decodeText(bytesOfBinary(percentDecoded(spaced))) : spaced;
}

provide("URL", URL);
provide("URLSearchParams", URLSearchParams);
