//! Requests that try to leave the store (wire contract 10.9, and 11, S6). Sent as they are: no client normalises them.

use crate::fixture::{Fixture, ask, get};
use mortise_artifact::ServerLimits;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::symlink;

#[tokio::test]
async fn nothing_outside_the_store_is_served() {
    let fixture = Fixture::new();
    fixture.put("demo/0.1.0.tgz", "archive");
    fixture.put("demo/.lock", "secret");
    fixture.put("demo/notes.txt", "secret");
    fixture.put("stray.tgz", "secret");
    fs::create_dir(fixture.outer().join("x")).unwrap();
    fs::write(fixture.outer().join("x/file"), "secret").unwrap();
    fs::write(fixture.outer().join("x/1.tgz"), "secret").unwrap();
    let serving = fixture.serve(ServerLimits::default()).await;
    let absolute = fixture.outer().join("secret.tgz").display().to_string();
    let mut paths: Vec<Vec<u8>> = [
        "/artifacts/..%2F..%2Fx/file",
        "/artifacts/..%2fx/1.tgz",
        "/artifacts/demo/..%2F..%2F..%2Fsecret.tgz",
        "/artifacts/demo/..%2F..%2Fx%2F1.tgz",
        "/artifacts/%2e%2e/secret.tgz",
        "/artifacts/%2E%2E/%2E%2E/secret.tgz",
        "/artifacts/demo/%2e%2e",
        "/artifacts/../secret.tgz",
        "/artifacts/../x/1.tgz",
        "/artifacts/demo/../../secret.tgz",
        "/artifacts/./stray.tgz",
        "/artifacts/%2e/stray.tgz",
        "/artifacts/.%2f/stray.tgz",
        "/artifacts/..%252Fx/1.tgz",
        "/artifacts/%252e%252e/secret.tgz",
        "/artifacts/%252e%252e%252fx/1.tgz",
        "/artifacts/..%c0%afx/1.tgz",
        "/artifacts/%c0%ae%c0%ae/secret.tgz",
        "/artifacts/..\\x/1.tgz",
        "/artifacts/..%5cx/1.tgz",
        "/artifacts/demo/..%5c..%5csecret.tgz",
        "/artifacts/demo/0.1.0.tgz%00",
        "/artifacts/demo%00/0.1.0.tgz",
        "/artifacts/demo/%00.tgz",
        "/artifacts/demo/0.1.0.tgz%00.txt",
        "/artifacts/demo/0.1.0.tgz%0a",
        "/artifacts/demo/0.1.0.tgz%20",
        "/artifacts/demo/0.1.0.tgz/",
        "/artifacts/demo/0.1.0.tgz/.",
        "/artifacts//demo/0.1.0.tgz",
        "//artifacts/demo/0.1.0.tgz",
        "/artifacts/demo//0.1.0.tgz",
        "/artifacts/%2Fetc/passwd",
        "/artifacts//etc/passwd",
        "/artifacts/%2fetc%2fpasswd/x.tgz",
        "/artifacts/demo/.lock",
        "/artifacts/demo/%2elock",
        "/artifacts/demo/notes.txt",
        "/artifacts/demo/.",
        "/artifacts/demo/%",
        "/artifacts/demo/%zz.tgz",
        "/artifacts/demo/%ff.tgz",
        "/artifacts/demo/\u{2024}\u{2024}.tgz",
    ]
    .map(|path| path.as_bytes().to_vec())
    .to_vec();
    paths.push(format!("/artifacts/demo/{}", absolute.replace('/', "%2F")).into_bytes());
    paths.push(format!("/artifacts/demo/{absolute}").into_bytes());
    paths.push(absolute.into_bytes());
    paths.push(b"http://x/artifacts/%2e%2e/secret.tgz".to_vec());
    paths.push(b"/artifacts/demo\0/0.1.0.tgz".to_vec());
    paths.push(b"/artifacts/demo/0.1.0.tgz\0".to_vec());
    paths.push(b"/artifacts/\xff\xfe/0.1.0.tgz".to_vec());
    paths.push(format!("/artifacts/{}/1.tgz", "x".repeat(5000)).into_bytes());
    paths.push(format!("/artifacts/demo/{}.tgz", "x".repeat(5000)).into_bytes());
    paths.push(format!("/artifacts/{}secret.tgz", "../".repeat(500)).into_bytes());
    for path in paths {
        let shown = String::from_utf8_lossy(&path).into_owned();
        let reply = ask(serving.address(), &[b"GET ", path.as_slice()].concat(), "").await;
        // Whoever asks in something that is no HTTP hears so before the routes do.
        assert!(reply.status == 404 || reply.status == 400, "{shown}: {}", reply.status);
        assert!(reply.status == 400 || reply.text() == "404: Not Found", "{shown}: {}", reply.text());
    }
    // Decoded once, a name may well be an artifact's.
    for path in ["/artifacts/demo/0.1.0.tgz", "/artifacts/%64emo/0%2E1.0.tgz", "http://x/artifacts/demo/0.1.0.tgz"] {
        assert_eq!(get(serving.address(), path, "").await.text(), "archive", "{path}");
    }
}

#[tokio::test]
async fn links_and_what_is_no_file_are_not_served() {
    let fixture = Fixture::new();
    fixture.put("demo/0.1.0.tgz", "archive");
    fixture.put("other/0.1.0.tgz", "archive");
    symlink(fixture.outer().join("secret.tgz"), fixture.path("demo/absolute.tgz")).unwrap();
    symlink("../../secret.tgz", fixture.path("demo/relative.tgz")).unwrap();
    symlink("0.1.0.tgz", fixture.path("demo/inside.tgz")).unwrap();
    symlink("/proc/self/environ", fixture.path("demo/environ.tgz")).unwrap();
    symlink("../../secret.tgz", fixture.path("demo/artifact.json")).unwrap();
    symlink(fixture.outer(), fixture.path("outer")).unwrap();
    symlink("other", fixture.path("linked")).unwrap();
    fs::create_dir(fixture.path("demo/folder.tgz")).unwrap();
    mknodat(CWD, fixture.path("demo/pipe.tgz"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("demo/socket.tgz")).unwrap();
    let serving = fixture.serve(ServerLimits::default()).await;
    for path in [
        "demo/absolute.tgz",
        "demo/relative.tgz",
        "demo/inside.tgz",
        "demo/environ.tgz",
        "demo/artifact.json",
        "demo/folder.tgz",
        "demo/pipe.tgz",
        "demo/socket.tgz",
        "outer/secret.tgz",
        "linked/0.1.0.tgz",
    ] {
        let reply = get(serving.address(), &format!("/artifacts/{path}"), "").await;
        assert_eq!((reply.status, reply.text().as_str()), (404, "404: Not Found"), "{path}");
    }
    let listed = get(serving.address(), "/artifacts", "").await.text();
    // Two archives, in either list.
    assert_eq!(listed.matches("filename").count(), 4, "{listed}");
    assert_eq!(get(serving.address(), "/artifacts/demo/0.1.0.tgz", "").await.text(), "archive");
}
