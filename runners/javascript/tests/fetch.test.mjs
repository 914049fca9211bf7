// `fetch`, which the host sends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

const SOURCE = `
  export async function run(source) { return (0, eval)("(async () => { " + source + " })()"); }
  export async function get(url) { const answer = await fetch(url); return [answer.status, answer.ok, answer.url, answer.redirected, await answer.text()]; }
`;

test("a request goes out as it was made, and the answer is there", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const id = host.begin("run", {
    source: `
    const answer = await fetch("https://user.example/a b?q=é#part", { method: "post", headers: { "X-One": " 1 ", accept: "application/json" }, body: JSON.stringify({ é: 1 }) });
    return [answer.status, answer.ok, answer.headers.get("Content-Type"), answer.headers.get("x-none"), await answer.clone().json(), await answer.json(), answer.bodyUsed, answer.url];`,
  });
  const [op] = host.under("http");
  assert.deepEqual(op.json, {
    method: "POST", url: "https://user.example/a%20b?q=%C3%A9",
    headers: [["x-one", "1"], ["accept", "application/json"], ["content-type", "text/plain;charset=UTF-8"], ["accept-encoding", "identity"]],
    timeout_ns: null, on_behalf_of: id,
  });
  assert.equal(Buffer.from(op.body).toString(), '{"é":1}');
  host.respond(op, 201, [["content-type", "application/json"], ["x-a", "1"], ["x-a", "2"]], '\ufeff{"ok":"ü"}');
  assert.deepEqual(host.outcome(id).result, [201, true, "application/json", null, { ok: "ü" }, { ok: "ü" }, true, "https://user.example/a%20b?q=%C3%A9"]);
});

test("bodies of every kind, and none", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const sent = (init) => {
    host.begin("run", { source: `await fetch("https://a/", ${init});` });
    const [op] = host.under("http");
    host.respond(op, 204, []);
    return [op.json.method, op.body && Buffer.from(op.body).toString(), op.json.headers.find(([name]) => name === "content-type")?.[1]];
  };
  assert.deepEqual(sent("{}"), ["GET", undefined, undefined]);
  assert.deepEqual(sent('{ method: "patch", body: new URLSearchParams({ a: "1 2" }) }'), ["PATCH", "a=1+2", "application/x-www-form-urlencoded;charset=UTF-8"]);
  assert.deepEqual(sent('{ method: "PUT", body: new TextEncoder().encode("xyz").subarray(1), headers: [["content-type", "a/b"]] }'), ["PUT", "yz", "a/b"]);
  assert.deepEqual(sent('{ method: "PUT", body: new TextEncoder().encode("xyz").buffer }'), ["PUT", "xyz", undefined]);
  const wrong = (source, message) => assert.match(host.failing("run", { source }).message, message);
  wrong('await fetch("https://a/", { method: "POST", body: { a: 1 } })', /^a body is a string, bytes or `URLSearchParams`, not an object: `JSON.stringify` it$/);
  wrong('await fetch("https://a/", { body: "x" })', /GET cannot have a body/);
  wrong('await fetch("/relative")', /Failed to parse URL from '\/relative'/);
  wrong('await fetch("ftp://a/")', /knows http and https, not ftp:/);
  wrong('await fetch("https://u:p@a/")', /user or a password/);
  wrong('await fetch("https://a/", { headers: { "a b": 1 } })', /'a b' is no name of a header/);
  wrong('await fetch("https://a/", { headers: { a: "x\\ny" } })', /value of header `a`/);
  wrong('await fetch("https://a/", { headers: { a: "日" } })', /value of header `a`/);
  wrong('await fetch("https://a/", { method: "TRACE" })', /no method/);
});

test("redirects are followed, each as a request that the host judges", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const id = host.begin("run", { source: 'const r = await fetch("https://a/x#f", { method: "POST", body: "b", headers: { authorization: "secret", "x-keep": 1 } }); return [r.status, r.redirected, r.url, await r.text()];' });
  const next = (status, location) => {
    const [op] = host.under("http");
    host.respond(op, status, location ? [["location", location]] : [], "end");
    return [op.json.method, op.json.url, op.body?.length, op.json.headers.map(([name]) => name).join()];
  };
  assert.deepEqual(next(307, "/y?q"), ["POST", "https://a/x", 1, "authorization,x-keep,content-type,accept,accept-encoding"]);
  assert.deepEqual(next(302, "../z"), ["POST", "https://a/y?q", 1, "authorization,x-keep,content-type,accept,accept-encoding"]);
  assert.deepEqual(next(303, "https://b/"), ["GET", "https://a/z", undefined, "authorization,x-keep,accept,accept-encoding"]);
  assert.deepEqual(next(200), ["GET", "https://b/", undefined, "x-keep,accept,accept-encoding"]);
  assert.deepEqual(host.outcome(id).result, [200, true, "https://b/", "end"]);

  const manual = host.begin("run", { source: 'const r = await fetch("https://a/", { redirect: "manual" }); return [r.status, r.headers.get("location")];' });
  next(302, "/b");
  assert.deepEqual(host.outcome(manual).result, [302, "/b"]);
  const error = host.begin("run", { source: 'await fetch("https://a/", { redirect: "error" });' });
  next(302, "/b");
  assert.match(host.outcome(error).failure.message, /redirects, and the request forbids that/);
  const loop = host.begin("get", { url: "https://a/" });
  for (let count = 0; count <= 20; count++) next(302, "/");
  assert.match(host.outcome(loop).failure.message, /more than 20 redirects/);
  const bad = host.begin("get", { url: "https://a/" });
  next(302, "http://[");
  assert.match(host.outcome(bad).failure.message, /redirects to what is no URL/);
});

