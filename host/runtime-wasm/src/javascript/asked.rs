//! `__host`, the one function of the host's that the boot script has: what a plugin may ask for, as `host::plugin` answers it.

use super::abi::{Abi, Cx, Value};
use super::words;
use crate::bindings::mortise::plugin::host::{Host as _, Level, PluginIdentity};
use crate::bindings::mortise::plugin::types::Failure;
use crate::guest::CROSSING_BYTES_MAX;
use serde_json::json;
use wasmtime::{AsContextMut as _, Caller, Error, Result};

/// What the boot script is answered.
enum Answer {
    Nothing,
    Null,
    Text(String),
    Number(f64),
    Bytes(Vec<u8>),
}

/// The arguments of one call, taken in their order.
struct Arguments<'a, 'b> {
    cx: &'a mut Cx<'b>,
    abi: &'a Abi,
    values: std::vec::IntoIter<Value>,
    /// How many bytes may still cross.
    bytes_left: usize,
}

/// Answers one call. What is thrown away here is the instance: the boot script asks for nothing that is not there.
pub(super) async fn call(mut caller: Caller<'_, crate::view::State>, count: u32, at: u32) -> Result<u32> {
    let cx = &mut caller.as_context_mut();
    let abi = &super::abi_of(cx)?;
    let values = abi.arguments(cx, count, at)?.into_iter();
    let mut arguments = Arguments { cx, abi, values, bytes_left: CROSSING_BYTES_MAX };
    let answer = arguments.answer().await?;
    let value = match answer {
        Answer::Nothing => abi.undefined(cx).await,
        Answer::Null => abi.null(cx).await,
        Answer::Text(text) => abi.new_text(cx, &text).await,
        Answer::Number(number) => abi.new_number(cx, number).await,
        Answer::Bytes(bytes) => abi.new_bytes(cx, &bytes).await,
    };
    Ok(value?.pointer())
}

impl Arguments<'_, '_> {
    async fn answer(&mut self) -> Result<Answer> {
        let name = self.text().await?;
        Ok(match name.as_str() {
            "log" => {
                let (level, target, message) = (self.text().await?, self.text().await?, self.text().await?);
                self.host().log(level_of(&level)?, target, message);
                Answer::Nothing
            }
            "emit" => {
                let (event, payload) = (self.text().await?, self.text().await?);
                let emitted = self.host().emit(event, payload);
                done(emitted)
            }
            "config" => Answer::Text(self.host().config()),
            "identity" => {
                let PluginIdentity { plugin, device, tenant } = self.host().identity();
                Answer::Text(words::text(json!({"plugin": plugin, "device": device, "tenant": tenant})))
            }
            // Milliseconds: what is lost of a double's precision is less than a microsecond for centuries.
            #[expect(clippy::cast_precision_loss, reason = "see above")]
            "monotonic" => Answer::Number(self.host().monotonic_time_ns() as f64 / 1e6),
            "random" => {
                let length = self.count().await?;
                Answer::Bytes(self.host().random(length))
            }
            "state-get" => {
                let key = self.text().await?;
                match self.host().state_get(key).await {
                    Ok(Some(value)) => Answer::Bytes(value),
                    Ok(None) => Answer::Null,
                    Err(failure) => failed(failure),
                }
            }
            "state-set" => {
                let (key, value) = (self.text().await?, self.bytes().await?);
                done(self.host().state_set(key, value).await)
            }
            "state-delete" => {
                let key = self.text().await?;
                done(self.host().state_delete(key).await)
            }
            "state-keys" => {
                let (prefix, after, limit) = (self.text().await?, self.optional_text().await?, self.count().await?);
                match self.host().state_keys(prefix, after, limit).await {
                    Ok(keys) => Answer::Text(words::text(json!(keys))),
                    Err(failure) => failed(failure),
                }
            }
            "start-op" => {
                let (id, kind, json) = (self.id().await?, self.text().await?, self.text().await?);
                let body = self.optional_bytes().await?;
                let op = words::op(&kind, &json, body)?;
                self.host().start_op(id, op)?;
                Answer::Nothing
            }
            "cancel-op" => {
                let id = self.id().await?;
                self.host().cancel_op(id);
                Answer::Nothing
            }
            "source" => {
                let module = self.text().await?;
                super::read(self.cx, module).await?.map_or_else(|_| Answer::Null, Answer::Text)
            }
            other => return Err(Error::msg(format!("the host has no function `{other}`"))),
        })
    }

    fn host(&mut self) -> &mut crate::view::HostView {
        &mut self.cx.data_mut().host
    }

    fn next(&mut self) -> Result<Value> {
        self.values.next().ok_or_else(|| Error::msg("the host was called with too few arguments"))
    }

    async fn text(&mut self) -> Result<String> {
        let value = self.next()?;
        self.text_of(value).await
    }

    async fn text_of(&mut self, value: Value) -> Result<String> {
        if !self.abi.is_text(self.cx, value).await? {
            return Err(wrong("text"));
        }
        let text = self.abi.text(self.cx, value, self.bytes_left).await?.map_err(|_| too_large())?;
        self.bytes_left -= text.len();
        Ok(text)
    }

    async fn optional_text(&mut self) -> Result<Option<String>> {
        let value = self.next()?;
        if self.abi.is_nothing(self.cx, value).await? {
            return Ok(None);
        }
        self.text_of(value).await.map(Some)
    }

    async fn bytes(&mut self) -> Result<Vec<u8>> {
        let value = self.next()?;
        let bytes = self.abi.bytes(self.cx, value, self.bytes_left).await?.ok_or_else(too_large)?;
        self.bytes_left -= bytes.len();
        Ok(bytes)
    }

    /// None where the argument is left out.
    async fn optional_bytes(&mut self) -> Result<Vec<u8>> {
        match self.values.as_slice().first() {
            Some(value) if !self.abi.is_nothing(self.cx, *value).await? => self.bytes().await,
            _ => Ok(Vec::new()),
        }
    }

    /// A whole number that a double tells from every other.
    async fn id(&mut self) -> Result<u64> {
        let value = self.next()?;
        if !self.abi.is_number(self.cx, value).await? {
            return Err(wrong("a number"));
        }
        words::whole(self.abi.number(self.cx, value).await?)
    }

    async fn count(&mut self) -> Result<u32> {
        Ok(u32::try_from(self.id().await?).unwrap_or(u32::MAX))
    }
}

fn done(result: std::result::Result<(), Failure>) -> Answer {
    result.map_or_else(failed, |()| Answer::Nothing)
}

fn failed(failure: Failure) -> Answer {
    Answer::Text(words::failure_text(failure))
}

fn level_of(level: &str) -> Result<Level> {
    Ok(match level {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        other => return Err(Error::msg(format!("there is no level `{other}`"))),
    })
}

fn wrong(expected: &str) -> Error {
    Error::msg(format!("the host was called with what is not {expected}"))
}

fn too_large() -> Error {
    Error::msg(format!("the host was given more than {} MiB at once", CROSSING_BYTES_MAX >> 20))
}
