//! Where plugins come from and who signed them: what the policy makes of it.

use crate::bundle::{Plugin, bundle, digest_of, pinned_bundle};
use crate::host::{Host, Site, Way};
use crate::program::{mortise, run};
use crate::web::Web;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const SIGNED: &str = include_str!("../../delivery/tests/signed/archive.base64");
const SIGNATURE: &str = include_str!("../../delivery/tests/signed/archive.minisig");
const OTHERS_SIGNATURE: &str = include_str!("../../delivery/tests/signed/other.minisig");
const NAMELESS: &str = include_str!("../../delivery/tests/signed/nameless.base64");
const NAMELESS_SIGNATURE: &str = include_str!("../../delivery/tests/signed/nameless.minisig");
const NAMELESS_SIGNER: &str = "RWQbw/KcMAG6YEHnziQEWvDsxPJaFuwFdRMf7lnFSV3w9T7r2Icrur4E";
const SIGNER: &str = "RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6";

async fn start(site: &Site) -> Host<'_> {
    let mut command = site.command();
    command.args(["--install-allow-http", "--install-allow-private"]);
    site.start_as(command).await
}

/// A plugin that asks to list the devices.
fn looker() -> Plugin {
    Plugin::of("looker", "behave").with("permissions", json!({"mesh": {"discover": true}}))
}

async fn may_look(host: &Host<'_>) -> bool {
    let reply = host.ask(Way::Mesh, "discover", json!({})).await;
    if let Some(error) = reply.get("error") {
        assert_eq!(error["data"]["code"], "permission_denied", "{error}");
    }
    reply.get("error").is_none()
}

