// Calls: parameters, outcomes, overlap, cancellation, hooks, routines and events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

const error = (message) => ({ code: "error", message, retryable: false });

test("parameters are given by name, and judged by the signature", async () => {
  const host = await FakeHost.plugin(`
    export const join = (a, b = "x", c = undefined) => [a, b, c ?? "none"].join();
    export function three(a, b, c) {}
    export function open({ city, unit = "C", ...others }) { return [city, unit, others]; }
    export function closed({ city, unit: { name } = { name: "C" } } = {}) { return [city, name]; }
  `);
  assert.equal(host.call("join", { c: 3, a: 1 }), "1,x,3");
  assert.equal(host.call("join", { a: null }), ",x,none");
  assert.deepEqual(host.call("open", { city: "Oslo", more: 1 }), ["Oslo", "C", { more: 1 }]);
  assert.deepEqual(host.call("closed", { city: "Oslo", unit: { name: "F" } }), ["Oslo", "F"]);
  assert.deepEqual(host.failing("join", {}), error("join() missing 1 required positional argument: 'a'"));
  assert.deepEqual(host.failing("join", { a: 1, z: 2 }), error("join() got an unexpected keyword argument 'z'"));
  assert.deepEqual(host.failing("join", JSON.parse('{"a": 1, "__proto__": 2}')), error("join() got an unexpected keyword argument '__proto__'"));
  assert.deepEqual(host.failing("three", { b: 1 }), error("three() missing 2 required positional arguments: 'a' and 'c'"));
  assert.deepEqual(host.failing("three"), error("three() missing 3 required positional arguments: 'a', 'b', and 'c'"));
  assert.deepEqual(host.failing("closed"), error("closed() missing 1 required positional argument: 'city'"));
  assert.deepEqual(host.failing("closed", { city: 1, x: 1 }), error("closed() got an unexpected keyword argument 'x'"));
  assert.deepEqual(host.failing("toString"), { code: "unknown_function", message: "the plugin has no function `toString`", retryable: false });
});

test("results are JSON, and what is none is a failure that says where", async () => {
  const host = await FakeHost.plugin(`
    export function nothing() {}
    export async function value() { return { list: [1, null, "é"], when: new Date(0), left_out: undefined }; }
    export function thenable() { return { then(resolve) { resolve(7); } }; }
    export function not_a_number() { return { list: [{ mean: NaN }] }; }
    export const infinite = () => -Infinity;
    export function cyclic() { const a = {}; a.a = a; return a; }
    export function big() { return 1n; }
    export function action() { return () => 1; }
    export function large() { return "x".repeat(9 << 20); }
    export function failing() { return { toJSON() { throw new RangeError("not today"); } }; }
  `);
  assert.equal(host.call("nothing"), null);
  assert.deepEqual(host.call("value"), { list: [1, null, "é"], when: "1970-01-01T00:00:00.000Z" });
  assert.equal(host.call("thenable"), 7);
  const invalid = (name, message) => assert.deepEqual(host.failing(name), { code: "invalid_result", message, retryable: false });
  invalid("not_a_number", "the result is no JSON: `mean` is NaN");
  invalid("infinite", "the result is no JSON: it is -Infinity");
  invalid("action", "the result is no JSON: it is a function");
  invalid("failing", "the result is no JSON: not today");
  assert.match(host.failing("cyclic").message, /^the result is no JSON: .*circular/i);
  assert.match(host.failing("big").message, /^the result is no JSON: .*bigint/i);
  assert.equal(host.failing("large").code, "result_too_large");
});

