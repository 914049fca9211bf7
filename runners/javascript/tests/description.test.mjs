// What a plugin's exports bring: schemas from signatures and comments, declarations, and what is refused while it is loaded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeHost } from "./fake_host.mjs";

async function schemas(source) {
  const host = await FakeHost.plugin(source);
  return Object.fromEntries(host.description.functions.map((each) => [each.name, each.parameters]));
}

/** The schema of the parameter `x`, of a type. */
async function typed(type) {
  const { f } = await schemas(`/** @param {${type}} x */\nexport function f(x) {}`);
  return f.properties.x;
}

async function refusal(files) {
  try {
    await FakeHost.plugin(files);
  } catch (error) {
    assert.equal(error.code, "plugin_source", error.stack);
    return error.message;
  }
  throw new Error("the plugin was loaded");
}

test("types of comments make schemas", async () => {
  const string = { type: "string" };
  const number = { type: "number" };
  const cases = {
    string, number, integer: { type: "integer" }, int: { type: "integer" }, boolean: { type: "boolean" }, Object: { type: "object" },
    "string[]": { type: "array", items: string },
    "Array<number>": { type: "array", items: number },
    "Array.<number[]>": { type: "array", items: { type: "array", items: number } },
    Array: { type: "array" },
    "Record<string, number>": { type: "object", additionalProperties: number },
    "{ city: string, days?: number[] }": { type: "object", properties: { city: string, days: { type: "array", items: number } }, required: ["city"] },
    "string|null": { anyOf: [string, { type: "null" }] },
    "?string": { anyOf: [string, { type: "null" }] },
    "string|number": { anyOf: [string, number] },
    "(string|number)[]": { type: "array", items: { anyOf: [string, number] } },
    '"C"|"F"': { type: "string", enum: ["C", "F"] },
    "'a' | 'b}' | null": { anyOf: [{ type: "string", enum: ["a", "b}"] }, { type: "null" }] },
    "1|2.5": { type: "number", enum: [1, 2.5] },
    "*": {}, any: {}, "string|any": {}, Date: {}, "!number": number, "string=": string,
  };
  for (const [type, expected] of Object.entries(cases)) assert.deepEqual(await typed(type), expected, type);
});

test("a type that JSON does not have is told in the log, and callers are told nothing of it", async () => {
  const host = await FakeHost.plugin("/** @param {Promise<Foo>} x */\nexport function f(x) {}");
  assert.deepEqual(host.lines("warn"), ["`plugin.js`, line 2: callers are not told what `x` of `f` is: `Promise` is no type that JSON has"]);
});

test("descriptions, defaults and what is required", async () => {
  const host = await FakeHost.plugin(`
/**
 * Reads a sensor,
 * over two lines.
 *
 * A second paragraph with {@link braces} and user@host.
 * @param {string} [name="inside"] Which one,
 *   told over two lines.
 * @param {number} limit - The most.
 * @param {string} [unit]
 * @returns {Promise<{value: number}>} the value
 * @param {Object} deep Not the last.
 */
export async function read(name = "inside", limit, unit, deep = { a: [1, -2.5, 'x', null, true] }, /* , */ when = new Date(), count = 3, on = false, quiet = \`a\`) {}
/** Kept. */
export const arrow = async x => x;
// no comment
export function bare(a, b = -1, c = [], d = null) {}
/** @description By its tag.  @param {string} a With me@param here. @returns {string} */
export const made = function named(a) {};
`);
  const found = Object.fromEntries(host.description.functions.map((each) => [each.name, each]));
  assert.equal(found.read.description, "Reads a sensor, over two lines.\nA second paragraph with {@link braces} and user@host.");
  assert.deepEqual(found.read.parameters, {
    type: "object",
    properties: {
      name: { type: "string", description: "Which one, told over two lines.", default: "inside" },
      limit: { type: "number", description: "The most." },
      unit: { type: "string" },
      deep: { type: "object", description: "Not the last.", default: { a: [1, -2.5, "x", null, true] } },
      when: {},
      count: { type: "number", default: 3 },
      on: { type: "boolean", default: false },
      quiet: {},
    },
    required: ["limit"],
  });
  assert.deepEqual([found.arrow.description, found.arrow.parameters.required], ["Kept.", ["x"]]);
  assert.deepEqual([found.bare.description, found.bare.parameters], ["", { type: "object", properties: { a: {}, b: { type: "number", default: -1 }, c: { type: "array", default: [] }, d: { default: null } }, required: ["a"] }]);
  assert.equal(found.made.description, "By its tag.");
  assert.deepEqual(found.made.parameters.properties.a, { type: "string", description: "With me@param here." });
  assert.deepEqual(Object.keys(found), ["arrow", "bare", "made", "read"]);
});

