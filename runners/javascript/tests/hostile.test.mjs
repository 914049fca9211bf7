// Plugins that change the language under the runner: they change it for themselves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

const HOSTILE = `
  const kept = { URL: 1, TextDecoder: 1, TextEncoder: 1, structuredClone: 1, crypto: 1, fetch: 1, setTimeout: 1, console: 1, Error: 1 };
  const broken = () => { throw new Error("patched"); };
  const { ownKeys } = Reflect;
  const { defineProperty, getPrototypeOf } = Object;
  const prototypes = [Array, String, Map, Set, Promise, RegExp, Function, Number, Date, Uint8Array, getPrototypeOf(Uint8Array)];
  const methods = [getPrototypeOf([][Symbol.iterator]()), getPrototypeOf(new Map().entries()), JSON, Math, Reflect, Promise, Array, Number, String, ArrayBuffer];
  const names = ownKeys(globalThis);
  for (let at = prototypes.length - 1; at >= 0; at--) methods[methods.length] = prototypes[at].prototype;
  for (let at = methods.length - 1; at >= 0; at--) {
    const keys = ownKeys(methods[at]);
    for (let each = 0; each < keys.length; each++) {
      if (keys[each] === "constructor" || keys[each] === "prototype") continue;
      // The engine itself asks for it once a module is evaluated: such a plugin is never loaded.
      if (keys[each] === Symbol.species) continue;
      try { defineProperty(methods[at], keys[each], { value: broken, configurable: true, writable: true }); } catch {}
    }
  }
  for (let at = 0; at < names.length; at++) {
    // What the plugin's own code below asks for.
    if (names[at] !== "globalThis" && !kept[names[at]]) try { globalThis[names[at]] = broken; } catch {}
  }
`;

test("a plugin that breaks every prototype and global is loaded, described, called and answered all the same", async () => {
  const host = await FakeHost.plugin(`
import { emit, log, state, sleep, invoke, caller, device, Failure, config } from "tenon";
/**
 * Adds.
 * @param {number} a One.
 * @param {"x"|'y'} [b="x"] Another.
 */
export function add(a, b = "x") { return { sum: a + 1, b }; }
export async function wait() { await sleep(10); return await invoke("other", { a: 1 }); }
export function all() { emit("e", { a: 1 }); log.info("said %s", "so", { a: [1] }, new Error("shown")); state.set("k", { a: 1 }); console.log([1, { b: 2 }]); return { caller: caller(), device: device.id, kept: state.get("k"), unit: config() }; }
export function fail() { throw new Failure("no", "nope"); }
export async function ask() { const answer = await fetch("https://a/?q=1", { headers: { a: "b" } }); return [answer.status, await answer.json()]; }
export function take() { const url = new URL("../x?a=1#b", "https://ä.example/y/z"); return [url.href, url.searchParams.get("a"), new TextDecoder().decode(new TextEncoder().encode("é")), structuredClone({ a: 1 }).a, crypto.randomUUID().length]; }
export function later() { setTimeout(() => emit("late"), 5); }
export const routines = { tick: { every: "1s" } };
export function tick() {}
export const labels = { add: { kind: ["a"] } };
${HOSTILE}
`);
  assert.deepEqual(host.description.functions.find((each) => each.name === "add"), {
    name: "add", description: "Adds.", labels: { kind: ["a"] }, tags: [],
    parameters: { type: "object", properties: { a: { type: "number", description: "One." }, b: { type: "string", enum: ["x", "y"], description: "Another.", default: "x" } }, required: ["a"] },
  });
  assert.deepEqual(host.call("add", { a: 1 }), { sum: 2, b: "x" });
  assert.equal(host.failing("add").message, "add() missing 1 required positional argument: 'a'");
  assert.deepEqual(host.call("all", {}, { caller: "me" }), { caller: "me", device: "host-1", kept: { a: 1 }, unit: {} });
  assert.deepEqual(host.failing("fail"), { code: "nope", message: "no", retryable: false });
  const wait = host.begin("wait");
  host.pass(10);
  host.done(host.under("invoke")[0], 5);
  assert.deepEqual(host.outcome(wait), { result: 5 });
  const ask = host.begin("ask");
  host.respond(host.under("http")[0], 200, [["a", "b"]], "[1]");
  assert.deepEqual(host.outcome(ask), { result: [200, [1]] });
  assert.deepEqual(host.call("take"), ["https://xn--4ca.example/x?a=1#b", "1", "é", 1, 36]);
  host.call("later");
  host.pass(5);
  assert.equal(host.described().functions.length, host.description.functions.length);
  assert.deepEqual(host.events.map((each) => each.name), ["e", "late"]);
  assert.ok(host.lines("info").includes("said so { a: [ 1 ] } Error: shown"), host.lines("info").join("\n"));
  host.cancel(12345);
});