test("what the host refuses is a TypeError with its words", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const words = "the plugin may not send GET https://a/: `mortise deploy grant sensor http:https://a` would let it";
  const id = host.begin("run", { source: 'try { await fetch("https://a/"); } catch (error) { return [error instanceof TypeError, error.message, error.cause.code]; }' });
  host.fail(host.under("http")[0], "permission_denied", words);
  assert.deepEqual(host.outcome(id).result, [true, words, "permission_denied"]);
  // Where nobody catches it, the caller is told the host's code.
  const uncaught = host.begin("run", { source: 'await fetch("https://a/");' });
  host.fail(host.under("http")[0], "connection_failed", words, true);
  assert.deepEqual(host.outcome(uncaught).failure, { code: "connection_failed", message: words, retryable: true });
  // An error of the plugin's own has none, whatever it names as its cause.
  const own = host.begin("run", { source: 'try { await fetch("https://a/"); } catch (error) { throw new Error("closed", { cause: error.cause }); }' });
  host.fail(host.under("http")[0], "permission_denied", words);
  assert.deepEqual(host.outcome(own).failure, { code: "error", message: "closed", retryable: false });
});

test("a signal ends a request", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const id = host.begin("run", { source: 'try { await fetch("https://a/", { signal: AbortSignal.timeout(50) }); } catch (error) { return error.name; }' });
  const [op] = host.under("http");
  host.pass(50);
  assert.deepEqual(host.outcome(id), { result: "TimeoutError" });
  assert.ok(host.cancelled.includes(op.id));
  assert.match(host.failing("run", { source: 'await fetch("https://a/", { signal: AbortSignal.abort(new Error("before")) });' }).message, /^before$/);
  assert.deepEqual(host.under("http"), []);
});

test("Headers, Request and Response as by Node", async () => {
  const host = await FakeHost.plugin(SOURCE);
  const sources = [
    `const h = new Headers({ b: "2", A: "1" }); h.append("a", "3"); h.append("Set-Cookie", "x=1"); h.append("set-cookie", "y=2"); h.set("b", "9"); h.delete("none"); return [[...h], h.get("a"), h.has("B"), h.getSetCookie(), [...h.keys()], [...new Headers(h).values()], [...new Headers([["q", "1"]])]];`,
    `const r = new Response("text", { status: 404, statusText: "No", headers: { a: "b" } }); return [r.status, r.ok, r.statusText, [...r.headers], await r.text(), r.bodyUsed, r.type, r.url];`,
    `const r = Response.json({ a: [1] }, { status: 201 }); return [r.status, r.headers.get("content-type"), await r.json()];`,
    `const r = new Request("https://a/b", { method: "POST", body: "x", headers: { a: "1" } }); const c = new Request(r.clone(), { headers: { b: "2" } }); return [r.method, r.url, await r.text(), await c.text(), [...c.headers], c.redirect, r.signal.aborted];`,
    `const r = new Response(new Uint8Array([1, 2])); return [...new Uint8Array(await r.arrayBuffer())];`,
    `const r = new Response("{"); try { await r.json(); } catch (e) { return e.name; }`,
    `const r = new Response("x"); await r.text(); try { await r.text(); } catch (e) { return e.name; }`,
    `try { new Response("x", { status: 99 }); } catch (e) { return e.name; }`,
    `const r = Response.redirect("https://a/b"); return [r.status, r.headers.get("location")];`,
  ];
  const AsyncFunction = (async () => {}).constructor;
  for (const source of sources) assert.deepEqual(host.call("run", { source }), JSON.parse(JSON.stringify(await new AsyncFunction(source)())), source);
});

test("what is in a query is in no error, and a redirect has no password", async () => {
  const host = await FakeHost.plugin(SOURCE);
  for (const [init, location] of [['{ redirect: "error" }', "/?token=s3cret"], ["{}", "http://[?token=s3cret"], ["{}", "https://u:s3cret@b/"]]) {
    const id = host.begin("run", { source: `await fetch("https://a/x?key=s3cret", ${init});` });
    host.respond(host.under("http")[0], 302, [["location", location]]);
    assert.match(host.outcome(id).failure.message, /^https:\/\/a\/x redirects/);
    assert.doesNotMatch(host.outcome(id).failure.message, /s3cret/);
  }
});
