//! What plugins reach beyond the mesh, under permissions: the web, the host's environment, secrets, folders.

use crate::bundle::{Plugin, bundle};
use crate::host::{Host, Site, Way};
use crate::neighbour::{self, beside};
use crate::program::with_names_of;
use crate::until;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A server on this machine that knows what it was asked.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
pub(crate) struct Seen {
    requests: AtomicUsize,
    now: AtomicUsize,
    pub(crate) most: AtomicUsize,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let seen = Arc::<Seen>::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, shared) = (TaskTracker::new(), Arc::clone(&seen));
        let connections = tasks.clone();
        let serving = tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&shared);
                // A client that hangs up is what its test will tell.
                connections.spawn(async move { serve(stream, &seen).await });
            }
        });
        Self { address, seen, _serving: AbortOnDropHandle::new(serving) }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }
}

/// Answers one request after the other.
async fn serve(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut lines, mut line) = (Vec::new(), String::new());
        while stream.read_line(&mut line).await? > 2 {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        let Some(first) = lines.first() else { return Ok(()) };
        let header = |name: &str| {
            let fields = lines.iter().filter_map(|line| line.split_once(": "));
            fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        let [method, target, _] = first.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (head, answer) = match path.split_once("/bytes/") {
            Some((_, count)) => ("200 OK".to_owned(), vec![b'x'; count.parse().unwrap()]),
            None if path == "/redirect" => {
                (format!("307 Temporary Redirect\r\nLocation: {}", query.strip_prefix("to=").unwrap()), Vec::new())
            }
            None if path == "/slow" => {
                let now = seen.now.fetch_add(1, Ordering::Relaxed) + 1;
                seen.most.fetch_max(now, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                seen.now.fetch_sub(1, Ordering::Relaxed);
                ("200 OK".to_owned(), Vec::new())
            }
            None if path == "/never" => std::future::pending().await,
            None => {
                seen.requests.fetch_add(1, Ordering::Relaxed);
                let told = json!({
                    "method": method,
                    "query": query,
                    "key": header("x-key"),
                    "authorization": header("authorization"),
                    "agent": header("user-agent"),
                    "body": String::from_utf8_lossy(&body),
                });
                ("200 OK\r\nContent-Type: application/json".to_owned(), told.to_string().into_bytes())
            }
        };
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all(&[head.as_bytes(), &answer].concat()).await?;
    }
}

/// A plugin that asks for nothing.
fn surfer() -> Plugin {
    Plugin::of("surfer", "behave")
}

pub(crate) async fn grant(host: &Host<'_>, plugin: &str, permission: &str) {
    let params = json!({"plugin_id": plugin, "permission": permission});
    let granted = host.result(Way::Control, "grant_plugin_permission", params).await;
    assert_eq!(granted["status"], "success", "{granted}");
}

async fn fetch(host: &Host<'_>, params: Value) -> Value {
    host.call("fetch", params).await
}

/// Whether a guest was told what its own `std`, or the C library below it, says of a path that no folder leads to: which
/// of these it is, depends on its compiler.
pub(crate) fn is_denied_by_std(error: &Value) -> bool {
    let message = error["message"].as_str().unwrap_or_default();
    let said = ["Capabilities insufficient", "No such file or directory", "failed to find a pre-opened file"];
    error["data"]["code"] == "io" && said.iter().any(|said| message.contains(said))
}

async fn fetch_error(host: &Host<'_>, url: &str) -> (String, String) {
    let error = host.fail("fetch", json!({"url": url})).await;
    (error["data"]["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

/// What the surfer is told when it may not send a request to a server.
fn denied(server: &Server) -> (String, String) {
    let origin = server.origin();
    let cure = format!("`mortise deploy grant surfer http:{origin}` would let it");
    ("permission_denied".to_owned(), format!("the plugin may not send `GET {origin}/echo`: {cure}"))
}

pub(crate) async fn stats(host: &Host<'_>, plugin: &str) -> Value {
    host.succeed("get_plugin_stats", json!({"plugin_id": plugin})).await["plugins"][plugin].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_once_it_is_granted_and_its_network_opened() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("[http]\nnetworks = ['127.0.0.1']");
    neighbour::settle(&site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&surfer()).await;
    let url = server.url("/echo?key=hidden");
    assert_eq!(beside(&host, fetch_error(&host, &url)).await, denied(&server));
    assert_eq!(stats(&host, "surfer").await["denied"], 1);
    assert_eq!(server.requests(), 0);
    let command = format!("mortise deploy grant surfer http:{}", server.origin());
    let lacking = host.succeed("get_plugin_permissions", json!({"plugin_id": "surfer"})).await;
    assert_eq!(lacking["pending"][0]["command"], json!(command), "{lacking}");

    grant(&host, "surfer", &format!("http:{}", server.origin())).await;
    let headers = json!({"x-key": "k", "authorization": "Bearer t"});
    let params = json!({"url": url, "method": "POST", "headers": headers, "body": "text"});
    let answer = fetch(&host, params).await;
    assert_eq!((&answer["status"], &answer["type"]), (&json!(200), &json!("application/json")), "{answer}");
    let told: Value = serde_json::from_str(answer["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&told["method"], &told["query"], &told["key"], &told["body"]),
        (&json!("POST"), &json!("key=hidden"), &json!("k"), &json!("text"))
    );
    assert!(told["agent"].as_str().unwrap().starts_with("mortise/"), "{told}");
    let counted = stats(&host, "surfer").await;
    assert_eq!((&counted["http"]["done"], &counted["denied"]), (&json!(2), &json!(1)), "{counted}");
    assert!(counted["http"]["bytes_sent"].as_u64().unwrap() > 4, "{counted}");
    assert!(counted["http"]["bytes_received"].as_u64().unwrap() > 100, "{counted}");
    assert_eq!(server.requests(), 1);

    // Another port is another place.
    let other = Server::start().await;
    assert_eq!(beside(&host, fetch_error(&host, &other.url("/echo"))).await, denied(&other));
    let counted = stats(&host, "surfer").await;
    assert_eq!((&counted["denied"], &counted["refused"]), (&json!(2), &json!({})), "{counted}");
    assert_eq!(other.requests(), 0);
    assert!(!host.log().contains("hidden"), "what a URL carries is not logged");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_stay_closed_by_whatever_way() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("[[plugin]]\nid = '*'\ngrant = ['http:http://*:*', 'http:https://*:*']");
    neighbour::settle(&site);
    let names = site.path().join("hosts");
    std::fs::write(&names, "10.0.0.7 inside.test\n169.254.169.254 metadata.test\n127.0.0.1 localhost\n").unwrap();
    let mut command = with_names_of(&names);
    command.arg("run");
    let host = site.start_as(site.flags_for(command)).await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&surfer().with("permissions", json!({"http": ["http://*:*", "https://*:*"]}))).await;
    let port = server.address.port();
    let closed = [
        (server.url("/echo"), "loopback"),
        // By names, which the system resolves.
        (format!("http://localhost:{port}/echo"), "loopback"),
        ("http://inside.test/".to_owned(), "private"),
        ("http://metadata.test/latest/meta-data".to_owned(), "cloud metadata"),
        (format!("http://2130706433:{port}/echo"), "loopback"),
        (format!("http://[::1]:{port}/echo"), "loopback"),
        (format!("http://[::ffff:127.0.0.1]:{port}/echo"), "loopback"),
        ("http://10.0.0.1/".to_owned(), "private"),
        ("https://192.168.1.1/".to_owned(), "private"),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "cloud metadata"),
        ("http://0.0.0.0/".to_owned(), "unspecified"),
    ];
    beside(&host, async {
        for (url, class) in &closed {
            let (code, message) = fetch_error(&host, url).await;
            assert_eq!(code, "address_not_allowed", "{url}: {message}");
            assert!(message.contains(&format!("a {class} address")), "{url}: {message}");
        }
    })
    .await;
    assert_eq!(stats(&host, "surfer").await["refused"], json!({"address_not_allowed": closed.len()}));
    for (url, reason) in [
        ("file:///etc/passwd", "its scheme is neither `https` nor `http`"),
        ("http://user:secret@10.0.0.1/", "it holds a user name or password"),
        ("not a url", "it is no URL"),
    ] {
        let (code, message) = fetch_error(&host, url).await;
        assert!(code == "invalid_request" && message.contains(reason), "{code} {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    assert_eq!(server.requests(), 0);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_redirect_is_a_request_of_its_own() {
    let (site, server, other) = (Site::on_nats(), Server::start().await, Server::start().await);
    let policy = |networks: &str| {
        format!("[http]\nnetworks = ['{networks}']\n[[plugin]]\nid = '*'\ngrant = ['http:http://*:*']")
    };
    site.policy(&policy("127.0.0.0/8"));
    neighbour::settle(&site);
    let host = site.start().await;
    host.wait_for_loaded(&["neighbour"]).await;
    let asked = json!({"http": [server.origin(), "http://169.254.169.254", "http://10.0.0.1"]});
    host.install(&surfer().with("permissions", asked)).await;
    let to = |target: &str| server.url(&format!("/redirect?to={target}"));
    let authorized = |url: String| json!({"url": url, "headers": {"authorization": "Bearer t"}});
    let told = |answer: Value| serde_json::from_str::<Value>(answer["text"].as_str().unwrap()).unwrap();
    let same = told(fetch(&host, authorized(to("/echo"))).await);
    assert_eq!(same["authorization"], "Bearer t");
    // Not asked for: nobody goes there by a detour.
    beside(&host, async {
        assert_eq!(fetch_error(&host, &to(&other.url("/echo"))).await, denied(&other));
        for (target, class) in [("http://169.254.169.254/latest", "cloud metadata"), ("http://10.0.0.1/", "private")] {
            let (code, message) = fetch_error(&host, &to(target)).await;
            assert_eq!(code, "address_not_allowed", "{target}: {message}");
            assert!(message.contains(&format!("a {class} address")), "{target}: {message}");
        }
    })
    .await;
    let counted = stats(&host, "surfer").await;
    assert_eq!((&counted["denied"], &counted["refused"]), (&json!(1), &json!({"address_not_allowed": 2})), "{counted}");
    assert_eq!(other.requests(), 0);
    grant(&host, "surfer", &format!("http:{}", other.origin())).await;
    let elsewhere = told(fetch(&host, authorized(to(&other.url("/echo")))).await);
    assert_eq!((&elsewhere["method"], &elsewhere["authorization"]), (&json!("GET"), &Value::Null));
    let itself = fetch(&host, json!({"url": to("/echo"), "redirects": 0})).await;
    assert_eq!(itself["status"], 307);
    for name in ["host", "content-length", "Connection"] {
        let error = host.fail("fetch", json!({"url": server.url("/echo"), "headers": {name: "x"}})).await;
        assert_eq!(error["data"]["code"], "invalid_request", "{error}");
    }

    // What the operator closes is closed, connections that are kept among it.
    site.policy(&policy("10.0.0.0/8"));
    host.signal(Signal::HUP);
    until("the server is out of reach", async || {
        host.ask(Way::Mesh, "fetch", json!({"url": server.url("/echo")})).await["error"]["data"]["code"]
            == "address_not_allowed"
    })
    .await;
    host.stop().await;
}

/// Limit: `http_requests`, `http_requests_per_second`.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_few_at_once_bounded_in_size_and_in_rate() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("profile = 'development'");
    let host = site.start().await;
    let asked = json!({"http": [server.origin()]});
    let limits = json!({"http_requests": 2, "http_requests_per_second": 10, "memory": "16MiB"});
    host.install(&surfer().with("permissions", asked.clone()).with("limits", limits)).await;
    host.install(&Plugin::of("neighbour", "behave").with("permissions", asked)).await;
    let slow = || host.call("surfer.fetch", json!({"url": server.url("/slow")}));
    let (answers, beside) =
        tokio::join!(join_all((0..10).map(|_| slow())), host.call("neighbour.echo", json!({"message": 1})));
    assert_eq!(beside, 1);
    assert!(answers.iter().all(|answer| answer["status"] == 200), "{answers:?}");
    assert_eq!(server.seen.most.load(Ordering::Relaxed), 2, "`limits.http_requests`");

    // A quarter of its memory is what it can be given at once.
    let bytes =
        |count: usize| host.ask(Way::Mesh, "surfer.fetch", json!({"url": server.url(&format!("/bytes/{count}"))}));
    assert_eq!(bytes(4 << 20).await["result"]["bytes"], 4 << 20);
    let error = bytes((4 << 20) + 1).await["error"].take();
    assert_eq!(error["data"]["code"], "response_too_large", "{error}");

    let replies = join_all((0..40).map(|_| bytes(0))).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.get("error").is_some()).collect();
    assert!(refused.len() >= 10, "two seconds' worth came before: {}", refused.len());
    let told = refused[0]["error"]["message"].as_str().unwrap();
    assert_eq!(told, "more than 10 requests over HTTP a second (`limits.http_requests_per_second`)");
    assert!(stats(&host, "surfer").await["http"]["refused"].as_u64().unwrap() >= refused.len() as u64);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_with_the_call_that_made_it() {
    let (site, server) = (Site::on_nats(), Server::start().await);
    site.policy("profile = 'development'");
    let host = site.start().await;
    let asked = json!({"http": [server.origin()]});
    let limits = json!({"call_timeout": "300ms", "http_requests": 1});
    host.install(&surfer().with("permissions", asked).with("limits", limits)).await;
    let error = host.fail("fetch", json!({"url": server.url("/never")})).await;
    assert_eq!(error["data"]["code"], "deadline_exceeded", "{error}");
    // Its place is free again.
    until("the next request is sent", async || {
        host.ask(Way::Mesh, "fetch", json!({"url": server.url("/echo")})).await.get("result").is_some()
    })
    .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_secrets_are_read_by_name_once_they_are_granted() {
    let site = Site::on_nats();
    let secrets = site.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("token"), "s3cr3t-t0ken\n").unwrap();
    let mut command = site.command();
    command
        .env("STATION", "north")
        .env("DC_PLUGIN_DOCS_BASE_URL", "https://docs.test")
        .env("MORTISE_SECRET_other", "by-the-environment");
    command.arg("--secrets-dir").arg(&secrets);
    neighbour::settle(&site);
    let host = site.start_as(command).await;
    host.wait_for_loaded(&["neighbour"]).await;
    host.install(&surfer().with("permissions", json!({"env": ["STATION"], "secrets": ["token"]}))).await;
    for (times, function, name, cure) in [
        (1, "env", "STATION", "read the environment variable `STATION`: `mortise deploy grant surfer env:STATION`"),
        (2, "secret", "token", "read the secret `token`: `mortise deploy grant surfer secret:token`"),
    ] {
        let error = beside(&host, host.fail(function, json!({"name": name}))).await;
        let message = format!("the plugin may not {cure} would let it");
        assert_eq!((&error["data"]["code"], &error["message"]), (&json!("permission_denied"), &json!(message)));
        let counted = stats(&host, "surfer").await;
        assert_eq!((&counted["denied"], &counted["losses"]), (&json!(times), &json!({})), "{counted}");
    }
    for permission in [
        "env:STATION",
        "env:UNSET",
        "env:DC_PLUGIN_DOCS_BASE_URL",
        "env:MORTISE_SECRET_other",
        "secret:token",
        "secret:other",
        "secret:none",
    ] {
        grant(&host, "surfer", permission).await;
    }
    let env = async |name: &str| host.call("env", json!({"name": name})).await;
    assert_eq!(env("STATION").await, "north");
    assert_eq!(env("UNSET").await, Value::Null);
    // What the host itself is started with is never a plugin's.
    assert_eq!(env("DC_PLUGIN_DOCS_BASE_URL").await, Value::Null);
    assert_eq!(env("MORTISE_SECRET_other").await, Value::Null);
    assert_eq!(host.fail("env", json!({"name": "A=B"})).await["data"]["code"], "invalid_name");

    let length = async |name: &str| host.call("secret", json!({"name": name, "told": "length"})).await;
    assert_eq!((length("token").await, length("other").await), (json!(12), json!(18)));
    assert_eq!(length("none").await, 0);
    std::fs::write(secrets.join("token"), "renewed-t0ken").unwrap();
    assert_eq!(length("token").await, 13, "one that is replaced counts at once");
    assert_eq!(host.fail("secret", json!({"name": "../token"})).await["data"]["code"], "invalid_name");
    let told = async |how: &str| host.ask(Way::Mesh, "secret", json!({"name": "token", "told": how})).await;
    assert_eq!(told("result").await["result"], json!({"secret": "[secret token]"}));
    assert_eq!(told("error").await["error"]["message"], "the secret is [secret token].");
    let mut events = host.events().await;
    told("event").await;
    told("log").await;
    let event = events.next_where("no event", |message| message["method"] == "told").await;
    assert_eq!(event["params"]["secret"], "[secret token]", "{event}");
    let logs = host.succeed("get_plugin_logs", json!({"plugin_id": "surfer", "level": "info"})).await;
    assert_eq!(logs["lines"][0]["text"], "the secret is [secret token].", "{logs}");
    let teller = surfer().with("config", json!({"start": "tell"}));
    let refusal = host.refuse("install_plugin_from_bundle", bundle(&teller.tarball())).await;
    assert!(refusal["message"].as_str().unwrap().contains("[secret token]"), "{refusal}");
    let once = json!({"plugin_id": "surfer", "permission": "secret:brief", "once": true});
    host.result(Way::Control, "grant_plugin_permission", once).await;
    assert_eq!(length("brief").await, 0);
    let error = host.fail("secret", json!({"name": "brief"})).await;
    assert_eq!(error["data"]["code"], "permission_denied", "it was for a single time");
    assert!(!host.log().contains("t0ken"), "a secret is in no log");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_seen_as_they_were_granted_and_nothing_beyond() {
    let site = Site::on_nats();
    let root = site.path().canonicalize().unwrap();
    for folder in ["data", "writable", "hidden"] {
        std::fs::create_dir(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("data/a.txt"), "read me").unwrap();
    std::fs::write(root.join("hidden/secret.txt"), "not me").unwrap();
    std::os::unix::fs::symlink(root.join("hidden"), root.join("data/way-out")).unwrap();
    std::os::unix::fs::symlink("../hidden/secret.txt", root.join("data/file-out")).unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let files = json!([
        {"path": path("data"), "as": "/data"},
        {"path": path("writable"), "as": "/out", "mode": "rw"},
    ]);
    let mut command = site.command();
    command.env("STATION", "north");
    neighbour::settle(&site);
    let host = site.start_as(command).await;
    host.wait_for_loaded(&["neighbour"]).await;
    let reader = Plugin::of("reader", "wasi").with("permissions", json!({"files": files, "env": ["STATION"]}));
    host.install(&reader).await;
    assert_eq!(host.call("folders", json!({})).await, 2, "closed");
    let environment = host.call("environment", json!({})).await;
    assert_eq!(environment["variables"], json!({}));
    let read = async |path: &str| host.ask(Way::Mesh, "read_file", json!({"path": path})).await;
    let write = async |path: &str| host.ask(Way::Mesh, "write_file", json!({"path": path})).await;
    let not_permitted = |reply: &Value, path: &str| {
        let error = &reply["error"];
        assert_eq!(error["data"]["code"], "io", "{path}: {reply}");
        assert!(error["message"].as_str().unwrap().contains("not permitted"), "{path}: {reply}");
    };
    let (data, out) = (format!("files.ro:{}", path("data")), format!("files.rw:{}", path("writable")));
    beside(&host, async {
        not_permitted(&read("/data/a.txt").await, "/data/a.txt");
        not_permitted(&write("/out/new.txt").await, "/out/new.txt");
    })
    .await;
    assert_eq!(host.call("count", json!({})).await, 1);
    // It is told the cure where it can be, and one command is enough.
    assert_eq!(stats(&host, "reader").await["denied"], 2);
    let log = host.succeed("get_plugin_logs", json!({"plugin_id": "reader"})).await;
    for (folder, permission) in [("/data", &data), ("/out", &out)] {
        let cure = format!("`mortise deploy grant reader {permission}` would let it");
        let line = format!("the plugin may not see the folder `{folder}`: {cure}");
        assert!(log["lines"].as_array().unwrap().iter().any(|told| told["text"] == line.as_str()), "{log}");
        grant(&host, "reader", permission).await;
    }
    assert_eq!(read("/data/a.txt").await["result"], "read me", "without a reload");
    assert_eq!(host.call("folders", json!({})).await, 2);
    assert_eq!(host.call("count", json!({})).await, 2, "it is the same instance");
    // The environment is as it was when the instance began.
    grant(&host, "reader", "env:STATION").await;
    host.succeed("reload_plugin", json!({"plugin_id": "reader"})).await;
    assert_eq!(host.call("folders", json!({})).await, 2);
    assert_eq!(host.call("environment", json!({})).await["variables"], json!({"STATION": "north"}));
    assert_eq!(read("/data/a.txt").await["result"], "read me");
    let ways_out =
        ["/data/../hidden/secret.txt", "/data/way-out/secret.txt", "/data/file-out", "/out/../hidden/secret.txt"];
    let elsewhere = ["/hidden/secret.txt", "/etc/passwd"];
    beside(&host, async {
        for way_out in ways_out {
            not_permitted(&read(way_out).await, way_out);
        }
        for path in elsewhere {
            let reply = read(path).await;
            assert!(is_denied_by_std(&reply["error"]), "{path}: {reply}");
        }
    })
    .await;
    assert!(write("/out/new.txt").await.get("error").is_none());
    assert_eq!(std::fs::read_to_string(root.join("writable/new.txt")).unwrap(), "written by a guest");
    let unwritable = ["/data/new.txt", "/data/a.txt", "/out/../data/a.txt", "/data/way-out/new.txt"];
    beside(&host, async {
        for path in unwritable {
            not_permitted(&write(path).await, path);
        }
    })
    .await;
    assert_eq!(std::fs::read_to_string(root.join("data/a.txt")).unwrap(), "read me");
    for new in ["data/new.txt", "hidden/new.txt"] {
        assert!(!root.join(new).exists(), "{new}");
    }
    // A folder's edge is no permission: all that counts is that the calls failed.
    let counted = stats(&host, "reader").await;
    let failed = 2 + ways_out.len() + elsewhere.len() + unwritable.len();
    assert_eq!((&counted["calls"]["failed"], &counted["losses"]), (&json!(failed), &json!({})), "{counted}");

    let revoke = json!({"plugin_id": "reader", "permission": format!("files.ro:{}", path("data"))});
    let revoked = host.result(Way::Control, "revoke_plugin_permission", revoke).await;
    assert_eq!(revoked["status"], "success", "{revoked}");
    not_permitted(&read("/data/a.txt").await, "/data/a.txt");
    let single = json!({"plugin_id": "reader", "permission": "files.ro:/srv", "once": true});
    let refused = host.result(Way::Control, "grant_plugin_permission", single).await;
    assert_eq!(refused["code"], "invalid_argument", "{refused}");
    grant(&host, "reader", &data).await;
    assert_eq!(read("/data/a.txt").await["result"], "read me");

    // What serves goes on when its successor cannot have what it was granted.
    std::fs::remove_dir_all(root.join("writable")).unwrap();
    std::os::unix::fs::symlink(root.join("hidden"), root.join("writable")).unwrap();
    let refusal = host.refuse("reload_plugin", json!({"plugin_id": "reader"})).await;
    assert!(refusal["message"].as_str().unwrap().contains("a link leads to"), "{refusal}");
    assert_eq!(read("/data/a.txt").await["result"], "read me");
    let own = json!([{"path": site.state().canonicalize().unwrap(), "as": "/state"}]);
    let thief = Plugin::of("thief", "wasi").with("permissions", json!({"files": own}));
    host.install(&thief).await;
    grant(&host, "thief", &format!("files.ro:{}", site.state().canonicalize().unwrap().display())).await;
    let refusal = host.refuse("reload_plugin", json!({"plugin_id": "thief"})).await;
    assert!(refusal["message"].as_str().unwrap().contains("files of the host itself lie there"), "{refusal}");
    host.stop().await;
}
