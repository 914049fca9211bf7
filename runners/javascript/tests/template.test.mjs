// The template that `mortise new --language javascript` renders, and the example of the reference page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

const file = (name) => readFileSync(new URL(`../../../templates/javascript/${name}`, import.meta.url), "utf8");

test("the template is a plugin that does what its README says", async () => {
  assert.equal(JSON.parse(file("manifest.json")).entry_point, "plugin.js");
  const host = await FakeHost.plugin(file("plugin.js"));
  const { functions, events, routines } = host.description;
  assert.deepEqual(functions.map((each) => [each.name, each.description, each.parameters.required]), [
    ["get_service_status", "Returns the status of the service.", []],
    ["run_action", "Runs an action.", ["action"]],
  ]);
  assert.deepEqual(functions[1].parameters.properties, {
    action: { type: "string", description: "What to do." },
    params: { type: "object", description: "Anything the action needs.", default: {} },
  });
  assert.deepEqual([events.map((each) => each.name), routines], [["action_done"], [{ name: "report", interval_ns: 6e10, cadence: "fixed-rate" }]]);
  assert.deepEqual(host.call("run_action", { action: "open" }), { action: "open", params: {}, done: true });
  assert.deepEqual(host.events, [{ name: "action_done", payload: { action: "open", actions: 1 } }]);
  assert.deepEqual(host.call("get_service_status"), { status: "ok", actions: 1 });
  assert.equal(host.failing("run_action", { action: "" }).code, "invalid_action");
  host.call("report", {}, { kind: "routine" });
  assert.equal(host.lines("info").at(-1), "1 actions so far");
});

test("the example of the reference page is a plugin", async () => {
  const page = readFileSync(new URL("../../../docs/reference/javascript.md", import.meta.url), "utf8");
  const host = await FakeHost.plugin(/```js\n([^]*?)```/.exec(page)[1], { settings: { unit: "C" } });
  const call = host.begin("read", { sensor: "roof" });
  const [request] = host.under("http");
  assert.equal(request.json.url, "https://api.example.com/roof");
  host.respond(request, 200, [], '{"value": 61}');
  assert.deepEqual(host.outcome(call), { result: { value: 61, unit: "C" } });
  assert.deepEqual(host.events, [{ name: "too_hot", payload: { sensor: "roof", value: 61 } }]);
  const failed = host.begin("read");
  host.respond(host.under("http")[0], 503, []);
  assert.deepEqual(host.outcome(failed).failure, { code: "http_status", message: "the sensor answered 503", retryable: true });
});
