//! A wall clock that jumps, as it does on devices that learn the time late: what lasts goes by another clock, and what
//! is written down is in the order in which it happened.

use crate::bundle::{Plugin, bundle, digest_of, version};
use crate::host::{Host, Site, Way};
use crate::until;
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const YEAR: i64 = 365 * 24 * 60 * 60;

/// The jumps, as seconds from the real time: far ahead, back to when clocks begin to count, and to before that.
const JUMPS: [i64; 3] = [10 * YEAR, -56 * YEAR, -60 * YEAR];

/// A wall clock of a host's own.
struct Clock {
    library: PathBuf,
    shift: PathBuf,
}

impl Clock {
    fn new(folder: &Path) -> Self {
        let (library, shift) = (folder.join("clock.so"), folder.join("shift"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/clock.c");
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).status();
        assert!(compiler.is_ok_and(|status| status.success()), "`cc`, which links this test, compiles no C");
        std::fs::write(&shift, "0").unwrap();
        Self { library, shift }
    }

    fn set(&self, seconds: i64) {
        // In one step: the host reads it at any time.
        let new = self.shift.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, &self.shift).unwrap();
    }

    async fn start<'a>(&self, site: &'a Site) -> Host<'a> {
        let mut command = site.command();
        command.env("LD_PRELOAD", &self.library).env("WALL_CLOCK_SHIFT", &self.shift);
        site.start_as(command).await
    }
}

/// Generations, and when they were installed, newest first.
async fn versions(host: &Host<'_>) -> Vec<(u64, String)> {
    let reply = host.succeed("list_plugin_versions", json!({"plugin_id": "versioned"})).await;
    let versions = reply["versions"].as_array().unwrap().iter();
    versions.map(|v| (v["generation"].as_u64().unwrap(), v["installed_at"].as_str().unwrap().to_owned())).collect()
}

async fn send(host: &Host<'_>, id: &str, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    host.send(Way::Mesh, request.to_string()).await["result"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_does_not_go_by_the_wall_clock() {
    let site = Site::on_nats();
    let clock = Clock::new(site.path());
    let host = clock.start(&site).await;
    host.install(&Plugin::of("patient", "behave")).await;
    for (round, jump) in JUMPS.into_iter().enumerate() {
        clock.set(0);
        host.install(&version(1)).await;
        // An upload that is half done, a call that waits, and a request that will be repeated.
        let archive = version(2).with("description", json!(format!("round {round}"))).tarball();
        let begin = json!({"total_bytes": archive.len(), "digest": digest_of(&archive)});
        let begun = host.succeed("begin_plugin_upload", begin).await;
        let upload = begun["upload_id"].as_str().unwrap();
        let (first, second) = archive.split_at(archive.len() / 2);
        let part = |offset: usize, bytes: &[u8]| {
            let chunk = base64::engine::general_purpose::STANDARD.encode(bytes);
            json!({"upload_id": upload, "offset": offset, "chunk_b64": chunk})
        };
        host.succeed("append_plugin_upload", part(0, first)).await;
        let id = format!("reload-{round}");
        let reload = || send(&host, &id, "reload_plugin", json!({"plugin_id": "versioned"}));
        let reloaded = reload().await;
        assert_eq!(reloaded["status"], "success", "{reloaded}");
        let waiting = host.call("sleep_ms", json!({"ms": 1_500}));
        let jumping = async {
            until("the call waits", async || {
                let list = host.result(Way::Control, "list_plugins", json!({})).await;
                list["loaded"]["patient"]["health"]["running"] == 1
            })
            .await;
            clock.set(jump);
        };
        let (waited, ()) = tokio::join!(waiting, jumping);
        assert_eq!(waited, 1_500, "{jump}");

        assert_eq!(reload().await, reloaded, "{jump}: it is within a minute of the first");
        host.succeed("append_plugin_upload", part(first.len(), second)).await;
        host.succeed("commit_plugin_upload", json!({"upload_id": upload})).await;
        assert_eq!(host.call("version", json!({})).await, "2.0.0", "{jump}");

        // The probation of a version goes on as well, wherever the clock is set meanwhile.
        host.install(&version(3).with("description", json!(format!("round {round}")))).await;
        clock.set(0);
        until("the second version is back", async || {
            host.ask(Way::Mesh, "version", json!({})).await;
            let list = host.result(Way::Control, "list_plugins", json!({})).await;
            list["loaded"]["versioned"]["manifest"]["version"] == "2.0.0"
        })
        .await;
    }
    host.stop().await;
}

/// What was written down under another clock is in its order still, and nothing is forgotten for its age.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_outlives_a_clock_that_jumped() {
    let site = Site::on_nats();
    let clock = Clock::new(site.path());
    clock.set(JUMPS[0]);
    let host = clock.start(&site).await;
    let install = async |host: &Host<'_>, id: &str, number: usize, take: &str| {
        let archive = version(number).with("description", json!(take)).tarball();
        let reply = send(host, id, "install_plugin_from_bundle", bundle(&archive)).await;
        assert_eq!(reply["status"], "success", "{reply}");
    };
    install(&host, "first", 1, "ahead").await;
    clock.set(JUMPS[2]);
    install(&host, "second", 2, "before 1970").await;
    clock.set(0);
    install(&host, "third", 1, "now").await;
    let found = versions(&host).await;
    let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [3, 2, 1], "in the order in which they came");
    let times: Vec<&str> = found.iter().map(|(_, at)| at.as_str()).collect();
    assert!(times[1] < "1970" && times[1] < times[0] && times[0] < times[2], "the clock did jump: {times:?}");
    for request in ["first", "second", "third"] {
        until("it is written down", async || {
            host.call("get_plugin_operation", json!({"request_id": request})).await["operation"]["status"] == "done"
        })
        .await;
    }
    host.kill().await;

    // The same request under an earlier clock is a later one.
    clock.set(JUMPS[1]);
    let host = clock.start(&site).await;
    host.wait_for_loaded(&["versioned"]).await;
    assert_eq!(versions(&host).await, found);
    for request in ["first", "second", "third"] {
        let known = host.succeed("get_plugin_operation", json!({"request_id": request})).await;
        assert_eq!(known["operation"]["outcome"]["status"], "success", "{known}");
    }
    install(&host, "first", 2, "again").await;
    until("the later one is told of", async || {
        let known = host.call("get_plugin_operation", json!({"request_id": "first"})).await;
        known["operation"]["outcome"]["generation"] == 4
    })
    .await;
    host.succeed("rollback_plugin", json!({"plugin_id": "versioned"})).await;
    assert_eq!(host.call("version", json!({})).await, "1.0.0", "the one before it, whenever that was");
    host.kill().await;
    clock.set(JUMPS[0]);
    let host = clock.start(&site).await;
    host.wait_for_loaded(&["versioned"]).await;
    let numbers: Vec<u64> = versions(&host).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [4, 3, 2]);
    assert_eq!(host.call("version", json!({})).await, "1.0.0");
    host.stop().await;
}
