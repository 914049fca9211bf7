// A host that a test plays: it has the boot set on the real QuickJS, answers what it asks, and keeps time by hand.

import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.env.MORTISE_QUICKJS;
if (!folder) throw new Error("set MORTISE_QUICKJS to the unpacked npm package quickjs-wasi; `cargo xtask test runners` does");
const { QuickJS } = await import(pathToFileURL(join(folder, "dist/index.js")));
const wasm = await WebAssembly.compile(readFileSync(join(folder, "quickjs.wasm")));

const runner = new URL("../", import.meta.url);

/** The files of the boot set, in order. */
export const BOOT = readFileSync(new URL("boot.txt", runner), "utf8").trim().split("\n");
export const bootSource = `(() => {"use strict";${BOOT.map((name) => readFileSync(new URL(`boot/${name}`, runner), "utf8")).join("\n")}})()`;
const tenonSource = readFileSync(new URL("tenon.js", runner), "utf8");

export const failure = (code, message, retryable = false) => JSON.stringify({ code, message, retryable });

const KINDS = ["function", "routine", "event", "start", "stop", "self-test", "migrate"];
const OP_KINDS = ["done", "json", "http", "failure"];
const [ID, KIND, OUTCOME, OUTCOMES_LEFT] = [0, 1, 2, 3];
const [DONE, PROMISED] = [1, 2];

export class FakeHost {
  #cells;

  /** A plugin's instance with these modules; nothing of it is loaded. `answers` has what the host answers, by its name. */
  static async open(files = {}, answers = {}) {
    const host = new FakeHost();
    host.files = typeof files === "string" ? { "plugin.js": files } : files;
    host.answers = answers;
    host.logs = [];
    host.events = [];
    host.kept = new Map();
    /** Ops under way, by id. */
    host.ops = new Map();
    host.cancelled = [];
    host.completed = new Map();
    host.unhandled = new Map();
    host.now = 1000;
    host.lastCall = 0;
    host.vm = await QuickJS.create({
      wasm,
      timezoneOffset: 0,
      maxStackSize: 128 << 10,
      moduleLoader: { normalize: normalized, load: (name) => host.#module(name) },
      onUnhandledRejection: (promise, reason, handled) => {
        // The promise is kept as well: what was freed lends its identity to the next.
        if (handled) host.unhandled.delete(promise.identity);
        else host.unhandled.set(promise.identity, { promise: promise.dup(), reason: reason.dup() });
      },
    });
    const { vm } = host;
    const raw = vm.newFunction("__host", (name, ...args) => host.#toGuest(host.#asked(name.toString(), args.map((each) => host.#toHost(each)))));
    vm.setProp(vm.global, "__host", raw);
    host.#cells = vm.evalCode("globalThis.__cells = new Uint8Array(32); new Float64Array(__cells.buffer)");
    vm.evalCode(bootSource, "<boot>").dispose();
    host.guest = vm.global.getProp("__guest");
    vm.evalCode("delete globalThis.__guest").dispose();
    return host;
  }

  /** The same with the plugin loaded and described, or a failure thrown. */
  static async plugin(files, answers) {
    const host = await FakeHost.open(files, answers);
    host.enter("load", "plugin.js");
    host.description = host.described();
    return host;
  }

  described() {
    const told = this.enter("describe");
    if (told.startsWith("-")) throw Object.assign(new Error(JSON.parse(told.slice(1)).message), JSON.parse(told.slice(1)));
    return JSON.parse(told.slice(1));
  }

  /** Enters the guest and runs all jobs, as the host does in one turn. */
  enter(name, ...args) {
    const told = this.#toHost(this.#ask(name, ...args.map((each) => this.#toGuest(each))));
    this.#settle();
    return told;
  }

  /** Begins a call and gives its id. */
  begin(name, parameters = {}, { kind = "function", caller = null } = {}) {
    const id = ++this.lastCall;
    this.#cell(ID, id);
    this.#cell(KIND, KINDS.indexOf(kind));
    const given = this.#ask("call", ...[name, caller, JSON.stringify(parameters)].map((each) => this.#toGuest(each)));
    if (this.#cell(OUTCOME) !== PROMISED) this.#conclude(id, given);
    else if (given.promiseState === 1) this.#conclude(id, this.#ask("settle", this.#resultOf(given)));
    else this.#ask("wait", given);
    this.#settle();
    return id;
  }

  #ask(name, ...args) {
    return this.vm.callFunction(this.guest.getProp(name), this.vm.undefined, ...args);
  }

  #settle() {
    this.vm.executePendingJobs();
    while (this.#cell(OUTCOMES_LEFT) > 0) {
      const text = this.#ask("takeOutcome");
      this.#conclude(this.#cell(ID), text);
    }
    const left = [...this.unhandled.values()];
    this.unhandled.clear();
    for (const { reason } of left) this.#ask("rejected", reason);
  }

  #conclude(id, text) {
    if (this.completed.has(id)) throw new Error(`call ${id} completed twice`);
    const told = JSON.parse(text.toString());
    this.completed.set(id, this.#cell(OUTCOME) === DONE ? { result: told } : { failure: told });
  }

  /** A number that crosses where it lies in memory; written where there is a value. */
  #cell(at, value) {
    if (value !== undefined) this.#cells.setProp(`${at}`, this.vm.newNumber(value));
    return this.#cells.getProp(`${at}`).toNumber();
  }

