//! Archives from a URL that are here already: what the server says has not changed is not sent again.

use crate::bundle::{digest_of, version};
use crate::host::{Host, Site};
use crate::web::Web;
use serde_json::{Value, json};

async fn start(site: &Site) -> Host<'_> {
    let mut command = site.command();
    command.args(["--install-allow-http", "--install-allow-private"]);
    site.start_as(command).await
}

async fn install(host: &Host<'_>, url: &str) -> Value {
    host.succeed("install_plugin_from_url", json!({"url": url})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_taken_from_the_store_and_what_is_lost_is_fetched_anew() {
    let site = Site::on_nats();
    let web = Web::start();
    let url = web.url("plugin.tgz?token=s3cret");
    let host = start(&site).await;
    let archive = version(1).tarball();
    web.serve(archive.clone(), Some("\"one\""));
    install(&host, &url).await;
    assert_eq!(web.answers(), [(200, false)]);
    let again = install(&host, &url).await;
    assert_eq!((&again["unchanged"], &again["digest"]), (&json!(true), &json!(digest_of(&archive))));
    assert_eq!(web.answers(), [(304, true)]);
    // Another URL may be another archive, even with the same validator: nobody asks about it.
    install(&host, &web.url("plugin.tgz?token=other")).await;
    assert_eq!(web.answers(), [(200, false)]);

    // A new version under the same URL is noticed, and is what is compared with from then on.
    web.serve(version(2).tarball(), Some("\"two\""));
    install(&host, &url).await;
    assert_eq!(web.answers(), [(200, true)]);
    assert_eq!(host.call("version", json!({})).await, "2.0.0");
    host.kill().await;

    let host = start(&site).await;
    host.wait_for_loaded(&["versioned"]).await;
    let plan = host.succeed("plan_plugin_install", json!({"url": url})).await;
    assert_eq!((&plan["action"], web.answers()), (&json!("unchanged"), vec![(304, true)]), "{plan}");
    // A digest that is not the archive's is none of the server's business.
    let pinned = json!({"url": url, "digest": digest_of(b"another")});
    assert_eq!(host.refuse("install_plugin_from_url", pinned).await["code"], "digest_mismatch");
    web.answers();

    // Damaged on the disk, it is fetched after all; gone, nothing is asked about it.
    let stored = site.state().join("store/sha256").join(digest_of(&version(2).tarball()).trim_start_matches("sha256:"));
    std::fs::write(&stored, "damaged").unwrap();
    assert_eq!(install(&host, &url).await["unchanged"], true);
    assert_eq!(web.answers(), [(304, true), (200, false)]);
    assert_eq!(std::fs::read(&stored).unwrap(), version(2).tarball());
    std::fs::remove_file(&stored).unwrap();
    assert_eq!(install(&host, &url).await["unchanged"], true);
    assert_eq!(web.answers(), [(200, false)]);

    // A server that stops sending validators is not asked with an old one.
    web.serve(version(2).tarball(), None);
    install(&host, &url).await;
    install(&host, &url).await;
    assert_eq!(web.answers(), [(200, true), (200, false)]);
    host.stop().await;
    let state = std::fs::read(site.state().join("state.redb")).unwrap();
    assert!(!state.windows(6).any(|bytes| bytes == b"s3cret"), "what a URL carries is not written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_remembered() {
    let site = Site::on_nats();
    let web = Web::start();
    let url = web.url("plugin.tgz");
    let host = start(&site).await;
    web.serve(b"no archive".to_vec(), Some("\"one\""));
    for _ in 0..2 {
        host.refuse("install_plugin_from_url", json!({"url": url})).await;
    }
    assert_eq!(web.answers(), [(200, false); 2]);
    web.serve(version(1).tarball(), Some("\"one\""));
    install(&host, &url).await;
    // What is uninstalled is gone from the store too.
    host.succeed("uninstall_plugin", json!({"plugin_id": "versioned"})).await;
    web.answers();
    install(&host, &url).await;
    assert_eq!(web.answers(), [(200, false)]);
    host.stop().await;
}
