//! An HTTP server that does what a test says, over TLS with an authority of its own, and a host that downloads from it.

use mortise_delivery::{FetchConfig, FetchError, FetchOutcome, Fetched, Fetcher, Known, Staging};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a server does with one request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends this and closes as it should.
    Send(Vec<u8>),
    /// Sends this and nothing more, for as long as the client stays.
    Stall(Vec<u8>),
    /// Sends this and lets the connection drop dead.
    Reset(Vec<u8>),
}

/// A complete answer.
pub(crate) fn answer(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Reply::Send(bytes)
}

pub(crate) fn redirect(to: &str) -> Reply {
    answer(302, &format!("Location: {to}\r\n"), "")
}

/// Gets the number of the request, from 0, and its path.
type Script = dyn Fn(usize, &str) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Server {
    pub(crate) async fn https(
        authority: &Authority,
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(authority.acceptor()), Arc::new(script)).await
    }

    pub(crate) async fn http(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(script)).await
    }

    async fn start(tls: Option<TlsAcceptor>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, script, seen) = (tls.clone(), Arc::clone(&script), Arc::clone(&seen));
                connections.spawn(async move {
                    // So that a dropped connection is a reset one.
                    match tls {
                        None => serve(stream, |stream| stream, &*script, &seen).await,
                        Some(tls) => {
                            // A client that does not like the certificate leaves.
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(stream, |stream| stream.into_inner().0, &*script, &seen).await;
                        }
                    }
                });
            }
        });
        Self { address, requests, _task: task }
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    into_tcp: fn(S) -> TcpStream,
    script: &Script,
    seen: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(head);
        seen.len() - 1
    };
    // The client may leave at any moment: what it makes of the answer is what the test looks at.
    match script(number, &path) {
        Reply::Send(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            let _ = stream.read_u8().await;
        }
        Reply::Reset(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            into_tcp(stream).set_zero_linger().unwrap();
        }
    }
}

/// A certificate authority whose servers are `plugins.test` and `mirror.test`.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn file(&self) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(self.0.pem().as_bytes()).unwrap();
        file
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let names = vec!["plugins.test".to_owned(), "mirror.test".to_owned()];
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A host that may download from this machine, and in which nothing may be left behind.
pub(crate) struct Host {
    pub(crate) config: FetchConfig,
    pub(crate) staging: Staging,
    authority: Authority,
    _ca_file: NamedTempFile,
    _state: TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::new("trusted");
        let ca_file = authority.file();
        let config = FetchConfig {
            bytes_max: 10_000,
            allow_private: true,
            idle_timeout: Duration::from_secs(20),
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(2),
            ca_files: vec![ca_file.path().to_owned()],
            ..FetchConfig::default()
        };
        let staging = Staging::open(state.path()).unwrap();
        Self { config, staging, authority, _ca_file: ca_file, _state: state }
    }

    /// Starts a server at `https://plugins.test` and `https://mirror.test`.
    pub(crate) async fn serve(&mut self, script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
        let server = Server::https(&self.authority, script).await;
        for name in ["plugins.test", "mirror.test"] {
            self.config.resolve.push((name.to_owned(), server.address));
        }
        server
    }

    pub(crate) async fn fetch_known(&self, url: &str, known: Option<&Known>) -> Result<FetchOutcome, FetchError> {
        Fetcher::new(self.config.clone())?.fetch(url, known, &self.staging).await
    }

    pub(crate) async fn fetch(&self, url: &str) -> Fetched {
        match self.fetch_known(url, None).await.unwrap() {
            FetchOutcome::Archive(fetched) => fetched,
            FetchOutcome::NotModified { .. } => panic!("there is nothing that it could be the same as"),
        }
    }

    /// A download that must fail, and leave nothing.
    pub(crate) async fn refuse(&self, url: &str) -> FetchError {
        let error = self.fetch_known(url, None).await.unwrap_err();
        assert_eq!(self.staged(), 0, "{error}");
        assert!(!error.code().is_empty() && !error.hint().is_empty());
        error
    }

    /// How many files lie in staging.
    pub(crate) fn staged(&self) -> usize {
        std::fs::read_dir(self.staging.path()).unwrap().count()
    }
}

/// Everything that an error says to anybody.
pub(crate) fn everything(error: &FetchError) -> String {
    let mut text = format!("{error} {error:?} {}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}
