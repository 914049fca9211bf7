//! What the device tells a registry and its peers of itself (wire contract 4.1, 4.3, 5.2, 5.4).

use crate::device::{DeviceCard, Identity, Status, epoch_seconds};
use bytes::Bytes;
use mortise_model::Json;
use serde::Serialize;
use std::time::SystemTime;

#[derive(Serialize)]
struct Registration<'a> {
    device_id: &'a str,
    device_ttl: u64,
    capabilities: &'a Json,
    identity: Identity<'a>,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Presence<'a> {
    device_id: &'a str,
    capabilities: &'a Json,
    identity: Identity<'a>,
    status: Status<'a>,
    ts: f64,
    d2d: bool,
}

#[derive(Serialize)]
struct Departure<'a> {
    device_id: &'a str,
    tenant: &'a str,
    departing: bool,
    ts: f64,
}

#[derive(Serialize)]
struct Heartbeat<'a> {
    device_id: &'a str,
    ts: f64,
}

fn encode(message: &impl Serialize) -> Bytes {
    // Texts, finite numbers and checked JSON always serialise.
    serde_json::to_vec(message).unwrap_or_default().into()
}

/// The answer to `requestRegistration`.
pub(crate) fn registration(card: &DeviceCard, capabilities: &Json) -> Json {
    let now = SystemTime::now();
    let registration = Registration {
        device_id: card.id.as_str(),
        device_ttl: card.ttl.as_secs().max(1),
        capabilities,
        identity: card.identity(),
        status: card.status(now),
    };
    serde_json::value::to_raw_value(&registration).unwrap_or_default().into()
}

pub(crate) fn presence(card: &DeviceCard, capabilities: &Json, now: SystemTime) -> Bytes {
    encode(&Presence {
        device_id: card.id.as_str(),
        capabilities,
        identity: card.identity(),
        status: card.status(now),
        ts: epoch_seconds(now),
        d2d: true,
    })
}

pub(crate) fn departure(card: &DeviceCard, now: SystemTime) -> Bytes {
    encode(&Departure {
        device_id: card.id.as_str(),
        tenant: card.tenant.as_str(),
        departing: true,
        ts: epoch_seconds(now),
    })
}

pub(crate) fn heartbeat(card: &DeviceCard, now: SystemTime) -> Bytes {
    encode(&Heartbeat { device_id: card.id.as_str(), ts: epoch_seconds(now) })
}

/// Bytes that a registration or presence needs beside the capabilities; measured generously.
pub const ADVERTISEMENT_ENVELOPE_BYTES: usize = 2048;
