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

    /// Events of one device or of all, of one name or of all (a pattern).
    #[must_use]
    pub fn events(&self, device: Option<&DeviceId>, event: Option<&EventName>) -> Subject {
        let device = device.map_or("*", DeviceId::as_str);
        self.tenant_subject(&format!("{device}.event.{}", event.map_or("*", EventName::as_str)))
    }

    /// Whose event goes by `subject`, and which; none where it is no event of this tenant.
    #[must_use]
    pub fn event_of(&self, subject: &Subject) -> Option<(DeviceId, EventName)> {
        let rest = subject.as_str().strip_prefix("device-connect.")?.strip_prefix(self.tenant.as_str())?;
        // A device's id may hold dots.
        let (device, event) = rest.strip_prefix('.')?.rsplit_once(".event.")?;
        Some((DeviceId::new(device).ok()?, EventName::new(event).ok()?))
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
    fn events_are_known_by_their_subject() {
        let subjects = Subjects::new(Tenant::new("lab").unwrap());
        let event_of = |subject: &str| subjects.event_of(&Subject::received(subject));
        for device in ["camera-1", "a.b", "event"] {
            let event = (DeviceId::new(device).unwrap(), EventName::new("motion").unwrap());
            let subject = subjects.event(&event.0, &event.1);
            assert_eq!(event_of(subject.as_str()), Some(event), "{subject}");
        }
        for other in [
            "device-connect.other.camera-1.event.motion",
            "device-connect.lab2.camera-1.event.motion",
            "device-connect.lab.camera-1.event.async_reply.1",
            "device-connect.lab.camera-1.cmd",
            "device-connect.lab.*.event.motion",
            "device-connect.lab.camera-1.event.",
            "lab.camera-1.event.motion",
        ] {
            assert_eq!(event_of(other), None, "{other}");
        }
        let pattern = subjects.events(None, Some(&EventName::new("motion").unwrap()));
        assert_eq!(pattern.as_str(), "device-connect.lab.*.event.motion");
    }

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