test("an optional parameter of the comment may be left out", async () => {
  const host = await FakeHost.plugin("/** @param {number} [x] */\nexport const f = (x) => x ?? 'none';");
  assert.deepEqual(host.description.functions[0].parameters.required, []);
  assert.equal(host.call("f"), "none");
});

test("signatures of every form are read", async () => {
  const found = await schemas(`
    export function generator(a, b) {}
    export async function both(a) {}
    export const one = a => a, two = async (a, b = (1, 2)) => ({ a }), none = () => {};
    export const text = (a = ")", b = '}, c', d = \`\${"}"}\`, e = /[)/]\\)/.source, f = 4 / 2 / 1, g = { h: [1, (2)] }, i = (x, y) => x / y) => a;
    export function commented(/* a, */ b // c, d
      , e = 1 /* = 2 */, ) {}
    const object = { method(a, b) {}, async "quoted"(a) {}, ["com" + "puted"](a) {}, get got() { return (a) => a; } };
    export const { method, quoted, computed, got } = object;
    export function pattern({ a, b = [1, 2], c: { deep } = {}, "d-e": e, ...rest } = {}, ) {}
    export const unicode = (größe, $a, _b) => größe;
    export { one as uno };
    export function assigned(a = { x: 1 } == null, b = a => a, c) {}
  `);
  const names = (name) => Object.keys(found[name].properties);
  assert.deepEqual(names("generator"), ["a", "b"]);
  assert.deepEqual([names("both"), names("one"), names("uno"), names("two"), names("none")], [["a"], ["a"], ["a"], ["a", "b"], []]);
  assert.deepEqual(names("text"), ["a", "b", "d", "e", "f", "g", "i"]);
  assert.equal(found.text.properties.a.default, ")");
  assert.deepEqual(found.text.properties.g.default, undefined);
  assert.deepEqual([names("commented"), found.commented.required], [["b", "e"], ["b"]]);
  assert.deepEqual([names("method"), names("quoted"), names("computed"), names("got")], [["a", "b"], ["a"], ["a"], ["a"]]);
  assert.deepEqual([names("pattern"), found.pattern.required], [["a", "b", "c", "d-e"], ["a", "d-e"]]);
  assert.deepEqual(names("unicode"), ["größe", "$a", "_b"]);
  assert.deepEqual(found.assigned.required, ["c"]);
});

test("comments are found in the module where a function is declared", async () => {
  const host = await FakeHost.plugin({
    "plugin.js": 'export { far, near as close } from "./lib/a.js";\nexport * from "./lib/deep/b.js";\n/** Here. */\nexport function here() { "/** Not this. */ function far() {}"; }',
    "lib/a.js": 'import "./deep/b.js";\n/** Far away. */\nexport function far(a) {}\n/** Near. */ export const near = () => 1;',
    "lib/deep/b.js": '/** Deep. */\nexport async function deep() {}\n/** A stray comment. */\n\nconst x = 1;\nexport function without() {}\n/** Not right before. */ /* but this */\nexport function plain() {}',
  });
  const told = Object.fromEntries(host.description.functions.map((each) => [each.name, each.description]));
  assert.deepEqual(told, { close: "Near.", deep: "Deep.", far: "Far away.", here: "Here.", plain: "", without: "" });
});

test("declarations of the entry module", async () => {
  const host = await FakeHost.plugin(`
    export const schema = { read: { description: "By schema.", properties: { x: { type: "integer", minimum: 1 } } } };
    export const labels = { read: { area: "garden", kinds: ["a", "b"] } };
    export const tags = { read: ["fast"] };
    export const events = { measured: { description: "A value.", payload_schema: { type: "object" }, labels: { a: "b" }, tags: ["t"] }, bare: {} };
    export const routines = { poll: { every: "1.5s", cadence: "fixed-delay" }, tick: { every: "500ms" } };
    export const subscriptions = { seen: { device: "camera-*", event: "motion" } };
    export const VERSION = "1";
    /** By comment. @param {string} x */
    export function read(x, y = 1) {}
    export function poll(times = 1) {}
    export function tick() {}
    export function seen() {}
    export function start() {}
  `);
  assert.deepEqual(host.description, {
    functions: [{
      name: "read", description: "By schema.", parameters: { type: "object", properties: { x: { type: "integer", minimum: 1 } }, required: ["x"] },
      labels: { area: "garden", kinds: ["a", "b"] }, tags: ["fast"],
    }],
    events: [
      { name: "measured", description: "A value.", payload_schema: { type: "object" }, labels: { a: "b" }, tags: ["t"] },
      { name: "bare", description: "", payload_schema: null, labels: {}, tags: [] },
    ],
    routines: [{ name: "poll", interval_ns: 1.5e9, cadence: "fixed-delay" }, { name: "tick", interval_ns: 5e8, cadence: "fixed-rate" }],
    subscriptions: [{ name: "seen", device: "camera-*", event: "motion" }],
  });
});