test("errors are their text for the caller, and have their stack in the log", async () => {
  const host = await FakeHost.plugin(`
import { Failure } from "tenon";
class Missing extends Failure { constructor(what) { super(what + " is missing", "not_found", true); } }
export function plain() { throw new RangeError("too far"); }
export async function later() { await null; plain(); }
export function coded() { throw new Missing("it"); }
export function silent() { throw new TypeError(); }
export function text() { throw "just text"; }
export function thing() { throw { a: 1 }; }
export function nothing() { throw undefined; }
export function caused() { throw new Error("outer", { cause: new Error("inner") }); }
export function liar() { throw new Proxy(new Error("x"), { get() { throw new Error("trap"); } }); }
export function wrong() { throw new Failure("text", 5); }
`);
  assert.deepEqual(host.failing("plain"), error("too far"));
  assert.deepEqual(host.lines("error"), ["function `plain` failed", "RangeError: too far", "    at plain (plugin.js:4:37)"]);
  host.logs.length = 0;
  assert.deepEqual(host.failing("later"), error("too far"));
  assert.deepEqual(host.lines("error").slice(0, 4), ["function `later` failed", "RangeError: too far", "    at plain (plugin.js:4:37)", "    at later (plugin.js:5:45)"]);
  assert.deepEqual(host.failing("coded"), { code: "not_found", message: "it is missing", retryable: true });
  assert.deepEqual(host.failing("silent"), error("TypeError"));
  assert.deepEqual(host.failing("text"), error("just text"));
  assert.deepEqual(host.failing("thing"), error("{ a: 1 }"));
  assert.deepEqual(host.failing("nothing"), error("undefined"));
  host.logs.length = 0;
  host.failing("caused");
  assert.ok(host.lines("error").some((line) => line.startsWith("  caused by Error: inner")), host.lines("error").join("\n"));
  assert.deepEqual(host.failing("liar"), error("an error that cannot be looked at"));
  assert.match(host.failing("wrong").message, /new Failure\(message, code, retryable\)/);
});

test("calls overlap where they wait", async () => {
  const host = await FakeHost.plugin(`
    import { sleep } from "tenon";
    export async function wait(ms) { await sleep(ms); return ms; }
  `);
  const calls = Array.from({ length: 20 }, (_, at) => host.begin("wait", { ms: 1000 - at }));
  assert.equal(host.under("sleep").length, 1, "one op for all timers");
  host.pass(990);
  assert.equal(calls.filter((id) => host.outcome(id)).length, 10);
  host.pass(10);
  assert.deepEqual(calls.map((id) => host.outcome(id).result), Array.from({ length: 20 }, (_, at) => 1000 - at));
  assert.equal(host.ops.size, 0);
});

test("a cancelled call is not answered, and what it began goes on for others that wait for it", async () => {
  const host = await FakeHost.plugin(`
    import { sleep, invoke, log } from "tenon";
    let slow, two;
    export async function ask() { slow ??= invoke("slow"); return await slow; }
    export async function steps() { two ??= (async () => { await sleep(10); return await invoke("last"); })(); return await two; }
    export async function wait() { await sleep("1s"); log.info("left"); throw new Error("unheard"); }
  `);
  const calls = ["ask", "ask", "steps", "steps", "wait"].map((name) => host.begin(name));
  for (const id of [calls[0], calls[2], calls[4]]) host.cancel(id);
  assert.deepEqual(host.cancelled, []);
  host.done(host.under("invoke")[0], "shared");
  host.pass(10);
  const [last] = host.under("invoke");
  assert.deepEqual([last.json.function, last.json.on_behalf_of], ["last", null], "the host knows the cancelled call no more");
  host.done(last, "both");
  host.pass(1000);
  assert.deepEqual(calls.map((id) => host.outcome(id)), [undefined, { result: "shared" }, undefined, { result: "both" }, undefined]);
  assert.equal(host.call("ask"), "shared");
  assert.deepEqual([host.lines("info"), host.lines("error")], [["left"], []], "a cancelled call is no error");
  host.cancel(999);
  host.cancel(calls[1]);
});

