//! The bare responder: an async-nats loop that parses and answers the same JSON-RPC, and does nothing else.

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    method: &'a str,
    params: Echo<'a>,
}

#[derive(Deserialize)]
struct Echo<'a> {
    #[serde(borrow)]
    message: &'a str,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: Echoed<'a>,
}

#[derive(Serialize)]
struct Echoed<'a> {
    message: &'a str,
    tick: u64,
}

/// Answers until it is killed.
///
/// # Errors
///
/// The broker refused the connection.
#[tokio::main]
pub(crate) async fn respond(url: &str, subject: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(url).await?;
    let mut requests = client.subscribe(subject.to_owned()).await?;
    client.flush().await?;
    let mut tick = 0;
    while let Some(message) = requests.next().await {
        let Some(reply_to) = message.reply else { continue };
        let Ok(request) = serde_json::from_slice::<Request<'_>>(&message.payload) else { continue };
        if request.method != "echo" {
            continue;
        }
        tick += 1;
        let result = Echoed { message: request.params.message, tick };
        let reply = serde_json::to_vec(&Reply { jsonrpc: "2.0", id: request.id, result })?;
        client.publish(reply_to, reply.into()).await?;
    }
    Ok(())
}
