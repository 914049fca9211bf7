// What programs find on the global object: console, timers, text, events, copies and random numbers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

/** A plugin that evaluates what it is given. */
const evaluating = () => FakeHost.plugin('export function run(source) { return (0, eval)(source); } export async function wait(source) { return (0, eval)(source); }');

test("console writes to the log", async () => {
  const host = await evaluating();
  const said = (source) => {
    host.logs.length = 0;
    host.call("run", { source: `${source}; null` });
    return host.logs.map((each) => `${each.level} ${each.target} ${each.message}`);
  };
  assert.deepEqual(said('console.log("a", 1, "b")'), ["info console a 1 b"]);
  assert.deepEqual(said('console.debug(1); console.info(2); console.warn(3); console.error(4)'), ["debug console 1", "info console 2", "warn console 3", "error console 4"]);
  assert.deepEqual(said('console.log("%s is %d%% %i %f %j %o %O %%", "x", 5, 1.9, "2.5", {a:1}, [1], {}, "rest")'), ["info console x is 5% 1 2.5 {\"a\":1} [ 1 ] {} % rest"]);
  assert.deepEqual(said('console.log("%s"); console.log("100%"); console.log("%x", 1)'), ["info console %s", "info console 100%", "info console %x 1"]);
  assert.deepEqual(said('console.group("g"); console.log("in\\nside"); console.groupEnd(); console.log("out")'), ["info console g", "info console   in", "info console   side", "info console out"]);
  assert.deepEqual(said('console.count(); console.count(); console.assert(true, "no"); console.assert(false, "yes", 1)'), ["info console default: 1", "info console default: 2", "error console Assertion failed: yes 1"]);
  assert.deepEqual(said('console.time("t"); console.timeEnd("t"); console.timeEnd("t")'), ["info console t: 0ms", "warn console there is no timer `t`"]);
  assert.deepEqual(said('const { log } = console; log("loose")'), ["info console loose"]);
  const [first, ...frames] = said('console.error(new TypeError("bad"))');
  assert.equal(first, "error console TypeError: bad");
  assert.ok(frames.some((line) => line.includes("plugin.js:1:")), frames.join("\n"));
});

test("values are shown as people read them", async () => {
  const host = await evaluating();
  const shown = (source) => {
    host.logs.length = 0;
    host.call("run", { source: `console.log(${source}); null` });
    return host.lines("info").join("\n");
  };
  const cases = {
    '{ a: "x", "b c": [1, -0, 2n], d: null, e: undefined }': "{ a: 'x', 'b c': [ 1, -0, 2n ], d: null, e: undefined }",
    '["it\'s", "\\n"]': '[ "it\'s", \'\\n\' ]',
    "(() => { const a = { n: 1 }; a.self = a; return a; })()": "{ n: 1, self: [Circular] }",
    "(() => { const a = { n: 1 }; return [a, a]; })()": "[ { n: 1 }, { n: 1 } ]",
    "{ a: { b: { c: { d: { e: { f: 1 } } } } } }": "{ a: { b: { c: { d: { e: [Object] } } } } }",
    'new Map([["k", { v: 1 }]])': "Map(1) { 'k' => { v: 1 } }",
    "new Set([1, 2])": "Set(2) { 1, 2 }",
    "new Date(0)": "1970-01-01T00:00:00.000Z",
    "new Date(NaN)": "Invalid Date",
    "/a+/gi": "/a+/gi",
    "new Uint8Array([1, 2, 3])": "Uint8Array(3) [ 1, 2, 3 ]",
    "[undefined, function f() {}, () => {}, class A {}, Symbol('s')]": "[ undefined, [Function: f], [Function (anonymous)], [class: A], Symbol(s) ]",
    "new (class Point { constructor() { this.x = 1; } })": "Point { x: 1 }",
    "Object.create(null)": "[Object: null prototype] {}",
    "{ get a() { throw 1; }, set b(v) {} }": "{ a: [Getter], b: [Setter] }",
    "new Proxy({}, { ownKeys() { throw new Error('trap'); } })": "[object that cannot be looked at]",
    "Array.from({ length: 102 }, () => 0).length": "102",
    "[Promise.resolve()]": "[ Promise {} ]",
    'new URL("https://a/b")': "URL { 'https://a/b' }",
    'new URLSearchParams("a=1&b=2")': "URLSearchParams { 'a=1&b=2' }",
    'new Headers({ b: "2", A: "1" })': "Headers { a: '1', b: '2' }",
    'new Response("x", { status: 404 })': "Response { status: 404, url: '', headers: Headers { 'content-type': 'text/plain;charset=UTF-8' } }",
    'new Request("https://a/", { method: "POST" })': "Request { method: 'POST', url: 'https://a/', headers: Headers {} }",
  };
  for (const [source, expected] of Object.entries(cases)) assert.equal(shown(source), expected, source);
  assert.match(shown("Array.from({ length: 102 }, () => 0)"), /, 0, … 2 more \]$/);
  assert.ok(shown("'x'.repeat(1e6)").length <= 65536);
  assert.match(shown("new AggregateError([new Error('one')], 'all', { cause: 'why' })"), /^AggregateError: all[^]*caused by 'why'[^]*with Error: one/);
});