test("what runs for a call says so where that is certain, and never names another", async () => {
  const host = await FakeHost.plugin(`
    import { caller, invoke, sleep } from "tenon";
    let tail = Promise.resolve(), shared;
    export async function ask() { await sleep(10); await invoke("a"); return caller(); }
    export function locked() { const before = caller(); tail = tail.then(async () => { const own = caller(); await sleep(10); return [before, own]; }); return tail; }
    export async function same() { shared ??= sleep(10); await shared; return caller(); }
    export function leave() { setTimeout(() => invoke("late").catch(() => {}), 10); }
  `);
  const alone = host.begin("ask", {}, { caller: "one" });
  host.pass(10);
  assert.equal(host.under("invoke")[0].json.on_behalf_of, alone);
  host.done(host.under("invoke")[0], 1);
  assert.equal(host.outcome(alone).result, "one");
  const both = (name) => ["one", "two"].map((caller) => host.begin(name, {}, { caller }));
  const ask = both("ask");
  host.pass(10);
  const asked = host.under("invoke");
  assert.deepEqual(asked.map((op) => op.json.on_behalf_of), [null, null]);
  for (const op of asked) host.done(op, 1);
  assert.deepEqual(ask.map((id) => host.outcome(id).result), [null, null]);
  const locked = both("locked");
  host.pass(20);
  assert.deepEqual(locked.map((id) => host.outcome(id).result), [["one", "one"], ["two", "two"]]);
  const same = both("same");
  host.cancel(same[0]);
  host.pass(10);
  assert.equal(host.outcome(same[1]).result, null);
  host.call("leave");
  host.pass(10);
  assert.equal(host.under("invoke")[0].json.on_behalf_of, null);
});

test("what is kept of a call before it waits says so afterwards, whatever else is open", async () => {
  const host = await FakeHost.plugin(`
    import { caller, invoke, sleep, thisCall } from "tenon";
    let shared;
    export async function ask() {
      const own = thisCall();
      shared ??= sleep(10);
      await shared;
      const asked = await own(() => invoke("a"));
      return [caller(), own(caller), own(() => own(caller)), asked];
    }
    export async function late() { const own = thisCall(); await sleep(10); await own(() => invoke("b")); }
    export function wrong() { thisCall()(5); }
  `);
  const [one, two] = ["one", "two"].map((caller) => host.begin("ask", {}, { caller }));
  host.pass(10);
  const asked = host.under("invoke");
  assert.deepEqual(asked.map((op) => op.json.on_behalf_of), [one, two]);
  host.done(asked[1], "second");
  host.done(asked[0], "first");
  assert.deepEqual(host.outcome(two).result, [null, "two", "two", "second"]);
  assert.deepEqual(host.outcome(one).result, ["one", "one", "one", "first"], "by then it is alone");
  const late = host.begin("late");
  host.cancel(late);
  host.pass(10);
  assert.equal(host.under("invoke")[0].json.on_behalf_of, null, "its caller has been answered");
  assert.match(host.failing("wrong").message, /must be a function, not a number/);
});

test("hooks are called, and may be left out", async () => {
  const host = await FakeHost.plugin(`
    import { log, sleep } from "tenon";
    export async function start() { await sleep(1); log.info("start"); }
    export function stop() { throw new Error("will not"); }
    export function selfTest() { log.info("test"); return 5; }
    export function migrate(from, to) { log.info(from, to); }
  `);
  assert.deepEqual(host.description.functions, []);
  const id = host.begin("", {}, { kind: "start" });
  host.pass(1);
  assert.deepEqual(host.outcome(id), { result: null });
  assert.equal(host.failing("", {}, { kind: "stop" }).message, "will not");
  assert.equal(host.call("", {}, { kind: "self-test" }), null);
  assert.equal(host.call("", { from: "1", to: "2" }, { kind: "migrate" }), null);
  assert.deepEqual(host.lines("info"), ["start", "test", "1 2"]);

  const bare = await FakeHost.plugin("export function f() {}");
  for (const kind of ["start", "stop", "self-test"]) assert.equal(bare.call("", {}, { kind }), null);
  assert.deepEqual(bare.failing("", { from: "", to: "1" }, { kind: "migrate" }), { code: "unknown_function", message: "the plugin has no `migrate`", retryable: false });
  assert.deepEqual(bare.logs, []);
});

