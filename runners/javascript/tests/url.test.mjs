// `URL` and `URLSearchParams` against Node's own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

const PARTS = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];

const host = await FakeHost.plugin(`
  const PARTS = ${JSON.stringify(PARTS)};
  const shown = (url) => Object.fromEntries([...PARTS.map((part) => [part, url[part]]), ["params", [...url.searchParams]], ["text", String(url)], ["json", JSON.stringify(url)]]);
  export function take_apart(input, base = undefined) {
    try { return shown(new URL(input, base)); } catch (error) { return error instanceof TypeError ? "refused" : String(error); }
  }
  export function change(input, part, value) { const url = new URL(input); url[part] = value; return shown(url); }
  export function params(source) { return String((0, eval)(source)); }
`);

const shown = (url) => ({ ...Object.fromEntries(PARTS.map((part) => [part, url[part]])), params: [...url.searchParams], text: String(url), json: JSON.stringify(url) });

function expected(input, base) {
  try {
    return shown(new URL(input, base));
  } catch {
    return "refused";
  }
}

const INPUTS = [
  "https://example.com", "https://EXAMPLE.com:443/a/b/../c?q=1#f", "http://user:pass@host:8080/p?x=y&z", "HTTP://a.b/%7Efoo/%2e%2E/bar", "https://a/b/./c/.",
  "http:///example.com", "http:example.com", "https:\\\\a\\b", "http://a b/", "http://a%20b/", "http://exa%41mple/", "http://[::1]:3000/x", "http://[2001:db8::ff00:42:8329]/",
  "http://[::ffff:192.0.2.128]/", "http://[1:0:0:2:0:0:0:3]/", "http://[1::2::3]/", "http://[::1", "http://[12345::]/", "http://[1:2:3:4:5:6:7]/", "http://[1:2:3:4:5:6:7::]/",
  "http://127.0.0.1", "http://127.1", "http://0x7f.1", "http://017700000001", "http://256.1.1.1", "http://1.2.3.4.5", "http://1.2.3", "http://4294967295", "http://4294967296", "http://1.2.3.",
  "http://08.1/", "http://a.1/", "http://a.0x/", "http://münchen.de/ä?ö#ü", "http://例え.テスト/", "http://faß.de/", "http://Straße.DE/", "http://xn--mnchen-3ya.de/", "http://☃.net/", "http://a。b/",
  "http://ab\u00adc.de/", "http://ﬀ.com/", "mailto:joe@example.com", "data:text/plain,Hello World#x y", "javascript:alert(1)", "about:blank", "urn:isbn:1", "foo://host/path?q#h", "foo://ho st/",
  "foo:/a/b", "foo:a/b?c d#e f", "foo://", "foo:///p", "foo://u:p@h:1/x", "foo://h:/x", "foo://[::1]/x", "foo:/.//p", "file:///etc/passwd", "file://localhost/x", "file://host/x", "file:c:\\a\\b", "file:///C|/x/../..", "file:/a/../b",
  "file:a", "//example.com/x", "/x/y", "x/y", "../x", "../../x", "..", ".", "", "?q", "#f", "?", "#", "./..", "\\x", "//", "///x", "http:", "http://", "https://?x", "https://#x", "https://a?b?c#d#e",
  "  https://a/  ", "ht\ntps://a/\tb", "https://a:/", "https://a:0/", "https://a:65535/", "https://a:65536/", "https://a:x/", "https://a:80:80/", "https://@a/", "https://:@a/", "https://u@/", "https://u:p:q@a/", "https://a@b@c/",
  "https://u ser:p@ss@a/", "https://a/`{}|\"<>'", "https://a/?`{}|^\"<>'", "https://a/#`{}|^\"<>'", "foo://a/?'", "https://a/\ud800", "https://a/?\udc00=1", "https://a/%", "https://a/%zz", "https://a/b//c", "https://a//..", "https://a/b/%2e/c/%2E%2e/d",
  "wss://a:443/", "ws://a:80", "ftp://a:21/x", "1http://a", "a+b-c.d://x", "https://a\\b", "https://a/b\\c", "https://a?b\\c", "https://é@x/", "https://x.y/a b?c d#e f", "http://%zz/", "http://a^b/", "http://a|b", "http://a%00b", "http://\0/",
];
const BASES = [undefined, "https://base.org:8443/dir/file?query#frag", "http://u:p@h/a/b/c", "file:///dir/file", "file:///C:/dir/file", "foo://h/a/b", "foo:/a/b", "mailto:x", "https://h"];