test("timers fire in order, each in a turn of its own", async () => {
  const host = await FakeHost.plugin(`
    const seen = [];
    export function begin() {
      setTimeout((...words) => seen.push(words.join()), 20, "b", 1);
      setTimeout(() => { seen.push("a"); Promise.resolve().then(() => seen.push("a's")); }, 10);
      setTimeout(() => seen.push("c"), 20);
      setTimeout(() => { throw new Error("in a timer"); }, 15);
      const never = setTimeout(() => seen.push("never"), 5);
      const every = setInterval(() => { seen.push("i"); if (seen.filter((each) => each === "i").length === 3) clearInterval(every); }, 9);
      clearTimeout(never); clearTimeout(undefined); clearTimeout(12345);
      queueMicrotask(() => seen.push("micro"));
      queueMicrotask(() => { throw new Error("in a microtask"); });
      setTimeout(() => seen.push("soon"));
    }
    export const what = () => seen.splice(0);
    export function wrong() { setTimeout("alert(1)", 5); }
  `);
  host.call("begin");
  assert.deepEqual(host.call("what"), ["micro"]);
  host.pass(100);
  assert.deepEqual(host.call("what"), ["soon", "i", "a", "a's", "i", "b,1", "c", "i"]);
  assert.equal(host.ops.size, 0);
  assert.deepEqual(host.lines("error").filter((line) => line.startsWith("Error")), ["Error: in a microtask", "Error: in a timer"]);
  assert.equal(host.failing("wrong").message, "a timer needs a function, not a string");
});

test("a host that wakes too early is asked again", async () => {
  const host = await FakeHost.plugin("let fired = 0; export function begin() { setTimeout(() => fired++, 50); } export const count = () => fired;");
  host.call("begin");
  host.now += 10;
  host.done(host.under("sleep")[0]);
  assert.equal(host.call("count"), 0);
  assert.equal(host.under("sleep")[0].json.ns, 4e7);
  host.pass(40);
  assert.equal(host.call("count"), 1);
});

