//! An archive that is larger than one message: begun, appended in parts, committed.

use super::Bundle;
use crate::cli::client::{CallFailure, HostClient};
use crate::cli::output::CommandError;
use crate::cli::progress::Progress;
use crate::config::ClientConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What a request has beside its parameters, in bytes, with room to spare: envelope, names, numbers.
const ENVELOPE_BYTES: usize = 1024;

/// The largest part, in bytes: one that is lost costs little, and the bar moves.
const CHUNK_BYTES_MAX: usize = 768 << 10;

/// How long the answer to a part may take before the part is sent again. Unlike the commit it only writes.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(15);

/// How often in a row a step may bring the upload no further.
const FUTILE_MAX: u32 = 4;

/// Whether the archive fits into one request together with `params`.
pub(super) fn fits(bundle: &Bundle, params: &Map<String, Value>, request_bytes_max: usize) -> bool {
    let params: usize = params.iter().map(|(key, value)| key.len() + value.to_string().len() + 4).sum();
    // Four characters for each three bytes, the last ones padded.
    let encoded = bundle.bytes.len().div_ceil(3).saturating_mul(4);
    encoded.saturating_add(params).saturating_add(ENVELOPE_BYTES) <= request_bytes_max
}

/// Calls to the host under which an upload goes: the connection, or a test's.
pub(super) trait Host {
    /// Waits for the result of one call.
    async fn call(&mut self, method: &str, params: Map<String, Value>) -> Result<Value, CallFailure>;

    /// Between two attempts.
    async fn pause(&mut self);

    /// So many bytes more are there.
    fn arrived(&mut self, bytes: u64);
}

/// A connection to a host.
pub(super) struct Calls<'a> {
    pub(super) client: &'a mut HostClient,
    pub(super) config: &'a ClientConfig,
    pub(super) progress: &'a Progress,
}