test("names of declarations are names of functions too", async () => {
  const host = await FakeHost.plugin("export function events() { return 1; } export const schema = () => 2; export function constructor() {}");
  assert.deepEqual(host.description.functions.map((each) => each.name), ["constructor", "events", "schema"]);
});

test("what is wrong with the source is told with file and line", async () => {
  const cases = [
    ["\nexport function f( {\n}", /^`plugin.js`, line \d: SyntaxError: /],
    ["\n\nnull.x;", "`plugin.js`, line 3: TypeError: cannot read property 'x' of null"],
    ['import { x } from "./lib.js";', "`plugin.js`: Error: there is no `lib.js` in the plugin's folder"],
    ["throw 5;", "`plugin.js`: 5"],
    ['import { sleep } from "tenon"; await sleep(5);', "`plugin.js`: it waits for something while it is loaded: do what takes time in `start`"],
    ['import { env } from "tenon";\nawait env("A");', /^`plugin.js`.*: `env` cannot be used while the plugin is loaded: do it in `start` or in a function$/],
    ["export default function f() {}", "`plugin.js`: `export default` is no function of a plugin: export each function by its name, as `export function read() { … }`"],
    ["export const start = 5;", "`plugin.js`: `start` is a hook and has to be a function"],
    ["\nexport class A {}", "`plugin.js`: function `A`: a class is no function that can be called: export a function"],
    ["\n\nexport function f(a, ...rest) {}", "`plugin.js`, line 3: function `f`: it takes `...` parameters, which have no names: name each, or take one object, as `({ city, unit })`"],
    ["export const f = ([a]) => a;", "`plugin.js`, line 1: function `f`: it takes an array apart where a parameter has to have a name"],
    ["export const f = ({ a }, b) => a;", "`plugin.js`, line 1: function `f`: it takes an object apart beside other parameters: name each, or take just one object, as `({ city, unit })`"],
    ["export const f = (b, { a }) => a;", "`plugin.js`, line 1: function `f`: it takes an object apart beside other parameters: name each, or take just one object, as `({ city, unit })`"],
    ["export const f = ({ ['a' + 1]: b }) => b;", "`plugin.js`, line 1: function `f`: it takes an object apart by computed names, which callers cannot know"],
    ["export function* f(a) {}", "`plugin.js`, line 1: function `f`: it is a generator, which gives no result: return an array"],
    ["export const { f } = { async *f() {} };", /function `f`: it is a generator/],
    ["export function then(a) { a(5); }", /^`plugin.js`: `then` is no name for an export/],
    ["const a = (b) => b(5); export { a as then };", /^`plugin.js`: `then` is no name for an export/],
    [{ "plugin.js": "export * from './other.js';", "other.js": "export function then(a) { a(5); }" }, /^`plugin.js`: `then` is no name for an export/],
    ["export const f = Math.max;", "`plugin.js`, line 1: function `f`: its parameters cannot be read, as those of a bound or built-in function: write a function that calls it"],
    ["export const f = ((a) => a).bind(null);", /its parameters cannot be read, as those of a bound/],
    ["export const labels = { g: {} };", "`plugin.js`: `labels` names `g`, which is no exported function"],
    ["export const schema = [];", "`plugin.js`: `schema` must be an object, not an array"],
    ["export function f() {} export const schema = { f: { properties: { x: {} } } };", "`plugin.js`, line 1: the schema of function `f` names `x`, which the function does not take"],
    ["export function f() {} export const schema = { f: { type: 'array' } };", /has to be of type `object`/],
    ["export function f() {} export const tags = { f: 'x' };", "`plugin.js`, line 1: the tags of function `f` must be an array of strings, not a string"],
    ["export const routines = { f: { every: '5s' } };", "`plugin.js`: `routines` names `f`, which is no exported function"],
    ["export const routines = { f: { every: 5 } }; export function f() {}", '`plugin.js`: routine `f` needs `every`, a text with a unit, as "10s" or "500ms"'],
    ["export const routines = { f: { every: '5 parsec' } }; export function f() {}", /needs `every`, a text with a unit/],
    ["export const routines = { f: { every: '5x' } }; export function f() {}", /`every` of routine `f` is a number of milliseconds or a text with a unit/],
    ["export const routines = { f: { every: '5s', interval: 1 } }; export function f() {}", "`plugin.js`: routine `f` has `interval`, and may have `every`, `cadence`"],
    ["export const routines = { f: { every: '5s', cadence: 'soon' } }; export function f() {}", '`plugin.js`: `cadence` of routine `f` is "fixed-rate" or "fixed-delay"'],
    ["export const routines = { f: { every: '5s' } }; export function f(a) {}", "`plugin.js`, line 1: routine `f` takes `a`, and a routine is called without parameters"],
    ["export const events = { e: { schema: {} } };", "`plugin.js`: event `e` has `schema`, and may have `description`, `payload_schema`, `labels`, `tags`"],
    ["export const subscriptions = { f: { device: 5 } }; export function f() {}", "`plugin.js`: `device` and `event` of subscription `f` are texts"],
  ];
  for (const [source, expected] of cases) {
    const message = await refusal(source);
    if (typeof expected === "string") assert.equal(message, expected, source);
    else assert.match(message, expected, source);
  }
});