test("text and bytes are encoded as by Node", async () => {
  const host = await evaluating();
  const texts = ["", "plain", "é", "日本語", "😀", "a\ud800b", "\udc00", "\ufeffx", "\0\x7f\x80", "x".repeat(70_000) + "é"];
  for (const each of texts) {
    const bytes = host.call("run", { source: `[...new TextEncoder().encode(${JSON.stringify(each)})]` });
    assert.deepEqual(bytes, [...new TextEncoder().encode(each)]);
  }
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const samples = [[0xef, 0xbb, 0xbf, 0x61], [0xf0, 0x9f, 0x98], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe0, 0x80, 0x80], [0xff, 0xfe]];
  for (let count = 0; count < 200; count++) samples.push(Array.from({ length: random(12) }, () => [random(256), 0x80 + random(64), 0xe0 + random(20), 0x61][random(4)]));
  const decoded = host.call("run", { source: `${JSON.stringify(samples)}.map((each) => new TextDecoder().decode(new Uint8Array(each)))` });
  assert.deepEqual(decoded, samples.map((each) => new TextDecoder().decode(new Uint8Array(each))));
  const streamed = (TextDecoder) => samples.map((each) => {
    const decoder = new TextDecoder("utf8", { ignoreBOM: each.length % 2 === 0 });
    let out = "";
    for (const byte of each) out += decoder.decode(new Uint8Array([byte]), { stream: true });
    return out + decoder.decode() + decoder.decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x62]));
  });
  assert.deepEqual(host.call("run", { source: `globalThis.samples = ${JSON.stringify(samples)}; (${streamed})(TextDecoder)` }), streamed(TextDecoder));
  const isFatal = samples.map((each) => { try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(each)); return false; } catch { return true; } });
  assert.deepEqual(host.call("run", { source: `samples.map((each) => { try { new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(each)); return false; } catch { return true; } })` }), isFatal);
  assert.deepEqual(host.call("run", { source: `(() => { const into = new Uint8Array(5); return [new TextEncoder().encodeInto("é😀x", into), [...into]]; })()` }), [{ read: 1, written: 2 }, [195, 169, 0, 0, 0]]);
  assert.match(host.failing("run", { source: 'new TextDecoder("latin1")' }).message, /`latin1` is not known/);
  assert.equal(host.call("run", { source: 'btoa("ÿ") + atob("/w==").charCodeAt(0)' }), "/w==255");
});

test("signals are aborted, and tell who listens", async () => {
  const host = await evaluating();
  const run = (source) => host.call("run", { source: `(() => { ${source} })()` });
  assert.deepEqual(
    run(`const c = new AbortController(); const seen = []; c.signal.onabort = (e) => seen.push("on" + e.type); const f = () => seen.push("twice"); c.signal.addEventListener("abort", f); c.signal.addEventListener("abort", f);
      c.signal.addEventListener("abort", { handleEvent(e) { seen.push(e.target === c.signal); } }, { once: true }); c.abort(); c.abort("again"); return [seen, c.signal.aborted, c.signal.reason.name, c.signal.reason instanceof Error];`),
    [["onabort", "twice", true], true, "AbortError", true],
  );
  assert.deepEqual(run(`const c = new AbortController(); const any = AbortSignal.any([new AbortController().signal, c.signal]); c.abort("why"); return [any.aborted, any.reason, AbortSignal.abort(5).reason];`), [true, "why", 5]);
  assert.equal(run(`try { AbortSignal.abort().throwIfAborted(); } catch (e) { return e.message; }`), "This operation was aborted");
  host.call("run", { source: "globalThis.late = AbortSignal.timeout(50); null" });
  assert.equal(host.call("run", { source: "late.aborted" }), false);
  host.pass(50);
  assert.equal(host.call("run", { source: "late.reason.name" }), "TimeoutError");
  assert.deepEqual(
    run(`class Door extends EventTarget {} const d = new Door(); const seen = []; d.addEventListener("open", (e) => { seen.push(1); e.preventDefault(); e.stopImmediatePropagation(); }); d.addEventListener("open", () => seen.push(2));
      return [d.dispatchEvent(new Event("open", { cancelable: true })), d.dispatchEvent(new Event("shut")), seen];`),
    [false, true, [1]],
  );
  assert.match(host.failing("run", { source: "new AbortSignal()" }).message, /AbortController/);
});

