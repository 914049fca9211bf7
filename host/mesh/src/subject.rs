//! Subjects in dotted form: the only place that builds names (wire contract 2.1).

use mortise_model::{DeviceId, EventName, Tenant};
use std::fmt;
use std::sync::Arc;

/// A subject or pattern in dotted form. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// A subject received from a transport, already dotted.
    #[must_use]
    pub fn received(text: &str) -> Self {
        Self(text.into())
    }

    /// The dotted text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this subject, read as a pattern, takes `other`: `*` stands for one token, a last `>` for one or more.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let mut tokens = other.0.split('.');
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The subjects of one tenant.
#[derive(Debug, Clone)]
pub struct Subjects {
    tenant: Tenant,
}

impl Subjects {
    /// The subjects of `tenant`.
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        Self { tenant }
    }

    fn device_subject(&self, device: &DeviceId, tail: &str) -> Subject {
        Subject(format!("device-connect.{}.{device}.{tail}", self.tenant).into())
    }

    fn tenant_subject(&self, tail: &str) -> Subject {
        Subject(format!("device-connect.{}.{tail}", self.tenant).into())
    }

    /// Commands to a device.
    #[must_use]
    pub fn command(&self, device: &DeviceId) -> Subject {
        self.device_subject(device, "cmd")
    }

    /// An event of a device.
    #[must_use]
    pub fn event(&self, device: &DeviceId, event: &EventName) -> Subject {
        self.device_subject(device, &format!("event.{event}"))
    }

    /// A device's heartbeat.
    #[must_use]
    pub fn heartbeat(&self, device: &DeviceId) -> Subject {
        self.device_subject(device, "heartbeat")
    }

    /// A device's presence.
    #[must_use]
    pub fn presence(&self, device: &DeviceId) -> Subject {
        self.device_subject(device, "presence")
    }

    /// The presence of every device of the tenant (a pattern).
    #[must_use]
    pub fn presence_of_all(&self) -> Subject {
        self.tenant_subject("*.presence")
    }

    /// Asks every device for its presence.
    #[must_use]
    pub fn probe(&self) -> Subject {
        self.tenant_subject("discovery.probe")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_they_should() {
        for (pattern, subject, taken) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.b.c", false),
            ("a.*", "a", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("*.presence", "a.b.presence", false),
        ] {
            assert_eq!(
                Subject::received(pattern).matches(&Subject::received(subject)),
                taken,
                "`{pattern}` against `{subject}`"
            );
        }
    }
}