async fn versions(host: &Host<'_>, id: &str) -> Vec<Value> {
    let listed = host.succeed("list_plugin_versions", json!({"plugin_id": id})).await;
    listed["versions"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_may_what_its_source_may_and_nobody_claims_another() {
    let site = Site::on_nats();
    let web = Web::start();
    let url = web.url("trusted/looker.tgz");
    site.policy(&format!(
        "[[plugin]]\nid = '*'\nsource = 'url:{}'\ngrant = ['mesh.discover']\n[[plugin]]\nid = '*'\nmax = []",
        web.url("trusted")
    ));
    let host = start(&site).await;
    let archive = looker().tarball();
    let installed = host.succeed("install_plugin_from_bundle", bundle(&archive)).await;
    assert_eq!(installed["load_result"]["denied"][0]["beyond_policy"], true, "{installed}");
    assert!(!may_look(&host).await);

    // The archive is here, and that it came from there is no more than a claim: the server has another.
    let pinned = json!({"url": url, "digest": digest_of(&archive)});
    web.serve(b"another".to_vec(), None);
    assert_eq!(host.refuse("install_plugin_from_url", pinned.clone()).await["code"], "digest_mismatch");
    assert!(!may_look(&host).await);
    let elsewhere = json!({"url": web.url("trusted.tgz"), "digest": digest_of(&archive)});
    web.serve(archive.clone(), None);
    assert_eq!(host.succeed("install_plugin_from_url", elsewhere).await["unchanged"], true);
    assert!(!may_look(&host).await, "a name that only begins alike");

    // The same files are another generation: another rule is about them now.
    let changed = host.succeed("install_plugin_from_url", pinned.clone()).await;
    assert_eq!((&changed["unchanged"], &changed["load_result"]["denied"]), (&Value::Null, &Value::Null), "{changed}");
    assert!(may_look(&host).await);
    web.answers();
    let again = host.succeed("install_plugin_from_url", pinned.clone()).await;
    assert_eq!((&again["unchanged"], web.answers()), (&json!(true), vec![]), "it came from there before");
    let kept = versions(&host, "looker").await;
    let sources: Vec<&Value> = kept.iter().map(|version| &version["source"]["type"]).collect();
    assert_eq!(sources, ["url", "bundle"]);

    host.succeed("rollback_plugin", json!({"plugin_id": "looker"})).await;
    assert!(!may_look(&host).await, "the bundle's generation serves");
    host.stop().await;
    let host = start(&site).await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(!may_look(&host).await);
    host.succeed("install_plugin_from_url", pinned).await;
    assert!(may_look(&host).await);
    host.succeed("install_plugin_from_bundle", bundle(&archive)).await;
    assert!(!may_look(&host).await, "the newest arrival counts");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_wants_digests_lets_nothing_in_without() {
    let site = Site::on_nats();
    let web = Web::start();
    site.policy("[install]\nrequire_digest = true");
    let host = start(&site).await;
    let archive = looker().tarball();
    web.serve(archive.clone(), None);
    let (url, digest) = (web.url("looker.tgz"), digest_of(&archive));
    for (function, params) in [
        ("install_plugin_from_bundle", bundle(&archive)),
        ("install_plugin_from_url", json!({"url": url})),
        ("plan_plugin_install", bundle(&archive)),
    ] {
        let refusal = host.refuse(function, params).await;
        assert_eq!(refusal["code"], "digest_required", "{function}: {refusal}");
        assert!(refusal["message"].as_str().unwrap().contains("pass digest="), "{function}: {refusal}");
        assert!(refusal["hint"].as_str().unwrap().contains(&digest), "{function}: {refusal}");
    }
    assert_eq!(host.loaded().await, Vec::<String>::new());

    host.succeed("plan_plugin_install", pinned_bundle(&archive)).await;
    host.succeed("install_plugin_from_url", json!({"url": url, "digest": digest})).await;
    assert_eq!(host.loaded().await, ["looker"]);
    host.succeed("uninstall_plugin", json!({"plugin_id": "looker"})).await;
    host.succeed("install_plugin_from_bundle", pinned_bundle(&archive)).await;
    assert_eq!(host.loaded().await, ["looker"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_gave_outlives_a_restart_and_no_edit() {
    let site = Site::on_nats();
    let web = Web::start();
    site.policy(&format!(
        "[[plugin]]\nid = '*'\nsource = 'url:{}'\ngrant = ['mesh.discover']\n[[plugin]]\nid = '*'\nmax = []",
        web.url("trusted")
    ));
    let host = start(&site).await;
    web.serve(looker().tarball(), None);
    let fetched = json!({"url": web.url("trusted/looker.tgz")});
    host.succeed("install_plugin_from_url", fetched.clone()).await;
    assert!(may_look(&host).await);
    host.stop().await;
    let host = start(&site).await;
    host.wait_for_loaded(&["looker"]).await;
    assert!(may_look(&host).await);

    std::fs::write(site.capabilities().join("looker/notes.txt"), "mine").unwrap();
    host.succeed("reload_plugin", json!({"plugin_id": "looker"})).await;
    assert!(!may_look(&host).await, "nobody sent these files");
    assert_eq!(versions(&host, "looker").await[0]["source"]["type"], "working_copy");
    host.succeed("rollback_plugin", json!({"plugin_id": "looker"})).await;
    assert!(may_look(&host).await);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_one_origin_is_none_for_another_that_the_policy_knows() {
    let site = Site::on_nats();
    let web = Web::start();
    let trusted = format!("url:{}", web.url("trusted"));
    site.policy(&format!("[[plugin]]\nid = 'look*'\nsource = '{trusted}'\n[[plugin]]\nid = '*'\nmax = []"));
    let host = start(&site).await;
    let archive = looker().tarball();
    web.serve(archive.clone(), None);
    let fetched = json!({"url": web.url("trusted/looker.tgz")});
    let sent = bundle(&archive);
    let plan = async |params: &Value| host.succeed("plan_plugin_install", params.clone()).await;
    let with = |params: &Value, agreed: &Value| {
        let mut params = params.clone();
        params["plan_digest"] = agreed.clone();
        params
    };
    let (by_url, by_bundle) = (plan(&fetched).await, plan(&sent).await);
    assert_eq!(
        (&by_url["rule"], &by_bundle["rule"]),
        (&json!({"id": "look*", "source": trusted}), &json!({"id": "*"}))
    );
    let refusal = host.refuse("install_plugin_from_bundle", with(&sent, &by_url["plan_digest"])).await;
    assert_eq!((&refusal["code"], &refusal["plan"]["rule"]["id"]), (&json!("plan_changed"), &json!("*")), "{refusal}");
    host.succeed("install_plugin_from_url", with(&fetched, &by_url["plan_digest"])).await;

    // The same files, and yet another plugin in the policy's eyes.
    let (by_url, by_bundle) = (plan(&fetched).await, plan(&sent).await);
    assert_eq!((&by_url["action"], &by_bundle["action"]), (&json!("unchanged"), &json!("upgrade")));
    let installed = host.succeed("install_plugin_from_bundle", with(&sent, &by_bundle["plan_digest"])).await;
    assert_eq!(installed["generation"], 2, "{installed}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_signatures_are_required_nothing_else_arrives() {
    let site = Site::on_nats();
    let web = Web::start();
    site.policy(&format!("[install]\nsigners = ['{SIGNER}', '{NAMELESS_SIGNER}']\nrequire_signature = true"));
    let host = start(&site).await;
    let archive = STANDARD.decode(SIGNED.trim()).unwrap();
    // Not loaded: its code is none.
    let signed = |signature: Value| json!({"bundle_b64": SIGNED.trim(), "load": false, "signature": signature});
    for (signature, code) in [
        (Value::Null, "signature_required"),
        (json!(""), "signature_required"),
        (json!(" \n"), "signature_required"),
        (json!("no signature"), "signature_invalid"),
        (json!(SIGNATURE.replace("signed.tgz", "other.tgz")), "signature_invalid"),
        (json!(OTHERS_SIGNATURE), "signer_unknown"),
    ] {
        let refusal = host.refuse("install_plugin_from_bundle", signed(signature)).await;
        assert_eq!(refusal["code"], code, "{refusal}");
        assert!(refusal["hint"].is_string(), "{refusal}");
    }
    let other = json!({"bundle_b64": STANDARD.encode(looker().tarball()), "signature": SIGNATURE});
    assert_eq!(host.refuse("install_plugin_from_bundle", other).await["code"], "signature_invalid");
    let nameless =
        json!({"bundle_b64": NAMELESS.trim(), "load": false, "signature": NAMELESS_SIGNATURE, "plugin_id": "anything"});
    let refusal = host.refuse("install_plugin_from_bundle", nameless).await;
    assert_eq!(refusal["code"], "signed_without_id", "whoever installs would say what was signed: {refusal}");
    let folder = json!({"source_path": site.path()});
    let refusal = host.result(Way::Control, "install_plugin", folder).await;
    assert_eq!(refusal["code"], "signature_required", "the operator as well: {refusal}");

    let plan = json!({"manifest": {"bundle_b64": SIGNED.trim(), "signature": OTHERS_SIGNATURE, "type": "wasm"}});
    assert_eq!(host.refuse("plan_plugin_install", plan).await["code"], "signer_unknown");
    let installed = host.succeed("install_plugin_from_bundle", signed(json!(SIGNATURE))).await;
    assert_eq!(installed["signer"], SIGNER);
    assert_eq!(versions(&host, "signed").await[0]["signer"], SIGNER);
    let audit = std::fs::read_to_string(site.state().join("audit.jsonl")).unwrap();
    let line: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!((&line["what"], &line["signer"]), (&json!("install_plugin_from_bundle"), &json!(SIGNER)), "{line}");

    // Beside the archive, where nobody sends it.
    let fetched = json!({"url": web.url("signed.tgz?token=s3cret#part"), "load": false});
    web.serve(archive.clone(), None);
    let refusal = host.refuse("install_plugin_from_url", fetched.clone()).await;
    assert_eq!(refusal["code"], "signature_required", "{refusal}");
    assert!(refusal["detail"].as_str().unwrap().contains("404"), "{refusal}");
    for (status, body, code) in
        [(403, "", "http_status"), (410, "", "signature_required"), (200, &*"x".repeat(9000), "signature_invalid")]
    {
        web.sign_with(status, body);
        let refusal = host.refuse("install_plugin_from_url", fetched.clone()).await;
        assert_eq!(refusal["code"], code, "{refusal}");
    }
    web.sign(OTHERS_SIGNATURE);
    assert_eq!(host.refuse("install_plugin_from_url", fetched.clone()).await["code"], "signer_unknown");
    web.sign(SIGNATURE);
    assert_eq!(host.succeed("install_plugin_from_url", fetched).await["signer"], SIGNER);

    // In parts, and by hand.
    let begun = json!({"total_bytes": archive.len(), "digest": digest_of(&archive)});
    let upload_id = host.succeed("begin_plugin_upload", begun).await["upload_id"].take();
    let part = json!({"upload_id": upload_id, "offset": 0, "chunk_b64": SIGNED.trim()});
    host.succeed("append_plugin_upload", part).await;
    let commit = |signature: &str| json!({"upload_id": upload_id, "load": false, "signature": signature});
    assert_eq!(host.refuse("commit_plugin_upload", commit("")).await["code"], "signature_required");
    assert_eq!(host.succeed("commit_plugin_upload", commit(SIGNATURE)).await["signer"], SIGNER);

    let file = |name: &str, content: &[u8]| {
        let path = site.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (path, signature) = (file("signed.tgz", &archive), file("signed.tgz.minisig", SIGNATURE.as_bytes()));
    let deploy = |signed: bool| {
        let mut command = mortise();
        command.args(["deploy", "install", "--no-load", "--skip-validate"]).arg(&path);
        command.arg("--state-dir").arg(site.state());
        if signed {
            command.arg("--signature").arg(&signature);
        }
        run(&mut command)
    };
    let refused = deploy(false);
    assert!(refused.code == 1 && refused.err.contains("[signature_required]"), "{}", refused.err);
    let installed = deploy(true);
    assert_eq!(installed.code, 0, "{}", installed.err);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_arrives_that_no_sandbox_holds() {
    let site = Site::on_nats();
    site.policy("profile = 'development'\n[runtimes]\nnative = false\ndocker = false");
    let host = site.start().await;
    let image = Plugin::of("camera", "behave").with("type", json!("docker"));
    for load in [true, false] {
        let mut params = bundle(&image.tarball());
        params["load"] = json!(load);
        let refusal = host.refuse("install_plugin_from_bundle", params).await;
        assert_eq!(refusal["code"], "type_not_allowed", "{refusal}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_nobody_can_verify_is_refused() {
    let site = Site::on_nats();
    let host = site.start().await;
    let signed = json!({"bundle_b64": SIGNED.trim(), "load": false, "signature": SIGNATURE});
    assert_eq!(host.refuse("install_plugin_from_bundle", signed).await["code"], "signer_unknown");
    host.succeed("install_plugin_from_bundle", json!({"bundle_b64": SIGNED.trim(), "load": false})).await;
    assert_eq!(versions(&host, "signed").await[0]["signer"], Value::Null);
    host.stop().await;
}
