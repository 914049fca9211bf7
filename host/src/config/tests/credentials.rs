use super::*;
use crate::config::MeshConfig;
use mortise_mesh::Pem;

fn file_flag(path: &Path) -> HostFlags {
    HostFlags {
        nats_credentials_file: Some(path.display().to_string()),
        discovery_mode: Some("d2d".into()),
        ..HostFlags::default()
    }
}

#[test]
fn a_portal_file_for_nats_gives_identity_broker_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", NATS_JSON);
    let ca = write(folder.path(), "ca.pem", "PEM");
    let config = good(&file_flag(&path), &[]);
    assert_eq!((config.device_id.as_str(), config.tenant.as_str()), ("acme-hub", "acme"));
    let MeshConfig::Nats(nats) = config.mesh else { panic!("not NATS") };
    assert_eq!(nats.urls, ["nats://broker.example:4222"]);
    let auth = nats.auth.unwrap();
    assert_eq!((auth.jwt.expose(), auth.seed.expose()), ("eyJ0.jwt", "SUAseed"));
    // Found beside the credentials file, wherever the host was started.
    assert_eq!(nats.tls.unwrap().ca, Some(Pem::File(ca)));
}

#[test]
fn a_portal_file_for_zenoh_gives_endpoints_and_inline_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", ZENOH_JSON);
    let flags = HostFlags { portal: true, portal_credentials: Some(path.display().to_string()), ..file_flag(&path) };
    let resolution = resolved(&flags, &[]).unwrap();
    assert!(!format!("{:?}", resolution.settings).contains("BEGIN"), "{:?}", resolution.settings);
    let MeshConfig::Zenoh(zenoh) = resolution.config.mesh else { panic!("not Zenoh") };
    assert_eq!(zenoh.urls, ["zenoh+tls://broker.example:7447"]);
    let tls = zenoh.tls.unwrap();
    let Some(Pem::Inline(key)) = &tls.key else { panic!("{tls:?}") };
    assert_eq!(key.expose(), "-----BEGIN KEY");
    assert!(!format!("{tls:?}").contains("BEGIN"));
}

#[test]
fn creds_text_is_nats_and_needs_a_url() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds", CREDS_TEXT);
    assert_eq!(bad(&file_flag(&path), &[]).0, ["backend `nats` needs a broker URL"]);
    let MeshConfig::Nats(nats) = good(&file_flag(&path), &[("NATS_URL", "nats://h")]).mesh else { panic!("not NATS") };
    let auth = nats.auth.unwrap();
    assert_eq!((auth.jwt.expose(), auth.seed.expose()), ("eyJ0.jwt", "SUAseed"));

    // The richer sibling is preferred; only the suffix counts, not `.creds` elsewhere in the path.
    let nested = folder.path().join("x.creds.d");
    std::fs::create_dir(&nested).unwrap();
    let path = write(&nested, "hub.creds", CREDS_TEXT);
    write(&nested, "hub.creds.json", NATS_JSON);
    assert_eq!(good(&file_flag(&path), &[]).device_id.as_str(), "acme-hub");
}

#[test]
fn files_that_are_none_are_refused_without_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.creds", "-----BEGIN NATS USER JWT-----\nSECRET\n");
    assert_eq!(bad(&file_flag(&path), &[]).0[0], format!("Invalid .creds file format: {}", path.display()));
    let path = write(folder.path(), "b.json", r#"{"nats": {"jwt": {"SECRET": 1}}}"#);
    let (errors, usage) = bad(&file_flag(&path), &[]);
    assert!(errors[0].starts_with("invalid credentials file") && !errors[0].contains("SECRET"), "{errors:?}");
    assert!(!usage);
    let (errors, _) = bad(&file_flag(Path::new("/nowhere/x.creds")), &[]);
    assert_eq!(errors, ["failed to read credentials file `/nowhere/x.creds` named by flag `--nats-credentials-file`"]);
}

#[test]
fn an_id_that_differs_from_the_files_is_refused_unless_insecure() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", NATS_JSON);
    let (errors, _) = bad(&file_flag(&path), &[("DEVICE_ID", "other")]);
    assert!(errors[0].contains("`other`") && errors[0].contains("`acme-hub`"), "{errors:?}");
    let config = good(&file_flag(&path), &[("DEVICE_ID", "other"), ("DEVICE_CONNECT_ALLOW_INSECURE", "on")]);
    assert_eq!(config.device_id.as_str(), "other");
    // In portal mode the file comes before the environment, and only the flag contradicts it.
    let portal = HostFlags { portal: true, ..file_flag(&path) };
    let config = good(&portal, &[("DEVICE_ID", "other"), ("TENANT", "elsewhere")]);
    assert_eq!((config.device_id.as_str(), config.tenant.as_str()), ("acme-hub", "acme"));
    let flagged = HostFlags { device_id: Some("other".into()), ..portal };
    assert_eq!(bad(&flagged, &[]).0.len(), 1);
}

#[test]
fn the_files_tenant_counts_while_nobody_says_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", NATS_JSON);
    assert_eq!(good(&file_flag(&path), &[("TENANT", "default")]).tenant.as_str(), "acme");
    assert_eq!(good(&file_flag(&path), &[("TENANT", "mine")]).tenant.as_str(), "mine");
}

#[test]
fn portal_mode_takes_the_newest_file_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let older = write(folder.path(), "z.creds.json", &NATS_JSON.replace("acme-hub", "older"));
    let newer = write(folder.path(), "a.creds.json", NATS_JSON);
    write(folder.path(), "b.json", &NATS_JSON.replace("acme-hub", "unmatched"));
    let now = std::time::SystemTime::now();
    let set = |path: &Path, time| std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    set(&older, now - std::time::Duration::from_secs(60));
    set(&newer, now);
    let flags = HostFlags {
        portal: true,
        portal_credentials_dir: Some(folder.path().display().to_string()),
        discovery_mode: Some("d2d".into()),
        ..HostFlags::default()
    };
    assert_eq!(good(&flags, &[]).device_id.as_str(), "acme-hub");
    // A file that is named comes before any that is found.
    let variables = [("MESSAGING_CREDENTIALS_FILE", older.to_str().unwrap())];
    assert_eq!(good(&flags, &variables).device_id.as_str(), "older");

    let flags = HostFlags { portal_credentials_glob: Some("*.none".into()), ..flags };
    let (errors, usage) = bad(&flags, &[]);
    assert!(usage && errors[0].contains("`*.none`"), "{errors:?}");
}

#[test]
fn portal_mode_wants_a_registry_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", NATS_JSON);
    let flags = HostFlags { portal: true, discovery_mode: None, ..file_flag(&path) };
    let (errors, usage) = bad(&flags, &[]);
    assert!(usage && errors[0].contains("registry"), "{errors:?}");
}

#[test]
fn a_file_without_nats_is_no_authentication_for_nats() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "hub.creds.json", ZENOH_JSON);
    let (errors, _) = bad(&file_flag(&path), &[("NATS_URL", "nats://h")]);
    assert!(errors[0].contains("holds no NATS JWT"), "{errors:?}");
}