test("a signal is watched only while somebody wants to hear of it", async () => {
  const host = await evaluating();
  const run = (source) => host.call("run", { source: `(() => { ${source} })()` });
  const timers = () => host.under("sleep").length;
  // That one is what lasts: whatever were left with it would stay.
  run(`globalThis.lasting = new AbortController(); globalThis.heard = []; globalThis.seen = [];
    const all = AbortSignal.any([lasting.signal, AbortSignal.timeout(100)]);
    globalThis.hear = (event) => heard.push(event.target.reason.name); globalThis.all = all; return null`);
  assert.equal(timers(), 0, "nobody hears of it");
  run(`all.addEventListener("abort", hear); return null`);
  assert.equal(timers(), 1);
  run(`all.removeEventListener("abort", hear); return null`);
  assert.equal(timers(), 0);
  const fetched = host.begin("run", { source: `fetch("http://a.test/", { signal: all }).then((answer) => answer.status)` });
  assert.equal(timers(), 1);
  host.respond(host.under("http")[0], 200, []);
  assert.deepEqual([host.outcome(fetched), timers()], [{ result: 200 }, 0]);
  run(`all.onabort = hear; return null`);
  host.pass(99);
  assert.deepEqual(run("return heard"), []);
  host.pass(1);
  assert.deepEqual(run("return [heard, all.aborted, lasting.signal.aborted]"), [["TimeoutError"], true, false]);
  assert.deepEqual(run(`const any = AbortSignal.any([AbortSignal.any([lasting.signal])]); lasting.abort("why"); return [any.aborted, any.reason]`), [true, "why"]);
  // A listener that was taken away is forgotten by its signal as well.
  run(`globalThis.other = new AbortController(); globalThis.target = new EventTarget(); globalThis.count = 0;
    target.addEventListener("x", () => count++, { signal: AbortSignal.timeout(100), once: true }); return null`);
  assert.equal(timers(), 1);
  run(`target.dispatchEvent(new Event("x")); return null`);
  assert.deepEqual([run("return count"), timers()], [1, 0]);
});

test("structuredClone copies", async () => {
  const host = await evaluating();
  const run = (source) => host.call("run", { source: `(() => { ${source} })()` });
  assert.deepEqual(
    run(`const a = { n: 1, list: [1, , 3], when: new Date(5), map: new Map([["k", { v: 1 }]]), set: new Set([1]), re: /x/g, bytes: new Uint8Array([1, 2, 3]).subarray(1), error: new RangeError("r"), big: 1n, boxed: Object(5) };
      a.self = a; const b = structuredClone(a); a.bytes[0] = 9; a.map.get("k").v = 2;
      return [b !== a, b.self === b, b.list.length, 1 in b.list, b.when.getTime(), b.map.get("k").v, b.set.has(1), String(b.re), [...b.bytes], b.error instanceof RangeError, b.error.message, String(b.big), b.boxed + 1, b.map instanceof Map];`),
    [true, true, 3, false, 5, 1, true, "/x/g", [2, 3], true, "r", "1", 6, true],
  );
  assert.deepEqual(run(`const buffer = new ArrayBuffer(4); const [a, b] = structuredClone([new Uint8Array(buffer), new DataView(buffer, 1, 2)]); return [a.buffer === b.buffer, b.byteOffset, b.byteLength];`), [true, 1, 2]);
  for (const source of ["structuredClone(() => 1)", "structuredClone({ a: Symbol() })", "structuredClone(Promise.resolve())", "structuredClone(1, { transfer: [new ArrayBuffer(1)] })"]) {
    assert.equal(run(`try { ${source}; } catch (e) { return e.name; }`), "DataCloneError", source);
  }
});

test("random numbers are the host's", async () => {
  const host = await FakeHost.plugin(
    'export function run() { return [crypto.randomUUID(), [...crypto.getRandomValues(new Uint16Array(2))]]; } export function wrong(length) { crypto.getRandomValues(length ? new Uint8Array(length) : [1]); }',
    { random: (length) => new Uint8Array(length).fill(0xff) },
  );
  assert.deepEqual(host.call("run"), ["ffffffff-ffff-4fff-bfff-ffffffffffff", [65535, 65535]]);
  assert.match(host.failing("wrong", { length: 65537 }).message, /more than 65536/);
  assert.match(host.failing("wrong", { length: 0 }).message, /array of integers/);
});

test("the clock of performance is the host's", async () => {
  const host = await FakeHost.plugin("export const now = () => [performance.now(), typeof performance.timeOrigin];");
  host.now += 12.5;
  assert.deepEqual(host.call("now"), [12.5, "number"]);
});

test("what cannot be formatted is no failure of what logs it", async () => {
  const host = await evaluating();
  const run = (source) => host.call("run", { source });
  run('console.trace("%i", Symbol("y")); console.log("%i %d %f", Symbol("y"), Symbol("y"), Symbol("y"))');
  run('console.assert(false, "%d", Object.assign(() => 1, { valueOf() { throw new Error("no"); } })); console.time(); console.timeLog("default", "%f", Object.create(null))');
  assert.ok(host.lines("info").includes("NaN NaN NaN"));
});
