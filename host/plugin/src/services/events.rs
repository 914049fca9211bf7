//! Events of a plugin's own.

use super::{HOST_EVENTS, PERMISSION_DENIED, RATE_LIMITED, Services, too_many};
use crate::authority::Denied;
use mortise_model::{EmittedName, Failure, Json, glob};
use std::sync::PoisonError;

/// How many events one generation may emit before it is activated, and how many bytes they may have.
const HELD_EVENTS_MAX: usize = 1000;
const HELD_BYTES_MAX: usize = 1 << 20;

impl Services {
    /// Publishes an event of this device, or holds it until activation. Never blocks. What precedes the first `/` of
    /// `event` stays in the message's `method` and is no part of the subject (wire contract 8.1).
    ///
    /// # Errors
    /// A [`Failure`] for a name whose rest is not one subject token, one of [`HOST_EVENTS`], an event that the manifest binds it not to emit or the policy does not let it, a
    /// payload that is no object, one over `limits.event`,
    /// for more than 1,000 events or 1 MiB of them before activation, and after it for more than
    /// `limits.events_per_second`.
    pub fn emit(&self, event: &str, payload: Json) -> Result<(), Failure> {
        self.publish(event, payload).inspect_err(|failure| {
            // Those two are counted where they are judged.
            if ![RATE_LIMITED, PERMISSION_DENIED].contains(&&*failure.code) {
                self.account.count_failure(failure);
            }
        })
    }

    fn publish(&self, event: &str, payload: Json) -> Result<(), Failure> {
        let event = EmittedName::new(event).map_err(|error| Failure::new("invalid_event", error.to_string()))?;
        if !payload.is_object() {
            return Err(Failure::new("invalid_event", format!("the payload of event `{event}` is not a JSON object")));
        }
        if HOST_EVENTS.contains(&event.event().as_str()) {
            return Err(Failure::new(
                "reserved_event",
                format!("the plugin may not emit `{event}`: that event is the host's own, choose another name"),
            ));
        }
        let (size, limit) = (payload.as_str().len(), self.limits().event);
        if size as u64 > limit.0 {
            return Err(Failure::new(
                "event_too_large",
                format!("the payload of event `{event}` has {size} bytes, more than `limits.event` ({limit})"),
            ));
        }
        let own = self.manifest.emits.as_ref();
        if own.is_some_and(|own| !own.iter().any(|pattern| glob(pattern, event.event().as_str()))) {
            return Err(Failure::new(
                "not_declared",
                format!("the plugin may not emit `{event}`: list it in `permissions.mesh.emit` of its manifest"),
            ));
        }
        if !self.authority.lets_emit(self.asker(), event.event()) {
            let cure =
                format!("the operator's policy has to name it in `emit` of the rule for plugin `{}`", self.plugin);
            return Err(self.denied(&format!("emit `{event}`"), &Denied { cure }));
        }
        self.account.redaction.name(event.as_str())?;
        let payload = self.account.redaction.json(payload)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            None => {
                let per_second = self.limits().events_per_second;
                if !self.account.events.admit(per_second) {
                    return Err(too_many("events", "events_per_second", per_second));
                }
                self.account.events.bytes.sent(payload.as_str().len());
                self.backend.emit(Some(&self.account.emitter), event, payload);
            }
            Some(held) if held.events.len() < HELD_EVENTS_MAX && held.bytes + size <= HELD_BYTES_MAX => {
                held.bytes += size;
                held.events.push((event, payload));
            }
            Some(_) => {
                return Err(Failure::new(
                    "too_many_events",
                    format!(
                        "more than {HELD_EVENTS_MAX} events, or {HELD_BYTES_MAX} bytes, before the plugin is active"
                    ),
                ));
            }
        }
        Ok(())
    }
}
