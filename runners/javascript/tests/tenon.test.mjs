// What plugins import as `tenon`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost, failure } from "./fake_host.mjs";

test("state keeps JSON and bytes", async () => {
  const host = await FakeHost.plugin(`
    import { state } from "tenon";
    export function set(key, value) { state.set(key, value); }
    export function get(key) { return [state.get(key) === undefined, state.get(key, "none")]; }
    export function bytes() { state.setBytes("b", new Uint16Array([1, 258]).subarray(1)); return [...state.getBytes("b"), state.getBytes("none")]; }
    export function remove(key) { state.delete(key); }
    export function keys(prefix) { return state.keys(prefix).length; }
    export function wrong() { state.set("x", NaN); }
    export function wronger() { state.setBytes("x", "text"); }
    export async function flush() { await state.flush(); return "flushed"; }
  `);
  host.call("set", { key: "k", value: { é: [1, null] } });
  assert.equal(Buffer.from(host.kept.get("k")).toString(), '{"é":[1,null]}');
  assert.deepEqual(host.call("get", { key: "k" }), [false, { é: [1, null] }]);
  host.call("remove", { key: "k" });
  assert.deepEqual(host.call("get", { key: "k" }), [true, "none"]);
  assert.deepEqual(host.call("bytes"), [2, 1, null]);
  for (let at = 0; at < 2500; at++) host.kept.set(`p${at}`, new Uint8Array());
  assert.equal(host.call("keys", { prefix: "p" }), 2500);
  assert.equal(host.failing("wrong").message, "the value of `x` is no JSON: it is NaN");
  assert.equal(host.failing("wronger").message, "the value of `x` must be bytes, not a string");
  assert.equal(host.failing("get", { key: 5 }).message, "a key must be a string, not a number");
  const id = host.begin("flush");
  host.done(host.under("state-flush")[0]);
  assert.deepEqual(host.outcome(id), { result: "flushed" });
});

test("what the host refuses is a Failure with its words and code", async () => {
  const refused = () => failure("permission_denied", "the plugin may not keep state: `mortise deploy grant sensor state` would let it");
  const host = await FakeHost.plugin(
    `
    import { state, emit, invoke, Failure } from "tenon";
    export function keep() { state.set("k", 1); }
    export function told() { try { state.get("k"); } catch (error) { return [error instanceof Failure, error instanceof Error, error.name, error.code, error.retryable]; } }
    export function announce() { emit("measured", { value: 1 }); }
    export async function ask() { return invoke("other"); }
  `,
    { "state-set": refused, "state-get": refused, emit: () => failure("rate_limited", "too many", true) },
  );
  assert.deepEqual(host.failing("keep"), JSON.parse(refused()));
  assert.deepEqual(host.call("told"), [true, true, "Failure", "permission_denied", false]);
  assert.deepEqual(host.failing("announce"), { code: "rate_limited", message: "too many", retryable: true });
  const id = host.begin("ask");
  host.fail(host.under("invoke")[0], "deadline_exceeded", "no answer", true);
  assert.deepEqual(host.outcome(id).failure, { code: "deadline_exceeded", message: "no answer", retryable: true });
});

test("ops are asked for as the host expects them", async () => {
  const host = await FakeHost.plugin(`
    import { invoke, invokeRemote, discover, env, secret } from "tenon";
    export async function all() {
      return Promise.all([invoke("camera.zoom", { by: 2 }, { timeout: "1.5s" }), invokeRemote("door-1", "open", undefined, { timeout: 20 }), discover(), env("STATION"), secret("token")]);
    }
    export async function wrong(how) {
      if (how === "device") await invokeRemote(5, "f");
      if (how === "parameters") await invoke("f", [1]);
      if (how === "timeout") await invoke("f", {}, { timeout: "soon" });
    }
  `);
  const id = host.begin("all");
  const asked = Object.fromEntries([...host.ops.values()].map((op) => [op.json.device ? "remote" : op.kind, op]));
  assert.deepEqual(asked.invoke.json, { device: null, function: "camera.zoom", parameters: '{"by":2}', timeout_ns: 1.5e9, on_behalf_of: id });
  assert.deepEqual(asked.remote.json, { device: "door-1", function: "open", parameters: "{}", timeout_ns: 2e7, on_behalf_of: id });
  assert.deepEqual([asked.env.json, asked.secret.json, asked.discover.json], [{ name: "STATION" }, { name: "token" }, {}]);
  host.done(asked.secret, "s3cret");
  host.done(asked.env, null);
  host.done(asked.discover, [{ device_id: "door-1" }]);
  host.done(asked.remote, { opened: true });
  host.done(asked.invoke, 3);
  assert.deepEqual(host.outcome(id).result, [3, { opened: true }, [{ device_id: "door-1" }], null, "s3cret"]);
  assert.equal(host.failing("wrong", { how: "device" }).message, "a device's id must be a string, not a number");
  assert.equal(host.failing("wrong", { how: "parameters" }).message, "what `f` is called with must be an object, not an array");
  assert.match(host.failing("wrong", { how: "timeout" }).message, /^a timeout is a number of milliseconds or a text with a unit.*"soon"/);
});

test("events, settings, identity and log", async () => {
  const host = await FakeHost.plugin(
    `
    import { config, device, emit, log, caller } from "tenon";
    export function go() {
      emit("measured", { value: 1.5 });
      emit("pinged");
      log.trace("a"); log.debug("b"); log.info("two\\nlines", { n: 1 }); log.warn("%d%%", 5); log.error(new Error("bad").message);
      return [config().unit, device.id, device.tenant, device.plugin, caller()];
    }
    export function wrong(payload) { emit("measured", payload); }
    export function change() { config().unit = "F"; return config().unit; }
  `,
    { settings: { unit: "C" } },
  );
  assert.deepEqual(host.call("go"), ["C", "host-1", "default", "sensor", null]);
  assert.deepEqual(host.events, [{ name: "measured", payload: { value: 1.5 } }, { name: "pinged", payload: {} }]);
  assert.deepEqual(host.logs.map((each) => [each.level, each.message]), [
    ["trace", "a"], ["debug", "b"], ["info", "two"], ["info", "lines { n: 1 }"], ["warn", "5%"], ["error", "bad"],
  ]);
  assert.equal(host.failing("wrong", { payload: [1] }).message, "the payload of event `measured` must be an object, not an array");
  assert.equal(host.call("change"), "C");
});

test("the module is one, wherever it is imported, and says what it has not", async () => {
  const host = await FakeHost.plugin({
    "plugin.js": 'import * as tenon from "tenon"; import { same } from "./lib/other.js"; export function check() { return [same(tenon.Failure), Object.keys(tenon)]; }',
    "lib/other.js": 'import { Failure } from "tenon"; export const same = (other) => other === Failure;',
  });
  const [isSame, names] = host.call("check");
  assert.ok(isSame);
  assert.deepEqual(names, ["Failure", "caller", "config", "device", "discover", "emit", "env", "invoke", "invokeRemote", "log", "secret", "sleep", "state", "thisCall"]);
  await assert.rejects(FakeHost.plugin('import { rpc } from "tenon"; export function f() {}'), (thrown) => {
    assert.equal(thrown.code, "plugin_source");
    assert.match(thrown.message, /^`plugin.js`: SyntaxError: .*'rpc'.*: `tenon` has `device`, `emit`/);
    return true;
  });
});