test("own accessors on the prototypes of objects and arrays do not reach what crosses", async () => {
  const host = await FakeHost.plugin(`
    import { discover, invoke, sleep } from "tenon";
    export async function ask() { return invoke("f", { a: 1 }); }
    export async function wait() { await Promise.all([discover(), sleep(5)]); }
    export function fail() { throw new Error("as it is"); }
    export async function get() { await fetch("http://a.test/", { headers: { "x-a": "1" } }); }
    Object.prototype.toJSON = () => "stolen";
    Array.prototype.toJSON = () => "stolen";
    Object.prototype.timeout_ns = 5;
    Object.prototype.description = 6;
    Object.defineProperty(Object.prototype, "get", { get() { throw new Error("asked"); }, configurable: true });
  `);
  const id = host.begin("ask");
  const [op] = host.under("invoke");
  assert.equal(op.json.timeout_ns, null);
  assert.equal(op.json.function, "f");
  assert.equal(op.json.parameters, '"stolen"', "its own parameters are its own affair");
  host.done(op, 1);
  assert.deepEqual(host.outcome(id), { result: 1 });
  host.begin("wait");
  assert.deepEqual([host.under("discover")[0].json, host.under("sleep")[0].json], [{}, { ns: 5e6 }]);
  host.begin("get");
  assert.deepEqual(host.under("http")[0].json.headers.find(([name]) => name === "x-a"), ["x-a", "1"]);
  assert.equal(host.failing("fail").message, "as it is");
});

test("promises are waited for without their `then`", async () => {
  const host = await FakeHost.plugin(`
    import { sleep } from "tenon";
    export async function now() { return { a: 1 }; }
    export async function later() { await sleep(5); return { a: 2 }; }
    export async function fail() { throw new Error("as it is"); }
    export function thenable() { return { then(resolve) { resolve(3); } }; }
    delete Promise.prototype.then;
  `);
  assert.deepEqual(host.call("now"), { a: 1 });
  const later = host.begin("later");
  host.pass(5);
  assert.deepEqual(host.outcome(later), { result: { a: 2 } });
  assert.equal(host.failing("fail").message, "as it is");
  assert.equal(host.call("thenable"), 3);
});

test("results and errors that fight back end as failures", async () => {
  const host = await FakeHost.plugin(`
    export function getter() { return { get a() { throw new Error("in the getter"); } }; }
    export function trap() { return new Proxy({}, { ownKeys() { throw new Error("in the trap"); } }); }
    export function thenable() { return { get then() { throw new Error("in then"); } }; }
    export function error() { throw { get message() { throw 1; }, get name() { throw 2; } }; }
    export function toString() { throw Object.create(null); }
    export function many() { throw new AggregateError(Array.from({ length: 1e4 }, () => new Error("x")), "many"); }
    export function deep() { return (function f() { return f(); })(); }
    export function alive() { return true; }
  `);
  assert.equal(host.failing("getter").message, "the result is no JSON: in the getter");
  assert.equal(host.failing("trap").message, "the result is no JSON: in the trap");
  assert.equal(host.failing("thenable").message, "in then");
  for (const name of ["error", "toString", "many", "deep"]) assert.equal(typeof host.failing(name).message, "string", name);
  assert.equal(host.call("alive"), true);
});

test("a plugin cannot reach the host past the runner", async () => {
  const host = await FakeHost.plugin(`
    import * as tenon from "tenon";
    export async function reach() {
      const found = [];
      for (const name of ["__host", "__guest", "__tenon", "host"]) found.push(typeof globalThis[name]);
      found.push(typeof (0, eval)("typeof host === 'undefined' ? undefined : host"));
      found.push(typeof new Function("return globalThis.__host")());
      try { tenon.log.info = 1; } catch { found.push("frozen"); }
      return found;
    }
    export async function again() { return Object.keys(await import("tenon")).length; }
  `);
  assert.deepEqual(host.call("reach"), ["undefined", "undefined", "undefined", "undefined", "undefined", "undefined", "frozen"]);
  assert.equal(host.call("again"), 14);
});
