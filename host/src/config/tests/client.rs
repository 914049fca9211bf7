use super::*;
use crate::config::{ClientConfig, ClientFlags, MeshConfig, resolve_client};
use std::time::Duration;

fn client(flags: &ClientFlags, variables: &[(&str, &str)]) -> ClientConfig {
    resolve_client(flags, &environment(variables)).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_client_without_any_setting_means_this_machine_or_the_local_network() {
    let config = client(&ClientFlags::default(), &[]);
    assert!(config.host.is_none() && !config.state_dir_named);
    assert!(config.state_dir.ends_with("capabilities/.mortise"));
    assert_eq!(config.timeout, Duration::from_secs(60));
    assert_eq!(config.mesh.target(), "Zenoh peers");
}

#[test]
fn the_files_urls_tenant_and_certificates_are_used() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "hub.creds.json", NATS_JSON);
    let config = client(
        &ClientFlags::default(),
        &[("PORTAL_CREDENTIALS_DIR", folder.path().to_str().unwrap()), ("TENANT", "other")],
    );
    assert_eq!(config.tenant.as_str(), "acme");
    let MeshConfig::Nats(nats) = config.mesh else { panic!("not NATS") };
    assert_eq!(nats.urls, ["nats://broker.example:4222"]);
    assert!(nats.auth.is_some() && nats.tls.is_some());

    let text = write(folder.path(), "plain.creds", CREDS_TEXT);
    let config = client(&ClientFlags { credentials: Some(text.display().to_string()), ..ClientFlags::default() }, &[]);
    assert_eq!(config.mesh.target(), "`nats://portal.deviceconnect.dev:4222`");
}

#[test]
fn no_authentication_is_fine_for_a_client() {
    let flags = ClientFlags { messaging_urls: vec!["nats://u:pw@h:4222".into()], ..ClientFlags::default() };
    let config = client(&flags, &[]);
    assert_eq!(config.mesh.target(), "`nats://***@h:4222`");
}

#[test]
fn a_client_is_told_of_a_flag_without_effect_as_well() {
    let flags = ClientFlags { zenoh_scouting_interface: Some("lo".into()), ..ClientFlags::default() };
    client(&flags, &[]);
    let flags = ClientFlags { messaging_urls: vec!["nats://h".into()], ..flags };
    let errors = resolve_client(&flags, &environment(&[])).unwrap_err();
    assert!(errors.is_usage() && errors.to_string().contains("has no effect"), "{errors}");
}

#[test]
fn the_timeout_is_seconds_or_a_duration() {
    let timeout = |text: &str| {
        resolve_client(&ClientFlags { timeout: Some(text.into()), ..ClientFlags::default() }, &environment(&[]))
            .map(|config| config.timeout)
    };
    assert_eq!(timeout("5").unwrap(), Duration::from_secs(5));
    assert_eq!(timeout("2m").unwrap(), Duration::from_secs(120));
    for bad in ["0", "soon", "-1", "25h"] {
        assert!(timeout(bad).unwrap_err().is_usage(), "{bad}");
    }
    assert_eq!(
        client(&ClientFlags::default(), &[("DC_PLUGIN_DEPLOY_TIMEOUT", "7.5")]).timeout,
        Duration::from_millis(7500)
    );
}

/// Wire contract 9.4 and 10.11.
#[test]
fn under_the_references_name_the_references_rules_hold() {
    let home = tempfile::tempdir().unwrap();
    let variables = [("HOME", home.path().to_str().unwrap())];
    let flags = ClientFlags { host: Some("hub".into()), as_reference: true, ..ClientFlags::default() };
    assert_eq!(client(&flags, &variables).mesh.target(), "Zenoh peers");
    assert_eq!(client(&flags, &[]).mesh.target(), "Zenoh peers", "no home, no credentials in it");

    let folder = home.path().join(".config/device-connect");
    std::fs::create_dir_all(&folder).unwrap();
    write(&folder, "hub.creds.json", NATS_JSON);
    let config = client(&flags, &variables);
    assert_eq!((config.mesh.target().as_str(), config.tenant.as_str()), ("`nats://broker.example:4222`", "acme"));
    assert_eq!(client(&ClientFlags { as_reference: false, ..flags.clone() }, &variables).mesh.target(), "Zenoh peers");

    for host in [None, Some(" ".to_owned())] {
        let errors = resolve_client(&ClientFlags { host, ..flags.clone() }, &environment(&[])).unwrap_err();
        assert!(errors.is_usage() && errors.to_string() == "`--host` is missing", "{errors}");
    }
}