test("routines and handlers of events are entered, and are no functions", async () => {
  const host = await FakeHost.plugin(`
    import { log } from "tenon";
    export function poll() { log.info("tick"); }
    export function on_motion(event) { log.info(JSON.stringify(event)); }
    export function on_all({ event }) { if (event === "bad") throw new Error("first"); }
    export function on_moved({ event }) { log.info("moved of", event); }
    export function on_bad() { throw new Error("second"); }
    export const routines = { poll: { every: "10s" } };
    export const subscriptions = { on_motion: { device: "camera-*", event: "motion" }, on_all: {}, on_moved: { event: "moved" }, on_bad: { event: "b*d" } };
  `);
  assert.deepEqual(host.description.functions, []);
  assert.deepEqual(host.described(), host.description, "asked twice, it is the same, and nothing is called twice");
  assert.equal(host.call("poll", {}, { kind: "routine" }), null);
  assert.equal(host.call("motion", { zone: 1 }, { kind: "event", caller: "camera-7" }), null);
  assert.equal(host.call("motion", { zone: 2 }, { kind: "event", caller: "door" }), null);
  assert.equal(host.call("event/moved", {}, { kind: "event", caller: "camera-7" }), null);
  assert.ok(host.lines("info").includes("moved of event/moved"));
  host.logs = host.logs.filter((each) => !each.message.startsWith("moved"));
  assert.deepEqual(host.lines("info"), ["tick", '{"device":"camera-7","event":"motion","payload":{"zone":1}}']);
  assert.equal(host.failing("bad", {}, { kind: "event", caller: "door" }).message, "handlers of `bad` failed");
  for (const name of ["bat", "ad", "d", "motions"]) assert.equal(host.call(name, {}, { kind: "event", caller: "camera-7" }), null, name);
  assert.equal(host.failing("b and d", {}, { kind: "event" }).message, "second");
  assert.equal(host.failing("poll").code, "unknown_function");
  assert.equal(host.failing("other", {}, { kind: "routine" }).code, "unknown_function");
});

test("rejections that nobody handles go to the log", async () => {
  const host = await FakeHost.plugin(`
    export function lose() { Promise.reject(new Error("lost")); Promise.reject(new Error("caught")).catch(() => {}); }
    export async function late() { const failed = Promise.reject(new Error("awaited")); await null; try { await failed; } catch {} }
  `);
  host.call("lose");
  host.call("late");
  assert.deepEqual(host.lines("error").slice(0, 2), ["a promise was rejected, and nobody handled that", "Error: lost"]);
  assert.ok(!host.lines("error").some((line) => /caught|awaited/.test(line)), host.lines("error").join("\n"));
});

test("a sleep that the host refuses is asked for again at the next entry, and not at once", async () => {
  const host = await FakeHost.plugin("let fired = 0; export function begin() { setTimeout(() => fired++, 50); } export const count = () => fired;");
  host.call("begin");
  host.fail(host.under("sleep")[0], "too_many_operations", "too many");
  assert.deepEqual(host.under("sleep"), []);
  assert.equal(host.call("count"), 0);
  host.pass(50);
  assert.equal(host.call("count"), 1);
});

test("what crosses is measured in bytes", async () => {
  const host = await FakeHost.plugin(`
    import { emit, invoke } from "tenon";
    export function result(count) { return "€".repeat(count); }
    export function event(count) { emit("e", { text: "€".repeat(count) }); }
    export async function ask(count) { await invoke("f", { text: "€".repeat(count) }); }
  `);
  assert.equal(host.failing("result", { count: 3e6 }).code, "result_too_large");
  assert.equal(host.failing("event", { count: 3e6 }).code, "event_too_large");
  assert.equal(host.failing("ask", { count: 3e6 }).code, "params_too_large");
  assert.equal(host.call("result", { count: 2.7e6 }).length, 2.7e6);
});
