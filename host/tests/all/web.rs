//! A web server that speaks plain http, and knows what its clients have.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Serves one archive at every path, and its signature beside it. Its thread ends with the process.
pub(crate) struct Web {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    archive: Vec<u8>,
    /// With its status, at paths that end in `.minisig`.
    signature: Option<(u16, Vec<u8>)>,
    /// None: it sends no validators.
    etag: Option<String>,
    /// The status of each answer, in order, and whether the request had a condition.
    answers: Vec<(u16, bool)>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&stream.unwrap(), &mut shared.lock().unwrap());
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// What is served from now on, under which validator.
    pub(crate) fn serve(&self, archive: Vec<u8>, etag: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        state.archive = archive;
        state.etag = etag.map(str::to_owned);
    }

    /// What lies beside the archive from now on.
    pub(crate) fn sign(&self, signature: &str) {
        self.sign_with(200, signature);
    }

    /// What is answered for it from now on.
    pub(crate) fn sign_with(&self, status: u16, body: &str) {
        self.state.lock().unwrap().signature = Some((status, body.as_bytes().to_vec()));
    }

    /// The answers since this was last asked.
    pub(crate) fn answers(&self) -> Vec<(u16, bool)> {
        std::mem::take(&mut self.state.lock().unwrap().answers)
    }
}

fn answer(stream: &TcpStream, state: &mut State) {
    let mut condition = None;
    let mut is_signature = false;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        let path = line.strip_prefix("GET ").and_then(|rest| rest.split(['?', ' ']).next());
        is_signature |= path.is_some_and(|path| path.ends_with(".minisig"));
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("if-none-match")
        {
            condition = Some(value.to_owned());
        }
    }
    let same = condition.is_some() && condition == state.etag;
    let (status, body) = match &state.signature {
        Some((status, signature)) if is_signature => (*status, &signature[..]),
        None if is_signature => (404, &[][..]),
        _ if same => (304, &[][..]),
        _ => (200, &state.archive[..]),
    };
    state.answers.push((status, condition.is_some()));
    let etag = state.etag.as_ref().map_or_else(String::new, |etag| format!("ETag: {etag}\r\n"));
    let head = format!("HTTP/1.1 {status} X\r\n{etag}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    // A client that hangs up is what its test will tell.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}
