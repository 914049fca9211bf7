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

#[test]
fn each_can_be_said_by_flag_and_by_variable() {
    let flags = HostFlags {
        install_allow_http: true,
        install_allow_private: true,
        install_ca_files: vec!["/a.pem".into(), "/b.pem".into()],
        keep_versions: Some("100".into()),
        probation: Some("5m".into()),
        ..HostFlags::default()
    };
    let variables = [
        ("MORTISE_INSTALL_ALLOW_HTTP", "1"),
        ("MORTISE_INSTALL_ALLOW_PRIVATE", "yes"),
        ("MORTISE_INSTALL_CA_FILES", "/a.pem:/b.pem"),
        ("MORTISE_KEEP_VERSIONS", "100"),
        ("MORTISE_PROBATION", "5m"),
    ];
    let by_flag = good(&flags, &[]).install;
    assert!(by_flag.allow_http && by_flag.allow_private);
    assert_eq!(by_flag.ca_files, [Path::new("/a.pem"), Path::new("/b.pem")]);
    assert_eq!((by_flag.keep_versions, by_flag.probation), (100, Duration::from_secs(300)));
    assert_eq!(good(&HostFlags::default(), &variables).install, by_flag);
    let other = [("MORTISE_KEEP_VERSIONS", "1"), ("MORTISE_PROBATION", "1s"), ("MORTISE_INSTALL_CA_FILES", "/c.pem")];
    assert_eq!(good(&flags, &other).install, by_flag, "a flag wins");
    assert!(good(&HostFlags::default(), &[("MORTISE_PROBATION", "0s")]).install.probation.is_zero());
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
