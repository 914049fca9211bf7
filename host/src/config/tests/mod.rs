//! Configuration as tables: flags and environment in, result or errors out.

mod artifact;
mod client;
mod credentials;
mod host;
mod install;
mod reference;

use super::env::Environment;
use super::{ConfigErrors, HostConfig, HostFlags, HostResolution, resolve_host};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolved(flags: &HostFlags, variables: &[(&str, &str)]) -> Result<HostResolution, ConfigErrors> {
    resolve_host(flags, &environment(variables) as &dyn Environment)
}

/// The configuration, where it has to be right.
fn good(flags: &HostFlags, variables: &[(&str, &str)]) -> HostConfig {
    match resolved(flags, variables) {
        Ok(resolution) => resolution.config,
        Err(errors) => panic!("{variables:?}: {errors}"),
    }
}

/// The messages, where it has to be wrong, and whether that is a wrong call.
fn bad(flags: &HostFlags, variables: &[(&str, &str)]) -> (Vec<String>, bool) {
    match resolved(flags, variables) {
        Ok(resolution) => panic!("{variables:?}: {:?}", resolution.config),
        Err(errors) => (errors.iter().map(ToString::to_string).collect(), errors.is_usage()),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const NATS_JSON: &str = r#"{"device_id": "acme-hub", "auth_type": "jwt", "tenant": "acme",
    "nats": {"urls": ["nats://broker.example:4222"], "jwt": "eyJ0.jwt", "nkey_seed": "SUAseed", "tls": {"ca_file": "ca.pem"}}}"#;

const ZENOH_JSON: &str = r#"{"device_id": "acme-hub", "auth_type": "mtls", "tenant": "acme",
    "zenoh": {"urls": ["zenoh+tls://broker.example:7447"],
        "tls": {"ca_pem": "-----BEGIN CA", "cert_pem": "-----BEGIN CERT", "key_pem": "-----BEGIN KEY"}}}"#;

const CREDS_TEXT: &str = "-----BEGIN NATS USER JWT-----\n  eyJ0\n.jwt\n------END NATS USER JWT------\n\n\
    ************************* IMPORTANT *************************\n\
    -----BEGIN USER NKEY SEED-----\n* keep it\nSUAseed\n------END USER NKEY SEED------\n";