test("URLs are taken apart as by Node", () => {
  for (const base of BASES) {
    for (const input of INPUTS) {
      const parameters = base === undefined ? { input } : { input, base };
      assert.deepEqual(host.call("take_apart", parameters), expected(input, base), `${JSON.stringify(input)} with base ${base}`);
    }
  }
});

test("parts are set as by Node", () => {
  const urls = ["https://u:p@host:8080/a/b?c=d#e", "http://host/", "https://host:80/", "file:///a/b", "foo://h/x", "mailto:x@y?z"];
  const values = {
    href: ["https://other/"],
    protocol: ["http", "https:", "foo", "file", "ws:x", "1x", ""],
    username: ["", "me", "a b@"],
    password: ["", "secret", "a:b/"],
    host: ["x", "x:1", "x:99999", "x:443", "[::1]:5", "", "a b", "x/y", "x?y:3", "x:"],
    hostname: ["x", "x:1", "", "[::1]", "0x7f.1", "é.de"],
    port: ["", "1", "80", "443", "65536", "8a", "0"],
    pathname: ["", "/", "x", "/a/../b", "a b?c#d", "\\x", "/%2e%2e/y"],
    search: ["", "?", "a=b", "?a=b&c=d e", "#x", "'\""],
    hash: ["", "#", "x", "#x y", "`<>"],
  };
  for (const input of urls) {
    for (const [part, given] of Object.entries(values)) {
      for (const value of given) {
        const url = new URL(input);
        url[part] = value;
        assert.deepEqual(host.call("change", { input, part, value }), shown(url), `${part} of ${input} set to ${JSON.stringify(value)}`);
      }
    }
  }
});

test("parameters of a query are as by Node", () => {
  const sources = [
    `new URLSearchParams("?a=1&b=2&a=3&c")`, `new URLSearchParams("a=b+c%20d%2B&%zz=%f0%9f%98%80&=&&x")`, `new URLSearchParams({ a: 1, "b c": "é&=" })`, `new URLSearchParams([["a", "~*-._!'()"], ["a", "2"]])`,
    `new URLSearchParams(new URLSearchParams("a=1"))`, `new URLSearchParams(new Map([["k", "v"]]))`, `new URLSearchParams("\\ud800=%ff")`,
    `(() => { const p = new URLSearchParams("b=1&a=2&b=3"); p.append("c", null); p.set("b", 9); p.delete("a"); p.sort(); return [p, p.size, p.get("b"), p.get("z"), p.getAll("b"), p.has("c"), p.has("z"), [...p.keys()], [...p.values()]].join("|"); })()`,
    `(() => { const u = new URL("https://a/?x=1"); u.searchParams.append("y", "2 3"); u.searchParams.delete("x"); const first = u.href; u.search = "?z=9"; return first + u.searchParams.get("z") + [...u.searchParams.entries()]; })()`,
    `(() => { const u = new URL("https://a/?x=1#f"); u.searchParams.delete("x"); return u.href; })()`,
    `(() => { const seen = []; new URLSearchParams("a=1&b=2").forEach((v, k) => seen.push(k + v)); return seen; })()`,
    `URL.canParse("https://a") + "," + URL.canParse("/x") + "," + URL.canParse("/x", "https://a")`,
  ];
  for (const source of sources) assert.equal(host.call("params", { source }), String((0, eval)(source)), source);
});
