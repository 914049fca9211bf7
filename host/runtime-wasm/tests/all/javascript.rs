//! Plugins in JavaScript, on the runner that `cargo xtask runners` leaves in `target/runners`.

use crate::harness::{Folder, LONG, Plugin, RUNTIME, until};
use crate::log;
use mortise_model::RuntimeKind;
use mortise_plugin::{JobKind, PrepareError};
use mortise_runtime_wasm::{WasmRuntime, compile_runners};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// One runtime for all of them: the runner is compiled once.
static JAVASCRIPT: LazyLock<Arc<WasmRuntime>> = LazyLock::new(|| {
    let runners = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quickjs");
    std::fs::create_dir_all(&runners).unwrap();
    std::fs::copy(quickjs(), runners.join("quickjs.wasm")).unwrap();
    compile_runners(&runners).unwrap();
    RUNTIME.with_runner(RuntimeKind::Javascript, runners).unwrap()
});

fn quickjs() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tells the tests where runners lie, as `cargo xtask` does")]
    let folder = std::env::var_os("MORTISE_RUNNERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/runners"), PathBuf::from);
    let path = folder.join("quickjs.wasm");
    assert!(path.is_file(), "`{}` is missing: run `cargo xtask runners`", path.display());
    path
}

/// A plugin at work, and its folder, which further instances read.
struct Loaded {
    plugin: Plugin,
    _folder: Folder,
}

impl std::ops::Deref for Loaded {
    type Target = Plugin;

    fn deref(&self) -> &Plugin {
        &self.plugin
    }
}

async fn prepare(modules: &[(&str, &str)], manifest: Value) -> Result<Loaded, PrepareError> {
    let folder = Folder::of_modules(modules, manifest);
    let plugin = folder.prepare(&JAVASCRIPT).await?;
    plugin.services.activate();
    Ok(Loaded { plugin, _folder: folder })
}

/// A plugin of one module.
async fn load(source: &str, limits: Value) -> Loaded {
    prepare(&[("main.js", source)], json!({"limits": limits})).await.unwrap()
}

