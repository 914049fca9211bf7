//! The HTTP server: accepting, limiting, ending.

use crate::routes::router;
use crate::store::ArtifactStore;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Request line and headers together.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// How long to leave the system alone when it cannot accept a connection, for want of file descriptors perhaps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What clients may keep busy. The server has no authentication, so these hold for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at the same time; others wait in the system's queue.
    pub connections_max: usize,
    /// From the moment a request could begin to the end of its headers; a connection without one ends.
    pub head_timeout: Duration,
    /// How long a client may take nothing of what is sent.
    pub stall_timeout: Duration,
    /// How long one connection may last, however busy.
    pub connection_time_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            connection_time_max: Duration::from_secs(3600),
        }
    }
}

/// The server could not take its address.
#[derive(Debug, thiserror::Error)]
#[error("failed to bind the artifact server to `{address}`")]
pub struct BindError {
    /// Host and port as configured.
    pub address: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl BindError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "artifact_bind"
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: choose another port".to_owned(),
            io::ErrorKind::AddrNotAvailable => "choose an address of this machine".to_owned(),
            io::ErrorKind::PermissionDenied => "choose a port above 1023".to_owned(),
            _ => format!("the system says: {}", self.source),
        }
    }
}

/// A server that has its address and does not serve yet.
#[derive(Debug)]
pub struct ArtifactServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl ArtifactServer {
    /// Takes the address: `host` is an IP address, or a name of this machine; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(host: &str, port: u16) -> Result<Self, BindError> {
        let bound = match TcpListener::bind((host, port)).await {
            Ok(listener) => listener.local_addr().map(|address| Self { listener, address }),
            Err(error) => Err(error),
        };
        bound.map_err(|source| BindError { address: format!("{host}:{port}"), source })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to serve `store`, on the current tokio runtime.
    pub fn serve(self, store: ArtifactStore, limits: ServerLimits) -> Serving {
        let (tasks, stop, kill) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let door = Door {
            places: Arc::new(Semaphore::new(limits.connections_max)),
            router: router(store),
            limits,
            tasks: tasks.clone(),
            stop: stop.clone(),
            kill: kill.clone(),
        };
        tasks.spawn(door.accept(self.listener));
        Serving { address: self.address, tasks, stop, kill }
    }
}

/// A server at work. Dropping it ends every connection without waiting.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct Serving {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets running downloads end for at most `patience`, then cuts them. Returns when no task
    /// of the server is left, with whether every download ended by itself. Dropping the future cuts them at once.
    pub async fn close(self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(patience, self.tasks.wait()).await.is_ok();
        self.kill.cancel();
        self.tasks.wait().await;
        ended
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// Lets connections in.
struct Door {
    router: Router,
    limits: ServerLimits,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No more connections and no more requests.
    stop: CancellationToken,
    /// Nothing more at all.
    kill: CancellationToken,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        let accepting = async {
            loop {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => self.admit(stream, place),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection to the artifact server");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = self.stop.cancelled() => {}
            () = self.kill.cancelled() => {}
        }
    }

    fn admit(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        // Only latency depends on it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let limits = self.limits;
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.stall_timeout));
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let (stop, kill) = (self.stop.clone(), self.kill.clone());
        self.tasks.spawn(async move {
            let _place = place;
            let serving = async {
                tokio::pin!(connection);
                let result = tokio::select! {
                    result = &mut connection => result,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = result {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(limits.connection_time_max, serving) => {}
                () = kill.cancelled() => {}
            }
        });
    }
}
