//! The control socket: the same functions for the operator, over `<state_dir>/control.sock` (mode 0600).
//!
//! JSON-RPC 2.0, one object a line in either direction. Requests of one connection are served one after another.

use mortise_rpc::{CallError, Dispatcher, RpcCode, encode_refusal};
use std::borrow::Cow;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// The longest line that is read: a bundle of 40 MiB in base64.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// Connections served at once; further ones are turned away.
const CONNECTIONS_MAX: usize = 64;

/// How long accepting rests after it failed, and the most that turning a connection away may take.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the rest of a request may take to arrive that is too long.
const REST_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
struct ControlLimits {
    connections: usize,
    request_bytes: u64,
}

impl Default for ControlLimits {
    fn default() -> Self {
        Self { connections: CONNECTIONS_MAX, request_bytes: REQUEST_BYTES_MAX }
    }
}

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the control socket `{path}`")]
pub struct ControlError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ControlError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.is_too_long() { "socket_path_too_long" } else { "disk" }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        if self.is_too_long() {
            "set `--state-dir` to a shorter path on the same file system: a socket's path may have 107 bytes".to_owned()
        } else if self.source.kind() == io::ErrorKind::IsADirectory {
            "move away what is there, or name another folder with `--state-dir`".to_owned()
        } else {
            "the user that runs the host must be able to write there; `--state-dir` names another folder".to_owned()
        }
    }

    fn is_too_long(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidInput
    }
}

/// The control socket. Dropped, it closes and its file goes.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl ControlSocket {
    /// The longest line in either direction, in bytes, its end included.
    pub const LINE_BYTES_MAX: u64 = REQUEST_BYTES_MAX;

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
        Self::listen(state_dir, dispatcher, ControlLimits::default())
    }

    fn listen(state_dir: &Path, dispatcher: Dispatcher, limits: ControlLimits) -> Result<Self, ControlError> {
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
        let listening = Listening { listener, dispatcher, limits, cancel: cancel.clone(), tasks: tasks.clone() };
        tasks.spawn(listening.run());
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

/// One connection after the other, until it is cancelled.
struct Listening {
    listener: UnixListener,
    dispatcher: Dispatcher,
    limits: ControlLimits,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Listening {
    async fn run(self) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        while let Some(accepted) = self.cancel.run_until_cancelled(self.listener.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "failed to accept a control connection");
                    // Out of file descriptors, most likely: give others the time to close theirs.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                turn_away(stream, self.limits.connections).await;
                continue;
            };
            let mut connection = Connection::new(stream, self.limits.request_bytes);
            let (dispatcher, cancel) = (self.dispatcher.clone(), self.cancel.clone());
            self.tasks.spawn(async move {
                if let Err(error) = connection.serve(&dispatcher, &cancel).await {
                    debug!(%error, "a control connection ended early");
                }
                drop(place);
            });
        }
    }
}

/// Answers a connection that there is no place for. Its buffer is empty, so that writing does not wait.
async fn turn_away(mut stream: UnixStream, connections: usize) {
    warn!(connections, "turned a control connection away: too many are open");
    let reply =
        refusal(RpcCode::Failed, "busy", true, format!("the control socket has {connections} connections, its limit"));
    if let Ok(Err(error)) = timeout(ACCEPT_PAUSE, stream.write_all(&reply)).await {
        debug!(%error, "a control connection was gone before it was turned away");
    }
}

/// A line that says why nothing was done.
fn refusal(rpc: RpcCode, code: &'static str, retryable: bool, message: String) -> Vec<u8> {
    let mut line = encode_refusal(CallError { rpc, message, code: Cow::Borrowed(code), retryable });
    line.push(b'\n');
    line
}

struct Connection {
    lines: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    request_bytes_max: u64,
}

impl Connection {
    fn new(stream: UnixStream, request_bytes_max: u64) -> Self {
        let (read, write) = stream.into_split();
        Self { lines: BufReader::new(read), write, request_bytes_max }
    }

    async fn serve(&mut self, dispatcher: &Dispatcher, cancel: &CancellationToken) -> io::Result<()> {
        loop {
            // A fresh one each time: a bundle's megabytes are not kept for the next small request.
            let mut line = Vec::new();
            let mut limited = (&mut self.lines).take(self.request_bytes_max);
            let Some(read) = cancel.run_until_cancelled(limited.read_until(b'\n', &mut line)).await else {
                return Ok(());
            };
            if read? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') && line.len() as u64 == self.request_bytes_max {
                drop(line);
                return self.refuse_request(cancel).await;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if let Some(mut reply) = dispatcher.serve(&line).await {
                reply.push(b'\n');
                self.write.write_all(&reply).await?;
            }
        }
    }