/// What is wrong with a plugin's source, as the hook that reads it says.
async fn refusal(modules: &[(&str, &str)]) -> String {
    match prepare(modules, json!({})).await {
        Err(PrepareError::Hook { hook: "describe", failure }) => {
            assert_eq!(failure.code, "plugin_source", "{failure}");
            failure.message
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// Why the last instance was lost, after a call that was answered with that.
async fn loss(plugin: &Plugin, name: &str, params: Value, code: &str) -> String {
    let error = plugin.err(name, params).await;
    assert_eq!(error.code, code, "{error:?}");
    plugin.instance.health().last_trap.unwrap_or_default()
}

const GREETER: &str = r#"
    import { device, emit, log, state, config, invoke, sleep, Failure } from "tenon";
    let count = 0;
    export function hello({ name }) { return { message: `Hello, ${name}!` }; }
    export function add() { return ++count; }
    export async function wait(ms) { await sleep(ms); return ms; }
    export async function other(parameters) { return await invoke("other.echo", parameters); }
    export async function failing() { await sleep(1); throw new Failure("no paper left", "out_of_paper", true); }
    export async function tell(event) { await emit(event, { count }); }
    export async function keep(text) { await state.set("text", text); return await state.get("text"); }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_at_once_and_later_and_overlap() {
    let plugin = load(GREETER, json!({})).await;
    assert_eq!(plugin.ok("hello", json!({"name": "Ada"})).await, json!({"message": "Hello, Ada!"}));
    assert_eq!(plugin.ok("add", json!({})).await, json!(1));
    let began = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..50).map(|_| plugin.begin("wait", json!({"ms": 200}))).collect();
    for call in waiting {
        assert_eq!(call.ok().await, json!(200));
    }
    // One after the other they would take ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let error = plugin.err("failing", json!({})).await;
    assert_eq!((error.code.as_ref(), error.message.as_str(), error.retryable), ("out_of_paper", "no paper left", true));
    assert_eq!(plugin.instance.health().traps, 0);
}

/// Names are kept within the interpreter, as far as there is room: what others make up is no way to fill it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_callers_make_up_do_not_fill_the_instance() {
    let source = r#"
        import { caller } from "tenon";
        export function who() { return (caller() ?? "nobody").length; }
    "#;
    let plugin = load(source, json!({"memory": "8MiB"})).await;
    for round in 0..1000 {
        let name = format!("{round:04}{}", "x".repeat(if round % 2 == 0 { 60_000 } else { 10 }));
        let length = name.len();
        assert_eq!(plugin.submit_as(Some(&name), "who", json!({})).ok().await, json!(length), "{round}");
    }
    assert_eq!(plugin.submit_as(None, "who", json!({})).ok().await, json!(6));
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_that_never_end_cost_the_instance_and_the_next_one_answers() {
    let plugin = load(
        r#"
        export function spin() { for (;;) {} }
        export function chain() { const again = () => Promise.resolve().then(again); return again(); }
        export function regexp() { return /^(a+)+$/.test("a".repeat(40) + "!"); }
        export function sort() { return Array.from({length: 2e6}, () => Math.random()).sort((a, b) => { for (let i = 0; i < 1e6; i++); return a - b; }).length; }
        export function json() { const one = {}; for (let i = 0; i < 1e4; i++) one[i] = "x"; for (;;) JSON.stringify(one); }
        export function stubborn() { for (;;) { try { for (;;) {} } catch {} finally { continue; } } }
        export function add() { return 1; }
        "#,
        json!({"turn": "300ms"}),
    )
    .await;
    for name in ["spin", "chain", "regexp", "sort", "json", "stubborn"] {
        let traps = plugin.instance.health().traps;
        let reason = loss(&plugin, name, json!({}), "turn_limit").await;
        assert!(reason.contains("`limits.turn`"), "{name}: {reason}");
        // On a busy machine a fresh instance may be lost as well before there is one that serves.
        assert!(plugin.instance.health().traps > traps, "{name}");
        assert_eq!(plugin.ok("add", json!({})).await, json!(1), "{name}");
    }
}

#[tokio::test]
async fn an_endless_chain_of_promises_lets_others_run() {
    let plugin = load(
        "export function chain() { const again = () => Promise.resolve().then(again); return again(); }",
        json!({"turn": "400ms"}),
    )
    .await;
    let mut chain = plugin.begin("chain", json!({}));
    // The only thread is the one that the chain runs on.
    let mut ticks = 0;
    while !chain.is_answered() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        ticks += 1;
    }
    assert!(ticks > 10, "{ticks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_recursion_is_an_error_and_no_loss() {
    let plugin = load(
        r#"
        const caught = (deep) => { try { deep(); return "it came back"; } catch (error) { return error.name; } };
        const nested = (count) => "[".repeat(count) + "]".repeat(count);
        export function plain() { const deep = (n) => deep(n + 1) + 1; return caught(() => deep(0)); }
        export function many() { const deep = (...all) => deep(...all, 1) + deep(...all, 2); return caught(() => deep(1, 2, 3)); }
        export function proxies() { let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); return caught(() => p.x); }
        export function getters() { const o = { get x() { return this.x; } }; return caught(() => o.x); }
        export function toText() { const o = { toString() { return `${this}`; } }; return caught(() => `${o}`); }
        export function parse() { return caught(() => JSON.parse(nested(1e5))); }
        export function source() { return caught(() => (0, eval)(nested(1e5))); }
        export function flat() { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return caught(() => String(a)); }
        export function sorting() { const deep = () => [2, 1].sort(() => deep()); return caught(deep); }
        export function replacing() { const deep = () => "aa".replace(/a/g, deep); return caught(deep); }
        export function classes() { const deep = () => new (class { constructor() { deep(); } })(); return caught(deep); }
        export function generators() { function* deep() { yield* deep(); } return caught(() => [...deep()]); }
        export function regexps() { return caught(() => new RegExp("(".repeat(1e5) + ")".repeat(1e5))); }
        "#,
        json!({}),
    )
    .await;
    for name in [
        "plain",
        "many",
        "proxies",
        "getters",
        "toText",
        "parse",
        "source",
        "flat",
        "sorting",
        "replacing",
        "classes",
        "generators",
        "regexps",
    ] {
        let outcome = plugin.begin(name, json!({})).outcome().await;
        let outcome = outcome.map(|json| json.to_value());
        assert!(outcome.as_ref().is_ok_and(|name| name != "it came back"), "{name}: {outcome:?}");
    }
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_ends_at_its_limit_with_an_error_or_a_loss_and_the_plugin_goes_on() {
    let plugin = load(
        r#"
        const kept = [];
        let count = 0;
        export function array() { const all = []; for (;;) all.push(new Array(1000).fill(all.length)); }
        export function text() { let text = "x"; for (;;) text += text + "y"; }
        export function buffer() { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); }
        export function keep() { for (;;) kept.push({ text: "x".repeat(100) }); }
        export function promises() { const all = []; for (;;) all.push(Promise.resolve().then(() => all)); }
        export function add() { return ++count; }
        "#,
        json!({"memory": "16MiB", "turn": "5s"}),
    )
    .await;
    for name in ["array", "text", "buffer", "promises", "keep"] {
        let counted = plugin.ok("add", json!({})).await.as_u64().unwrap();
        let traps = plugin.instance.health().traps;
        let error = plugin.err(name, json!({})).await;
        assert!(["error", "trap"].contains(&error.code.as_ref()), "{name}: {error:?}");
        let next = plugin.ok("add", json!({})).await;
        // Whatever its caller was told, the instance ends with that turn: what waits there may never be answered. A text has
        // a length at which it ends before there is no memory.
        let is_lost = plugin.instance.health().traps > traps;
        assert!(is_lost || name == "text", "{name}");
        assert_eq!(next, json!(if is_lost { 1 } else { counted + 1 }), "{name}: a fresh instance counts anew");
    }
    let health = plugin.instance.health();
    assert!(plugin.memory().peak_bytes <= 16 << 20);
    assert!(health.last_trap.is_some_and(|reason| reason.contains("memory limit of 16MiB reached")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crosses_is_limited() {
    let plugin = load(
        r#"
        export function result(size) { return "x".repeat(size); }
        export function flood() { for (let i = 0; i < 3000; i++) console.log("x".repeat(1000)); return "done"; }
        "#,
        json!({}),
    )
    .await;
    assert_eq!(plugin.ok("result", json!({"size": 1000})).await, json!("x".repeat(1000)));
    for size in [2 << 20, 12 << 20, 20 << 20] {
        let error = plugin.err("result", json!({"size": size})).await;
        assert_eq!(error.code, "result_too_large", "{error:?}");
    }
    assert_eq!(plugin.ok("flood", json!({})).await, json!("done"));
    let error = plugin.err("result", json!({"size": "x".repeat(17 << 20)})).await;
    assert_eq!(error.code, "params_too_large", "{error:?}");
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_kept_and_the_guest_is_told() {
    let plugin = load(GREETER, json!({})).await;
    let error = plugin.begin_within("wait", json!({"ms": 60000}), Duration::from_millis(50)).err().await;
    assert_eq!(error.code, "deadline_exceeded", "{error:?}");
    plugin.running(0).await;
    assert_eq!(plugin.ok("add", json!({})).await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_are_the_plugins_own_files_and_bad_ones_are_named() {
    let plugin = prepare(
        &[
            ("main.js", "import { twice } from './lib/twice.js'; export function four() { return twice(2); }"),
            ("lib/twice.js", "import { sum } from '../sum.mjs'; export const twice = (n) => sum(n, n);"),
            ("sum.mjs", "export const sum = (a, b) => a + b;"),
        ],
        json!({}),
    )
    .await
    .unwrap();
    assert_eq!(plugin.ok("four", json!({})).await, json!(4));

    for (source, words) in [
        ("export function f() {\n  return 1 +;\n}", &["`main.js`, line 2", "SyntaxError"][..]),
        ("import 'lodash';", &["`main.js` imports `lodash`", "esbuild"]),
        ("import './nowhere.js';", &["`nowhere.js` is not there"]),
        ("import './lib/twice';", &["`lib/twice.js` is: extensions are written out"]),
        ("import '../other/main.js';", &["leaves the plugin's folder"]),
        ("import '/etc/hostname';", &["absolute path"]),
        ("import 'https://a.test/x.js';", &["over the network"]),
        ("import { nothing } from 'tenon';", &["nothing", "tenon"]),
        ("throw new Error('at the top');", &["at the top", "`main.js`, line 1"]),
        ("await new Promise(() => {});", &["main.js"]),
        ("export const x = 1;\nimport { y } from './lib/twice.js';", &["'y'"]),
    ] {
        let files = [("main.js", source), ("lib/twice.js", "export const twice = 2;")];
        let message = refusal(&files).await;
        assert!(words.iter().all(|word| message.contains(word)), "{source}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_out_of_the_plugins_folder_leads_nowhere() {
    let folder = Folder::of_modules(&[("main.js", "import './outer.js';")], json!({}));
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("a.js"), "export {};").unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("a.js"), folder.dir.path().join("outer.js")).unwrap();
    match folder.prepare(&JAVASCRIPT).await {
        Err(PrepareError::Hook { failure, .. }) => assert!(failure.message.contains("cannot be read"), "{failure}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_module_can_have_is_an_error_and_costs_nothing() {
    let plugin = load(
        r#"
        let count = 0;
        export function add() { return ++count; }
        export async function far() { await import("./" + "a".repeat(5000)); }
        "#,
        json!({}),
    )
    .await;
    assert_eq!(plugin.ok("add", json!({})).await, json!(1));
    let error = plugin.err("far", json!({})).await;
    assert!(error.message.contains("whose name has more than 1024 bytes"), "{error:?}");
    assert_eq!(plugin.ok("add", json!({})).await, json!(2), "it is the same instance");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_for_ever_is_refused_within_its_time() {
    let manifest = json!({"limits": {"start_timeout": "300ms"}});
    match prepare(&[("main.js", "for (;;) {}")], manifest).await {
        Err(PrepareError::Hook { hook: "describe", failure }) => {
            assert!(failure.message.contains("`limits.start_timeout`"), "{failure}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_reach_other_functions_events_and_their_state() {
    let plugin =
        prepare(&[("main.js", GREETER)], json!({"permissions": {"plugins": ["*"], "state": true}})).await.unwrap();
    assert_eq!(
        plugin.ok("other", json!({"parameters": {"a": [1, "é\u{1f600}"]}})).await,
        json!({"a": [1, "é\u{1f600}"]})
    );
    plugin.ok("tell", json!({"event": "counted"})).await;
    let events = plugin.host.events.lock().unwrap().clone();
    assert_eq!(events, [("counted".to_owned(), json!({"count": 0}))]);
    let kept = plugin.ok("keep", json!({"text": "värde"})).await;
    assert_eq!(kept, json!("värde"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_asks_the_host_for_comes_as_it_is() {
    let source = r#"
        import { caller, discover, env, invoke, secret, sleep, state, thisCall } from "tenon";
        export async function named() { return [await env("STATION"), await secret("token"), await secret("other")]; }
        export async function post() {
            const answer = await fetch("http://a.test/echo", { method: "POST", headers: { "x-a": "é" }, body: new Uint8Array([0, 255, 195]) });
            return [answer.status, answer.headers.get("x-a"), [...await answer.bytes()]];
        }
        export async function refused() { try { await fetch("http://a.test/refused"); } catch (error) { return [error.name, error.message, error.cause.code]; } }
        export async function hang() { try { await fetch("http://a.test/never", { signal: AbortSignal.timeout(20) }); } catch (error) { return error.name; } }
        export async function keep() {
            state.set("b", { list: [1, "é"] });
            state.setBytes("a/1", new Uint8Array([0, 255]));
            // Nothing here writes to a disk.
            const flushed = await state.flush().catch((error) => error.code);
            state.delete("nothing");
            const all = [state.get("b"), [...state.getBytes("a/1")], state.keys("a/"), state.keys(), state.get("none", 5), state.getBytes("none")];
            state.delete("b");
            return [...all, state.keys(), flushed];
        }
        export async function forbidden() { const told = []; for (const ask of [() => env("HOME"), () => secret("key"), () => invoke("third.f"), () => discover()]) try { await ask(); } catch (error) { told.push(error.code); } return told; }
        export function full() { try { state.set("c", "x".repeat(5000)); } catch (error) { return [error.name, error.code]; } }
        export async function ask(function_) { await sleep(1); await invoke(function_, {}); }
        export async function own() { const here = thisCall(); await sleep(1); return [caller(), here(caller), await here(() => invoke("other.own", {}))]; }
        export async function wait(ms) { await sleep(ms); }
    "#;
    let permissions = json!({"env": ["STATION"], "secrets": ["token", "other"], "http": ["http://a.test"], "plugins": ["other.*"], "state": true});
    let manifest = json!({"permissions": permissions, "limits": {"state": "4KiB"}});
    let plugin = prepare(&[("main.js", source)], manifest).await.unwrap();
    for (function, expected) in [
        ("named", json!(["the value of STATION", "s3cret-token", null])),
        ("post", json!([201, "é", [0, 255, 195]])),
        ("refused", json!(["TypeError", "played: not allowed", "permission_denied"])),
        ("hang", json!("TimeoutError")),
        ("keep", json!([{"list": [1, "é"]}, [0, 255], ["a/1"], ["a/1", "b"], 5, null, ["a/1"], "stopped"])),
        ("forbidden", json!(["permission_denied", "permission_denied", "permission_denied", "permission_denied"])),
        ("full", json!(["Failure", "state_full"])),
    ] {
        assert_eq!(plugin.ok(function, json!({})).await, expected, "{function}");
    }
    let request = plugin.host.requests.lock().unwrap()[0].clone();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://a.test/echo"));
    // One byte for each character of a header.
    assert!(request.headers.contains(&("x-a".to_owned(), vec![0xe9])), "{request:?}");

    // What is asked for while another call is open has no call's trace, unless the plugin keeps its call.
    let other = plugin.begin("wait", json!({"ms": 300}));
    plugin.ok("ask", json!({"function_": "other.unknown"})).await;
    assert_eq!(plugin.ok("own", json!({})).await, json!([null, "caller-1", {}]));
    other.ok().await;
    plugin.ok("ask", json!({"function_": "other.alone"})).await;
    let invocations = plugin.host.invocations.lock().unwrap();
    let traced: Vec<_> = invocations.iter().map(|each| (each.function.as_str(), each.trace.is_some())).collect();
    assert_eq!(traced, [("other.unknown", false), ("other.own", true), ("other.alone", true)]);
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_that_nobody_handles_is_logged_and_costs_nothing() {
    log::record();
    let plugin = load(
        r#"
        export function reject() { Promise.reject(new Error("forgotten")); Promise.reject(Symbol("odd")); return 1; }
        export function both() {
            Promise.reject(new Error("dropped"));
            const later = Promise.reject(new Error("kept"));
            later.catch(() => {});
        }
        export async function handled() { const p = Promise.reject(new Error("seen")); await null; p.catch(() => {}); return 2; }
        "#,
        json!({}),
    )
    .await;
    assert_eq!(plugin.ok("reject", json!({})).await, json!(1));
    assert_eq!(plugin.ok("handled", json!({})).await, json!(2));
    plugin.ok("both", json!({})).await;
    assert_eq!(log::lines_with("nobody handled that").len(), 3);
    let lines = |word: &str| log::lines_with(word).len();
    assert_eq!((lines("Error: dropped"), lines("Error: kept")), (1, 0));
    assert_eq!((lines("Error: forgotten"), lines("Symbol(odd)"), lines("Error: seen")), (1, 1, 0));
    assert!(lines("main.js:2") > 0, "the place is told");
    assert_eq!(plugin.instance.health().traps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_instances_share_the_calls_and_one_for_each_call_begins_anew() {
    let source = r#"
        let count = 0;
        export function add() { return ++count; }
        export function spin(ms) { const end = Date.now() + ms; while (Date.now() < end); return ++count; }
    "#;
    let several = load(source, json!({"instances": 2})).await;
    let calls: Vec<_> = (0..4).map(|_| several.begin("spin", json!({"ms": 100}))).collect();
    until("a second one helps", || several.instance.health().instances == 2).await;
    for call in calls {
        call.ok().await;
    }
    let fresh = load(source, json!({"instances": "per-call"})).await;
    for _ in 0..3 {
        assert_eq!(fresh.ok("add", json!({})).await, json!(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_routines_and_events_reach_the_plugin() {
    let plugin = load(
        r#"
        const seen = [];
        export function start() { seen.push("start"); }
        export function selfTest() { seen.push("selfTest"); }
        export function poll() { seen.push("poll"); }
        export const routines = { poll: { every: "10s" } };
        export function onMotion({ device, event, payload }) { seen.push(`${device} ${event} ${payload.x}`); }
        export const subscriptions = { onMotion: { device: "camera-*", event: "motion" } };
        export function all() { return seen; }
        "#,
        json!({}),
    )
    .await;
    let description = plugin.instance.description();
    assert_eq!(description.routines.len(), 1);
    assert_eq!(description.subscriptions.len(), 1);
    plugin.submit(JobKind::Routine, "poll", json!({}), LONG).ok().await;
    assert_eq!(plugin.ok("all", json!({})).await, json!(["start", "selfTest", "poll"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_in_javascript_cannot_have_is_refused() {
    let files = json!({"permissions": {"files": [{"path": "/srv/data"}]}});
    match prepare(&[("main.js", GREETER)], files).await {
        Err(PrepareError::Unsupported { what }) => assert!(what.contains("files"), "{what}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}