test("an error in a module that is imported is told by its file", async () => {
  assert.equal(await refusal({ "plugin.js": 'import "./lib/a.js";', "lib/a.js": "\n\nundefined_name();" }), "`lib/a.js`, line 3: ReferenceError: undefined_name is not defined");
  assert.match(await refusal({ "plugin.js": 'import "./lib/a.js";', "lib/a.js": "\nlet x = ;" }), /^`lib\/a.js`, line 2: SyntaxError/);
});

test("while it is loaded, a plugin may set timers and wait for what is there", async () => {
  const host = await FakeHost.plugin('let ticks = await Promise.resolve(5); setInterval(() => ticks++, 10); export function count() { return ticks; }');
  host.pass(30);
  assert.equal(host.call("count"), 8);
});

test("a large module is looked through once, however many functions it has", async () => {
  const lines = Array.from({ length: 4000 }, (_, at) => `function inner${at}(a, b) { let sum = a + b; const all = [sum, ${at}]; return all; }`);
  for (let at = 0; at < 1000; at++) lines.push(`/** Does ${at}. */\nexport async function f${at}(a, b = ${at}) { return a; }`, `/* No. */ export const g${at} = (a) => a + ${at};`);
  const host = await FakeHost.open(lines.join("\n"));
  const started = process.cpuUsage().user;
  host.enter("load", "plugin.js");
  const loaded = process.cpuUsage().user;
  const { functions } = host.described();
  const ratio = (process.cpuUsage().user - loaded) / (loaded - started);
  assert.deepEqual([functions.length, functions[999].description, functions[1000].description], [2000, "Does 999.", ""]);
  // The engine's own reading of it is the measure: the machine's speed is none.
  assert.ok(ratio < 15, `describing it took ${ratio} times what loading it took`);
});

test("the comment is the one that ends right before the function, whatever is in it", async () => {
  const host = await FakeHost.plugin(`
    /** A. /* b */ export function a() {}
    /** Not this. */ /* but */ export function b() {}
    /**/ export function c() {}
    /** D. */ export const d = async (x) => x;
    const text = "function d() {}", refunction = 1; /** E. */ export function e() {}
    /* no /** no */ export function f() {}
    /* one */ /** G /** g. */ export async   function g() {}
  `);
  const told = Object.fromEntries(host.description.functions.map((each) => [each.name, each.description]));
  assert.deepEqual(told, { a: "A. /* b", b: "", c: "", d: "D.", e: "E.", f: "", g: "G /** g." });
});

test("defaults that count, and signatures that cannot be read for certain", async () => {
  const found = await schemas("let i = 4; export function f(a = i++ / 2, b, c = (i-- / 2), d = ++i, e = /[/]/.source) {}");
  assert.deepEqual([Object.keys(found.f.properties), found.f.required], [["a", "b", "c", "d", "e"], ["b"]]);
  assert.match(await refusal("let i = 4; export function f(x, a = 1) {} Object.defineProperty(f, 'length', { value: 2 });"), /^`plugin.js`, line 1: function `f`: its parameters cannot be read for certain/);
});
