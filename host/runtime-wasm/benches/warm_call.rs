//! What one warm call costs the host: from `submit` to the answer at hand, without routing, envelope and mesh.
//!
//! The same of a plugin with several instances, and of one that begins, starts and stops one for each call.
//!
//! Then the whole way of a call but for the mesh, and the guest alone, for comparison ([`whole_path`]).
//!
//! Everything runs on one thread, so that the figures are work done and not threads woken. Prints lines of the form
//! `warm_call_<way> <n> ns`, the best of several rounds. Needs `cargo xtask guests`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the bench's report")]

#[path = "../tests/all/code_file.rs"]
mod code_file;
#[path = "../tests/all/harness.rs"]
#[allow(dead_code, reason = "the bench needs a part of the harness")]
mod harness;
#[path = "parts/whole_path.rs"]
mod whole_path;

use harness::{Folder, Plugin};
use mortise_model::Json;
use mortise_plugin::{Job, JobKind, Ticket};
use mortise_rpc::{CallChain, Outcome};
use mortise_runtime_wasm::{WasmConfig, WasmRuntime};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

const ROUNDS: u32 = 15;
const CALLS: u32 = 6_400;

fn main() {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let runtime = WasmRuntime::new(WasmConfig::default()).unwrap();
        let raw = Folder::of("raw", json!({})).prepare(&runtime).await.unwrap();
        let behave = Folder::of("behave", json!({})).prepare(&runtime).await.unwrap();
        for (way, plugin, function) in
            [("answered_at_once", &raw, "fine"), ("sdk_echo", &behave, "echo"), ("answered_later", &raw, "later")]
        {
            for in_flight in [1, 64] {
                println!("warm_call_{way}_{in_flight}_in_flight {} ns", measure(plugin, function, in_flight).await);
            }
        }
        for (way, instances) in [("several_instances", json!(2)), ("instance_for_each_call", json!("per-call"))] {
            for (guest, function) in [("raw", "fine"), ("behave", "echo")] {
                let folder = Folder::of(guest, json!({"limits": {"instances": instances}}));
                let plugin = folder.prepare(&runtime).await.unwrap();
                for in_flight in [1, 64] {
                    let nanos = measure(&plugin, function, in_flight).await;
                    println!("{way}_{guest}_{in_flight}_in_flight {nanos} ns");
                }
            }
        }
        drop((raw, behave));
        let raw = std::fs::read(harness::guest("raw")).unwrap();
        println!("guest_alone_1_in_flight {} ns", whole_path::bare(&raw, "fine", ROUNDS, CALLS));
        let whole = whole_path::whole(Arc::clone(&runtime), "fine", ROUNDS, CALLS).await;
        println!("whole_path_without_mesh_1_in_flight {whole} ns");
        runtime.ended().await;
    });
}

async fn measure(plugin: &Plugin, function: &str, in_flight: usize) -> u128 {
    let (name, params): (Arc<str>, _) = (function.into(), Json::of(&json!({"message": "hello"})));
    let mut best = u128::MAX;
    let mut calls = Vec::with_capacity(in_flight);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let deadline = tokio::time::Instant::now() + harness::LONG;
        for _ in 0..CALLS / u32::try_from(in_flight).unwrap() {
            calls.extend((0..in_flight).map(|_| submit(plugin, &name, &params, deadline)));
            for call in calls.drain(..) {
                call.await.unwrap().unwrap();
            }
        }
        best = best.min(begin.elapsed().as_nanos() / u128::from(CALLS));
    }
    best
}

fn submit(
    plugin: &Plugin,
    name: &Arc<str>,
    params: &Json,
    deadline: tokio::time::Instant,
) -> oneshot::Receiver<Outcome> {
    let (ticket, receiver) = Ticket::uncounted();
    plugin.instance.submit(Job {
        kind: JobKind::Function,
        name: Arc::clone(name),
        params: params.clone(),
        caller: None,
        trace: None,
        deadline,
        chain: CallChain::default(),
        ticket,
    });
    receiver
}
