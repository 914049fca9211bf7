use super::*;
use crate::config::{ArtifactFlags, ArtifactResolution, ConfigWarning, resolve_artifacts};
use mortise_telemetry::LogLevel;

#[test]
fn the_server_is_off_and_local_as_in_the_reference_host() {
    let artifacts = good(&HostFlags::default(), &[("DC_PLUGIN_CAPABILITIES_DIR", "/c")]).artifacts;
    assert!(!artifacts.serve);
    assert_eq!(artifacts.dir, Path::new("/c/.artifacts"));
    assert_eq!((artifacts.host.as_str(), artifacts.port, artifacts.public_url), ("127.0.0.1", 8790, None));
}

#[test]
fn it_is_turned_on_by_flag_or_variable_and_placed_by_variables() {
    let flags = HostFlags { artifact_serve: true, ..HostFlags::default() };
    assert!(good(&flags, &[("DC_PLUGIN_ARTIFACT_SERVE", "0")]).artifacts.serve);
    let variables = [
        ("DC_PLUGIN_ARTIFACT_SERVE", "on"),
        ("DC_PLUGIN_ARTIFACT_DIR", "~/a"),
        ("HOME", "/h"),
        ("DC_PLUGIN_ARTIFACT_HOST", "::1"),
        ("DC_PLUGIN_ARTIFACT_PORT", "0"),
        ("DC_PLUGIN_ARTIFACT_PUBLIC_URL", "https://a.example/x/"),
    ];
    let config = good(&HostFlags::default(), &variables);
    assert!(config.artifacts.serve && config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.artifacts.dir, Path::new("/h/a"));
    assert_eq!((config.artifacts.host.as_str(), config.artifacts.port), ("::1", 0));
    let base = config.artifacts.url_base(81).unwrap();
    assert!(base.resolve("https://a.example/x/artifacts/p/1.tgz").is_some());
}

#[test]
fn other_machines_are_let_in_with_a_warning() {
    let flags = HostFlags { artifact_serve: true, ..HostFlags::default() };
    for (host, warned) in [
        ("127.0.0.1", false),
        ("127.0.0.2", false),
        ("LocalHost", false),
        ("0.0.0.0", true),
        ("::", true),
        ("hub", true),
    ] {
        let variables = [("DC_PLUGIN_ARTIFACT_HOST", host)];
        let warnings = good(&flags, &variables).warnings;
        assert_eq!(matches!(warnings[..], [ConfigWarning::ArtifactsOpen { .. }]), warned, "{host}: {warnings:?}");
        assert_eq!(good(&HostFlags::default(), &variables).warnings, [], "nothing listens");
    }
}

#[test]
fn a_public_url_that_is_none_is_refused_and_not_repeated() {
    let variables = [("DC_PLUGIN_ARTIFACT_PUBLIC_URL", "https://u:secret@a.example")];
    let errors = resolved(&HostFlags::default(), &variables).unwrap_err();
    assert!(!errors.is_usage() && !format!("{errors} {errors:?}").contains("secret"), "{errors:?}");
    assert!(errors.iter().next().unwrap().hint().is_some());
}

#[test]
fn the_command_places_the_server_by_flags_too() {
    let flags = ArtifactFlags {
        capabilities_dir: Some("/c".into()),
        host: Some("localhost".into()),
        port: Some("9000".into()),
        log_level: Some("debug".into()),
        ..ArtifactFlags::default()
    };
    let variables = environment(&[("DC_PLUGIN_ARTIFACT_HOST", "0.0.0.0"), ("DC_PLUGIN_ARTIFACT_PORT", "1")]);
    let ArtifactResolution { config, log, warnings } = resolve_artifacts(&flags, true, &variables).unwrap();
    assert_eq!((config.host.as_str(), config.port, warnings), ("localhost", 9000, vec![]));
    assert_eq!(config.dir, Path::new("/c/.artifacts"));
    assert_eq!(log.unwrap().level(), LogLevel::Debug);
    assert_eq!(resolve_artifacts(&ArtifactFlags::default(), true, &variables).unwrap().warnings.len(), 1);
    let flags = ArtifactFlags { port: Some("many".into()), ..ArtifactFlags::default() };
    assert!(resolve_artifacts(&flags, false, &environment(&[])).unwrap_err().is_usage());
}

/// Only what logs cares how.
#[test]
fn a_bad_log_level_keeps_nothing_but_the_server_from_running() {
    let variables = environment(&[("DC_PLUGIN_LOG_LEVEL", "loud")]);
    assert!(resolve_artifacts(&ArtifactFlags::default(), true, &variables).is_err());
    assert!(resolve_artifacts(&ArtifactFlags::default(), false, &variables).unwrap().log.is_none());
}