  /** What a promise was kept with. */
  #resultOf(promise) {
    return new promise.constructor(this.vm, this.vm._getExports().qjs_promise_result(promise.ptr));
  }

  /** How a call ended: `{ result }`, `{ failure }`, or undefined where it has not. */
  outcome(id) {
    return this.completed.get(id);
  }

  /** The result of a call that need not wait. */
  call(name, parameters, options) {
    const outcome = this.outcome(this.begin(name, parameters, options));
    if (outcome === undefined) throw new Error(`\`${name}\` waits`);
    if (outcome.failure) throw Object.assign(new Error(outcome.failure.message), outcome.failure);
    return outcome.result;
  }

  /** The failure of a call that need not wait. */
  failing(name, parameters, options) {
    const outcome = this.outcome(this.begin(name, parameters, options));
    if (!outcome?.failure) throw new Error(`\`${name}\` did not fail: ${JSON.stringify(outcome)}`);
    return outcome.failure;
  }

  /** The ops of a kind under way: `{ id, kind, json, body }`. */
  under(kind) {
    return [...this.ops.values()].filter((op) => op.kind === kind);
  }

  /** Ends an op with JSON, or with nothing. */
  done(op, value) {
    if (value === undefined) this.#deliver(op, "done", "");
    else this.#deliver(op, "json", JSON.stringify(value));
  }

  respond(op, status, headers, body = "") {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    this.#deliver(op, "http", JSON.stringify({ status, headers }), bytes);
  }

  fail(op, code, message, retryable) {
    this.#deliver(op, "failure", failure(code, message, retryable));
  }

  #deliver(op, kind, ...outcome) {
    this.ops.delete(op.id);
    this.#cell(ID, op.id);
    this.#cell(KIND, OP_KINDS.indexOf(kind));
    this.enter("deliver", ...outcome);
  }

  /** Tells the guest that the caller has been answered. */
  cancel(id) {
    this.#cell(ID, id);
    this.enter("cancel");
  }

  /** Lets time pass, and wakes each sleep when it is over. */
  pass(milliseconds) {
    const until = this.now + milliseconds;
    for (;;) {
      const next = this.under("sleep").sort((a, b) => a.until - b.until)[0];
      if (next === undefined || next.until > until) break;
      this.now = Math.max(this.now, next.until);
      this.done(next);
    }
    this.now = until;
  }

  /** The lines of the log at a level. */
  lines(level) {
    return this.logs.filter((each) => each.level === level).map((each) => each.message);
  }

  #asked(name, args) {
    if (this.answers[name]) return this.answers[name](...args);
    switch (name) {
      case "log":
        return void this.logs.push({ level: args[0], target: args[1], message: args[2] });
      case "emit":
        return void this.events.push({ name: args[0], payload: JSON.parse(args[1]) });
      case "config":
        return JSON.stringify(this.answers.settings ?? {});
      case "identity":
        return JSON.stringify({ plugin: "sensor", device: "host-1", tenant: "default" });
      case "monotonic":
        return this.now;
      case "random":
        return crypto.getRandomValues(new Uint8Array(args[0]));
      case "state-get":
        return this.kept.get(args[0]) ?? null;
      case "state-set":
        return void this.kept.set(args[0], args[1]);
      case "state-delete":
        return void this.kept.delete(args[0]);
      case "state-keys": {
        const keys = [...this.kept.keys()].sort().filter((key) => key.startsWith(args[0]) && (args[1] === null || key > args[1]));
        return JSON.stringify(keys.slice(0, args[2]));
      }
      case "start-op": {
        const [id, kind, json, body] = args;
        if (this.ops.has(id)) throw new Error(`op ${id} is under way`);
        const parameters = JSON.parse(json);
        return void this.ops.set(id, { id, kind, json: parameters, body, until: this.now + (parameters.ns ?? 0) / 1e6 });
      }
      case "cancel-op":
        this.cancelled.push(args[0]);
        return void this.ops.delete(args[0]);
      case "source":
        return this.files[args[0]] ?? null;
      default:
        throw new Error(`the host has no \`${name}\``);
    }
  }

  #module(name) {
    if (name === "tenon") return tenonSource;
    if (name === "<plugin>") return 'import * as plugin from "./plugin.js"; export { plugin };';
    if (this.files[name] === undefined) throw new Error(`there is no \`${name}\` in the plugin's folder`);
    return this.files[name];
  }

  #toHost(handle) {
    if (handle.isUndefined) return undefined;
    if (handle.isNull) return null;
    if (handle.isNumber) return handle.toNumber();
    if (handle.isString) return handle.toString();
    return handle.toUint8Array();
  }

  #toGuest(value) {
    if (value === undefined) return this.vm.undefined;
    if (value === null) return this.vm.null;
    if (typeof value === "number") return this.vm.newNumber(value);
    if (typeof value === "string") return this.vm.newString(value);
    return this.vm.newUint8Array(value);
  }
}

function normalized(from, specifier) {
  if (specifier === "tenon" || specifier === "<plugin>") return specifier;
  if (!specifier.startsWith("./") && !specifier.startsWith("../")) throw new Error(`\`${from}\` imports \`${specifier}\``);
  return posix.join(posix.dirname(from), specifier);
}
