//! The operator's way in: `<state_dir>/control.sock`, JSON-RPC 2.0, one object a line.

use crate::cli::output::CommandError;
use crate::cli::progress::Progress;
use anyhow::Context as _;
use mortise_manage::ControlSocket;
use serde_json::Value;
use std::io::ErrorKind;
use std::path::Path;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// What is written at once, so that progress can be shown.
const CHUNK_BYTES: usize = 256 << 10;

/// A connection to the host of a state folder.
pub(in crate::cli) struct ControlClient {
    stream: BufReader<UnixStream>,
}

impl ControlClient {
    /// Connects to the host that runs on `state_dir`; none if none does.
    pub(in crate::cli) async fn connect(state_dir: &Path) -> Result<Option<Self>, CommandError> {
        let path = ControlSocket::path_in(state_dir);
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Some(Self { stream: BufReader::new(stream) })),
            // A host that was killed leaves its socket behind, and then nobody listens.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => {
                let denied = error.kind() == ErrorKind::PermissionDenied;
                let context = format!("failed to connect to the host's control socket `{}`", path.display());
                let failure = CommandError::failed(anyhow::Error::new(error).context(context));
                Err(if denied { failure.hint("only the user that runs the host may use it") } else { failure })
            }
        }
    }

    /// Sends one request and waits for its reply; lines that answer something else are passed over.
    pub(in crate::cli) async fn exchange(
        &mut self,
        request: &Value,
        progress: &Progress,
    ) -> Result<Value, CommandError> {
        // JSON text holds no line break of its own.
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        if line.len() as u64 > ControlSocket::LINE_BYTES_MAX {
            let error = anyhow::anyhow!(
                "the request has {} bytes, more than the {} that a control socket takes",
                line.len(),
                ControlSocket::LINE_BYTES_MAX
            );
            return Err(CommandError::failed(error));
        }
        progress.sending(line.len());
        for chunk in line.chunks(CHUNK_BYTES) {
            self.stream.write_all(chunk).await.context("failed to send the request to the host")?;
            progress.sent(chunk.len());
        }
        self.stream.flush().await.context("failed to send the request to the host")?;
        progress.stage("waiting for the host".to_owned());
        loop {
            let reply = self.read_line().await?;
            let reply: Value = serde_json::from_slice(&reply).context("the host's reply is not JSON")?;
            if reply.get("id") == request.get("id") {
                return Ok(reply);
            }
        }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, CommandError> {
        let mut line = Vec::new();
        let limit = ControlSocket::LINE_BYTES_MAX;
        let read = (&mut self.stream).take(limit).read_until(b'\n', &mut line).await;
        read.context("failed to read the host's reply")?;
        match line.last() {
            Some(b'\n') => Ok(line),
            Some(_) if line.len() as u64 == limit => {
                Err(CommandError::failed(anyhow::anyhow!("the host's reply is longer than {limit} bytes")))
            }
            _ => Err(CommandError::failed(anyhow::anyhow!("the host closed the connection without an answer"))),
        }
    }
}
