//! What the device says of itself.

use mortise_model::{DeviceId, LabelValue, Labels, Tenant};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The device's fixed face (wire contract 6.3).
#[derive(Debug, Clone)]
pub struct DeviceCard {
    /// The one identity of all plugins.
    pub id: DeviceId,
    /// The tenant it belongs to.
    pub tenant: Tenant,
    /// `availability` while the host serves: `idle` unless the operator chose another word.
    pub availability: String,
    /// How long a registry keeps the device without a heartbeat; whole seconds, at least 1.
    pub ttl: Duration,
    /// The product's version, as `firmware_version`.
    pub version: String,
}

/// `identity` (wire contract 4.1): absent fields are left out, never `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Identity<'a> {
    device_type: &'static str,
    manufacturer: &'static str,
    model: String,
    firmware_version: &'a str,
    arch: &'static str,
    description: &'static str,
}

/// `status` (wire contract 4.1, 5.2): never `null`.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    availability: &'a str,
    busy_score: f64,
    online: bool,
    ts: String,
}

impl DeviceCard {
    pub(crate) const DESCRIPTION: &'static str =
        "Hosts plugins that are installed, swapped and removed while it runs; their functions are its own.";

    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            device_type: "plugin_host",
            manufacturer: "Device Connect",
            model: format!("Plugin Host ({})", self.id),
            firmware_version: &self.version,
            arch: match std::env::consts::ARCH {
                "aarch64" => "arm64",
                other => other,
            },
            description: Self::DESCRIPTION,
        }
    }

    pub(crate) fn status(&self, now: SystemTime) -> Status<'_> {
        Status { availability: &self.availability, busy_score: 0.0, online: true, ts: timestamp_text(now) }
    }

    /// The reference's labels verbatim, and selectable twins of those whose keys hold a colon (wire contract 6.3, 7.6).
    pub(crate) fn labels() -> Labels {
        let entries = [
            ("category", "hub"),
            ("plugin_driver:role", "plugin_host"),
            ("plugin_driver:authoring_rpc", "get_plugin_authoring_guide"),
            ("plugin_driver:template_rpc", "get_plugin_template"),
            ("plugin_driver:examples_rpc", "list_plugin_examples"),
        ];
        let twins = entries.map(|(key, value)| (key.replace(':', "."), value));
        let entries = entries.map(|(key, value)| (key.to_owned(), value));
        entries.into_iter().chain(twins).map(|(key, value)| (key, LabelValue::Text(value.to_owned()))).collect()
    }
}

/// Seconds since the Unix epoch with fraction.
pub(crate) fn epoch_seconds(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `YYYY-MM-DDTHH:MM:SSZ`, UTC, whole seconds.
pub(crate) fn timestamp_text(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_both_forms_of_the_wire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_268_800_250);
        assert_eq!(timestamp_text(now), "2026-01-01T12:00:00Z");
        assert_eq!(epoch_seconds(now), 1_767_268_800.25);
    }
}
