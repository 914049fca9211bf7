// The files of the boot set, and what it leaves behind.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { BOOT, FakeHost } from "./fake_host.mjs";

test("the list has every file of the boot set", () => {
  assert.deepEqual([...BOOT].sort(), readdirSync(new URL("../boot", import.meta.url)).sort());
});

test("nothing of the boot set is on the global object but what programs know", async () => {
  const host = await FakeHost.plugin("export function names() { return [Object.getOwnPropertyNames(globalThis), Object.keys(globalThis), typeof __host, typeof __guest, typeof __tenon]; }");
  const [names, visible, ...hidden] = host.call("names");
  const added = ["console", "TextEncoder", "TextDecoder", "setTimeout", "setInterval", "clearTimeout", "clearInterval", "Event", "EventTarget", "AbortSignal", "AbortController",
    "URL", "URLSearchParams", "Headers", "Request", "Response", "fetch", "structuredClone", "crypto"];
  for (const name of added) assert.ok(names.includes(name), name);
  assert.deepEqual(visible, []);
  assert.deepEqual(hidden, ["undefined", "undefined", "undefined"]);
  assert.deepEqual(names.filter((name) => name.startsWith("_") || /Prototype|primordial/i.test(name)), []);
});