    /// Says that the request is too long, and reads on to its end, as far as that comes soon: whoever is still writing
    /// when the connection closes never sees the answer.
    async fn refuse_request(&mut self, cancel: &CancellationToken) -> io::Result<()> {
        let bytes_max = self.request_bytes_max;
        warn!(bytes_max, "closed a control connection: its request is too long");
        let message = format!("the request has more than {bytes_max} bytes");
        self.write.write_all(&refusal(RpcCode::InvalidRequest, "request_too_large", false, message)).await?;
        let rest = async {
            loop {
                let buffered = self.lines.fill_buf().await?;
                let end = buffered.iter().position(|byte| *byte == b'\n');
                let read = end.map_or(buffered.len(), |end| end + 1);
                self.lines.consume(read);
                if end.is_some() || read == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // At the limit of time, or at the host's end, the caller has had its chance.
        cancel.run_until_cancelled(timeout(REST_TIMEOUT, rest)).await.map_or(Ok(()), |rest| rest.unwrap_or(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mortise_model::{DeviceId, Tenant};
    use mortise_rpc::{DeviceCard, Routes};
    use serde_json::Value;
    use tempfile::TempDir;

    const LONG: Duration = Duration::from_secs(20);
    const ASK: &[u8] = b"{\"id\":1,\"method\":\"requestRegistration\"}\n";

    fn socket(limits: ControlLimits) -> (ControlSocket, TempDir) {
        let card = DeviceCard {
            id: DeviceId::new("host-1").unwrap(),
            tenant: Tenant::new("lab").unwrap(),
            availability: "idle".into(),
            ttl: Duration::from_secs(15),
            version: "0".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        let dispatcher = Dispatcher::new(Arc::new(card), Routes::new());
        (ControlSocket::listen(folder.path(), dispatcher, limits).unwrap(), folder)
    }

    async fn connect(folder: &TempDir) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(ControlSocket::path_in(folder.path())).await.unwrap())
    }

    async fn read(stream: &mut BufReader<UnixStream>) -> Value {
        let mut line = String::new();
        timeout(LONG, stream.read_line(&mut line)).await.expect("an answer").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"))
    }

    async fn ask(stream: &mut BufReader<UnixStream>) -> Value {
        stream.write_all(ASK).await.unwrap();
        read(stream).await
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_so() {
        let (socket, folder) = socket(ControlLimits { connections: 2, ..ControlLimits::default() });
        let mut open = [connect(&folder).await, connect(&folder).await];
        for stream in &mut open {
            assert_eq!(ask(stream).await["result"]["device_id"], "host-1");
        }
        let mut refused = connect(&folder).await;
        let reply = read(&mut refused).await;
        let error = &reply["error"];
        assert_eq!(
            (&reply["id"], &error["code"], &error["data"]["code"]),
            (&Value::Null, &(-32000).into(), &"busy".into())
        );
        assert_eq!(error["data"]["retryable"], true);
        assert_eq!(refused.read_line(&mut String::new()).await.unwrap(), 0, "and it is closed");

        let [first, mut second] = open;
        drop(first);
        let again = async {
            loop {
                let mut stream = connect(&folder).await;
                // Whoever is turned away may find the connection closed already.
                let _ = stream.write_all(ASK).await;
                if read(&mut stream).await.get("result").is_some() {
                    return;
                }
            }
        };
        timeout(LONG, again).await.expect("a place is free again");
        assert_eq!(ask(&mut second).await["result"]["device_id"], "host-1");
        timeout(LONG, socket.close()).await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_is_too_long_is_told_so_even_while_it_is_written() {
        let (_socket, folder) = socket(ControlLimits { request_bytes: 1000, ..ControlLimits::default() });
        let mut stream = connect(&folder).await;
        let mut longest = ASK.to_vec();
        longest.splice(0..0, std::iter::repeat_n(b' ', 1000 - ASK.len()));
        stream.write_all(&longest).await.unwrap();
        assert_eq!(read(&mut stream).await["result"]["device_id"], "host-1");

        // More than any buffer on the way holds: somebody has to read it.
        let mut long = vec![b' '; 8 << 20];
        long.push(b'\n');
        timeout(LONG, stream.write_all(&long)).await.unwrap().unwrap();
        let reply = read(&mut stream).await;
        let error = &reply["error"];
        assert_eq!((&reply["id"], &error["code"]), (&Value::Null, &(-32600).into()));
        assert_eq!((&error["data"]["code"], &error["data"]["retryable"]), (&"request_too_large".into(), &false.into()));
        assert_eq!(stream.read_line(&mut String::new()).await.unwrap(), 0, "and it is closed");
    }
}
