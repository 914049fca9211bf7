//! The control socket: the same functions for the operator, over `<state_dir>/control.sock` (mode 0600).
//!
//! JSON-RPC 2.0, one object a line in either direction. Requests of one connection are served one after another.

use mortise_rpc::Dispatcher;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// The longest line that is read: a bundle of 40 MiB in base64.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Connections served at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the control socket `{path}`")]
pub struct ControlError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The control socket. Dropped, it closes and its file goes.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl ControlSocket {
    /// Where the socket of a state folder lies.
    #[must_use]
    pub fn path_in(state_dir: &Path) -> PathBuf {
        state_dir.join("control.sock")
    }

    /// Listens in `state_dir`, whose lock the caller holds: a socket file that is there already is a leftover.
    ///
    /// # Errors
    /// [`ControlError`], for instance when the path is longer than a socket address may be (108 bytes).
    pub fn open(state_dir: &Path, dispatcher: Dispatcher) -> Result<Self, ControlError> {
        let path = Self::path_in(state_dir);
        let failed = |source| ControlError { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // The folder is 0700, so nobody can reach the socket before its mode is set.
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(listener, dispatcher, cancel.clone(), tasks.clone()));
        Ok(Self { path, cancel, tasks })
    }

    /// Accepts nothing more and waits for the answers that are owed, as long as the caller waits.
    pub async fn close(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(%error, "the control socket's file was gone already");
        }
    }
}

async fn accept(listener: UnixListener, dispatcher: Dispatcher, cancel: CancellationToken, tasks: TaskTracker) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            // Never closed.
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let Some(Some((accepted, place))) = cancel.run_until_cancelled(next).await else {
            return;
        };
        match accepted {
            Ok((stream, _)) => {
                let (dispatcher, cancel) = (dispatcher.clone(), cancel.clone());
                tasks.spawn(async move {
                    if let Err(error) = serve(stream, &dispatcher, &cancel).await {
                        debug!(%error, "a control connection ended early");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "failed to accept a control connection");
                // Out of file descriptors, most likely: give others the time to close theirs.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, dispatcher: &Dispatcher, cancel: &CancellationToken) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        // A fresh one each time: a bundle's megabytes are not kept for the next small request.
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(REQUEST_BYTES_MAX);
        let Some(read) = cancel.run_until_cancelled(limited.read_until(b'\n', &mut line)).await else {
            return Ok(());
        };
        if read? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == REQUEST_BYTES_MAX {
            warn!(limit = REQUEST_BYTES_MAX, "closed a control connection: its request is too long");
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Some(mut reply) = dispatcher.serve(&line).await {
            reply.push(b'\n');
            write.write_all(&reply).await?;
        }
    }
}
