use super::*;
use crate::config::ConfigWarning;
use mortise_delivery::HostPattern;
use mortise_manage::{ProbationConfig, RETENTION};
use std::time::Duration;

#[test]
fn fetching_is_closed_and_probation_is_on_unless_somebody_says_otherwise() {
    let install = good(&HostFlags::default(), &[]).install;
    assert!(install.url_allowlist.is_empty() && install.ca_files.is_empty());
    assert!(!install.allow_http && !install.allow_private);
    assert_eq!((install.keep_versions, install.probation), (RETENTION, ProbationConfig::default().window));
}

const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUCYoDHDh5BETkRaZnYoaxxQ1VSX4wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDUxODMwWhgPMjEy
NjEwMjkwNTE4MzBaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEROJ7xg1SpvlHQN0rg5cfwBeZqJw7MJGzTwHM3V+Z
4aduL7h/lcKiNxmwYKi9J65kMBuiy/F+Mf9dbyhg0WcPlqNTMFEwHQYDVR0OBBYE
FBi7b24jCBbSxxiW5TdWJuyPaiflMB8GA1UdIwQYMBaAFBi7b24jCBbSxxiW5TdW
JuyPaiflMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgW+rpIgWF
K+AFLRxWiPQ2bV7vGtYivcXvPpleJz+uOLgCIQCCHHuhboXhOTiqE0DVpIkpUvEw
Aet/pLsORHjpx/7xyQ==
-----END CERTIFICATE-----
";

#[test]
fn each_can_be_said_by_flag_and_by_variable() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a.pem", "b.pem"].map(|name| write(folder.path(), name, AUTHORITY).display().to_string());
    let flags = HostFlags {
        install_allow_http: true,
        install_allow_private: true,
        install_ca_files: files.to_vec(),
        keep_versions: Some("100".into()),
        probation: Some("5m".into()),
        ..HostFlags::default()
    };
    let joined = files.join(":");
    let variables = [
        ("MORTISE_INSTALL_ALLOW_HTTP", "1"),
        ("MORTISE_INSTALL_ALLOW_PRIVATE", "yes"),
        ("MORTISE_INSTALL_CA_FILES", joined.as_str()),
        ("MORTISE_KEEP_VERSIONS", "100"),
        ("MORTISE_PROBATION", "5m"),
    ];
    let by_flag = good(&flags, &[]).install;
    assert!(by_flag.allow_http && by_flag.allow_private);
    assert_eq!(by_flag.ca_files, files.map(PathBuf::from));
    assert_eq!((by_flag.keep_versions, by_flag.probation), (100, Duration::from_secs(300)));
    assert_eq!(good(&HostFlags::default(), &variables).install, by_flag);
    let other = [("MORTISE_KEEP_VERSIONS", "1"), ("MORTISE_PROBATION", "1s"), ("MORTISE_INSTALL_CA_FILES", "/c.pem")];
    assert_eq!(good(&flags, &other).install, by_flag, "a flag wins");
    assert!(good(&HostFlags::default(), &[("MORTISE_PROBATION", "0s")]).install.probation.is_zero());
}

/// All of them, and now: not at the first download.
#[test]
fn files_of_authorities_that_are_of_no_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = write(folder.path(), "garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let named = format!("{}:/nowhere/b.pem:{}", garbage.display(), write(folder.path(), "c.pem", AUTHORITY).display());
    let errors = resolved(&HostFlags::default(), &[("MORTISE_INSTALL_CA_FILES", named.as_str())]).unwrap_err();
    assert!(!errors.is_usage());
    let told: Vec<_> = errors.iter().map(|error| (mortise_model::chain(error), error.hint())).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let first = format!(
        "invalid value for environment `MORTISE_INSTALL_CA_FILES`: `{}` is no PEM file of certificates",
        garbage.display()
    );
    assert_eq!(told[0].0, first);
    assert!(told[1].0.contains("`/nowhere/b.pem`"), "{told:?}");
    assert!(told.iter().all(|(_, hint)| hint.is_some()), "{told:?}");
}

#[test]
fn the_allowlist_is_a_list_of_hosts() {
    let name = "DC_PLUGIN_INSTALL_URL_ALLOWLIST";
    let config = good(&HostFlags::default(), &[(name, " Example.com , 10.0.0.1,")]);
    let expected: [HostPattern; 2] = ["example.com".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    assert_eq!(config.install.url_allowlist, expected);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let (errors, usage) = bad(&HostFlags::default(), &[(name, "example.com,https://a.example")]);
    assert_eq!((errors, usage), (vec![format!("invalid value for environment `{name}`")], false));
    // Nobody is kept out by a list of nobody, and that is said.
    let config = good(&HostFlags::default(), &[(name, ",")]);
    assert!(matches!(config.warnings[..], [ConfigWarning::WithoutEffect { .. }]), "{:?}", config.warnings);
}