impl Host for Calls<'_> {
    async fn call(&mut self, method: &str, params: Map<String, Value>) -> Result<Value, CallFailure> {
        let last = matches!(method, COMMIT | PLAN);
        let timeout = if last { self.config.timeout } else { self.config.timeout.min(CHUNK_TIMEOUT) };
        if last {
            self.progress.stage("waiting for the host".to_owned());
        }
        self.client.call(method, params, timeout, &Progress::none()).await
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    fn arrived(&mut self, bytes: u64) {
        self.progress.sent(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

const BEGIN: &str = "begin_plugin_upload";
const APPEND: &str = "append_plugin_upload";
pub(super) const COMMIT: &str = "commit_plugin_upload";
pub(super) const PLAN: &str = "plan_plugin_install";

/// Uploads `bundle` and has it installed, or planned: the result of the last call, or the refusal that ended the upload.
///
/// A part whose reply was lost is sent again; the host says where it goes on. `params` are those of the `last` call.
pub(super) async fn send(
    bundle: &Bundle,
    last: &str,
    mut params: Map<String, Value>,
    request_bytes_max: usize,
    mut host: impl Host,
) -> Result<Value, CallFailure> {
    let chunk_bytes = (request_bytes_max.saturating_sub(ENVELOPE_BYTES) / 4).saturating_mul(3).min(CHUNK_BYTES_MAX);
    if chunk_bytes == 0 {
        let error = anyhow::anyhow!("messages of at most {request_bytes_max} bytes are too small for an upload");
        return Err(CallFailure::Final(CommandError::failed(error).hint("raise the broker's message limit")));
    }
    let total = bundle.bytes.len();
    let begin = Map::from_iter([("total_bytes".to_owned(), json!(total)), ("digest".to_owned(), json!(bundle.digest))]);
    let begun = host.call(BEGIN, begin).await.map_err(without_uploads)?;
    let Some(upload_id) = begun.get("upload_id").and_then(Value::as_str).map(str::to_owned) else {
        return refused(begun, BEGIN);
    };
    let mut offset = 0;
    let mut futile = 0;
    while let Some(rest) = bundle.bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let chunk = rest.get(..chunk_bytes).unwrap_or(rest);
        let append = Map::from_iter([
            ("upload_id".to_owned(), json!(upload_id)),
            ("offset".to_owned(), json!(offset)),
            ("chunk_b64".to_owned(), json!(STANDARD.encode(chunk))),
        ]);
        let reply = match host.call(APPEND, append).await {
            Ok(reply) => reply,
            Err(CallFailure::Lost(error)) => {
                futile += 1;
                if futile == FUTILE_MAX {
                    return Err(CallFailure::Lost(error));
                }
                host.pause().await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let next = reply.get("next_offset").and_then(Value::as_u64).and_then(|next| usize::try_from(next).ok());
        let is_refused = reply.get("status").and_then(Value::as_str) == Some("error");
        match next.filter(|next| *next <= total) {
            // Also when it is refused: the host may have more of it, or less, than was answered.
            Some(next) if next != offset => {
                let further = next.saturating_sub(offset);
                host.arrived(further as u64);
                futile = if further > 0 { 0 } else { futile + 1 };
                if futile == FUTILE_MAX {
                    return refused(reply, APPEND);
                }
                offset = next;
            }
            _ if is_refused => return Ok(reply),
            _ => return refused(reply, APPEND),
        }
    }
    params.insert("upload_id".to_owned(), json!(upload_id));
    host.call(last, params).await
}

/// The host's own refusal is the result; anything else that does not bring the upload further is a failure.
fn refused(reply: Value, method: &str) -> Result<Value, CallFailure> {
    if reply.get("status").and_then(Value::as_str) == Some("error") {
        return Ok(reply);
    }
    let error = anyhow::anyhow!("the host's reply to `{method}` cannot be understood");
    Err(CallFailure::Answered(CommandError::failed(error)))
}

/// Hosts of other makes have no uploads: then the way is another.
fn without_uploads(failure: CallFailure) -> CallFailure {
    let hint = "the archive is larger than one message of the mesh; if this host takes no uploads, install on its own machine \
                without `--host`, or raise the broker's message limit";
    match failure {
        CallFailure::Lost(error) => CallFailure::Lost(error.hint(hint)),
        CallFailure::Final(error) => CallFailure::Final(error.hint(hint)),
        CallFailure::Answered(error) => CallFailure::Answered(error.hint(hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that keeps what comes, and loses what it is told to lose.
    #[derive(Default)]
    struct Fake {
        received: Vec<u8>,
        calls: Vec<String>,
        /// Of the appends, by number: whether the request is lost, or only its reply.
        lost: Vec<(usize, bool)>,
        appends: usize,
        request_bytes_max: usize,
        arrived: u64,
    }

    impl Host for &mut Fake {
        async fn call(&mut self, method: &str, params: Map<String, Value>) -> Result<Value, CallFailure> {
            let request = json!({"jsonrpc": "2.0", "id": "d2d-000000000000", "method": method, "params": params});
            assert!(request.to_string().len() <= self.request_bytes_max, "{method}");
            self.calls.push(method.to_owned());
            match method {
                BEGIN => Ok(json!({"status": "success", "upload_id": "u", "next_offset": 0})),
                APPEND => {
                    let number = self.appends;
                    self.appends += 1;
                    let lost = self.lost.iter().find(|(lost, _)| *lost == number).map(|(_, request)| *request);
                    if lost != Some(true) {
                        let chunk = STANDARD.decode(params["chunk_b64"].as_str().unwrap()).unwrap();
                        let offset = usize::try_from(params["offset"].as_u64().unwrap()).unwrap();
                        if offset > self.received.len() {
                            let next = self.received.len();
                            return Ok(json!({"status": "error", "code": "upload_gap", "next_offset": next}));
                        }
                        self.received.truncate(offset);
                        self.received.extend(chunk);
                    }
                    match lost {
                        Some(_) => Err(CallFailure::Lost(CommandError::failed(anyhow::anyhow!("no answer")))),
                        None => Ok(json!({"status": "success", "next_offset": self.received.len()})),
                    }
                }
                _ => Ok(json!({"status": "success", "params": params})),
            }
        }

        async fn pause(&mut self) {}

        fn arrived(&mut self, bytes: u64) {
            self.arrived += bytes;
        }
    }

    fn bundle(bytes: usize) -> Bundle {
        Bundle { bytes: (0..bytes).map(|n| (n % 251) as u8).collect(), digest: "sha256:d".to_owned() }
    }

    fn params() -> Map<String, Value> {
        Map::from_iter([("load".to_owned(), json!(true)), ("plugin_id".to_owned(), json!("p"))])
    }

    #[tokio::test]
    async fn everything_arrives_once_whatever_is_lost() {
        let bundle = bundle(20_000);
        for lost in [vec![], vec![(0, true)], vec![(1, false), (2, false)], vec![(3, true), (4, false), (5, true)]] {
            let mut fake = Fake { lost, request_bytes_max: 6000, ..Fake::default() };
            let result = send(&bundle, COMMIT, params(), 6000, &mut fake).await.unwrap();
            assert_eq!(result["params"], json!({"load": true, "plugin_id": "p", "upload_id": "u"}));
            assert_eq!(fake.received, bundle.bytes);
            assert_eq!(fake.arrived, 20_000);
            assert!(fake.calls.len() > 5, "{:?}", fake.calls);
        }
    }

    #[tokio::test]
    async fn a_host_that_answers_no_more_is_given_up() {
        let lost = (1..20).map(|number| (number, true)).collect();
        let mut fake = Fake { lost, request_bytes_max: 6000, ..Fake::default() };
        let error = send(&bundle(20_000), COMMIT, params(), 6000, &mut fake).await.unwrap_err();
        assert_eq!(error.into_error().chain(), "no answer");
        assert_eq!(fake.appends, 1 + FUTILE_MAX as usize);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_upload_and_is_the_result() {
        struct Refusing(&'static str);
        impl Host for Refusing {
            async fn call(&mut self, method: &str, _: Map<String, Value>) -> Result<Value, CallFailure> {
                if method == self.0 {
                    return Ok(json!({"status": "error", "code": "uploads_full", "message": "no room"}));
                }
                Ok(json!({"status": "success", "upload_id": "u", "next_offset": 0}))
            }

            async fn pause(&mut self) {}

            fn arrived(&mut self, _: u64) {}
        }
        for method in [BEGIN, APPEND] {
            let result = send(&bundle(20_000), COMMIT, params(), 6000, Refusing(method)).await.unwrap();
            assert_eq!(result["code"], "uploads_full", "{method}");
        }
        let error = send(&bundle(20_000), COMMIT, params(), 6000, Refusing("none")).await.unwrap_err();
        assert_eq!(error.into_error().chain(), "the host's reply to `append_plugin_upload` cannot be understood");
    }

    #[test]
    fn what_fits_is_sent_at_once() {
        let fits_into = |bytes, limit| fits(&bundle(bytes), &params(), limit);
        assert!(fits_into(3000, 6000));
        assert!(!fits_into(4500, 6000), "in base64 it is larger");
        assert!(fits_into(1 << 20, usize::MAX));
    }
}
