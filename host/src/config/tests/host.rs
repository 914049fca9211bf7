use super::*;
use crate::config::{ConfigWarning, MeshConfig, Origin};
use std::time::Duration;

const OPEN_NATS: [(&str, &str); 3] =
    [("NATS_URL", "nats://h:4222"), ("DEVICE_CONNECT_ALLOW_INSECURE", "1"), ("DEVICE_CONNECT_DISCOVERY_MODE", "d2d")];

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    base.iter().chain(more).copied().collect()
}

#[test]
fn nothing_said_means_the_reference_hosts_defaults_on_zenoh_peers() {
    let config = good(&HostFlags::default(), &[]);
    assert_eq!(config.device_id.as_str(), "plugin-host-1");
    assert_eq!(config.tenant.as_str(), "default");
    let here = std::env::current_dir().unwrap();
    assert_eq!(config.capabilities_dir, here.join("capabilities"));
    assert_eq!(config.state_dir, here.join("capabilities/.mortise"));
    assert!(config.auto_load && !config.install.require_digest);
    assert_eq!(config.install.plugin_bytes_max.0, 10_485_760);
    assert_eq!((config.availability, config.heartbeat_ttl), ("idle", Duration::from_secs(15)));
    let MeshConfig::Zenoh(zenoh) = config.mesh else { panic!("{:?}", config.mesh) };
    assert!(zenoh.urls.is_empty() && zenoh.listen.is_empty() && zenoh.tls.is_none() && !zenoh.gossip_multihop);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
    let flags = HostFlags { device_id: Some("flag".into()), ..HostFlags::default() };
    let variables = [("DEVICE_ID", "env"), ("DC_PLUGIN_DEVICE_ID", "older")];
    assert_eq!(good(&flags, &variables).device_id.as_str(), "flag");
    assert_eq!(good(&HostFlags::default(), &variables).device_id.as_str(), "env");
    let variables = [("DEVICE_ID", "  "), ("DC_PLUGIN_DEVICE_ID", "older")];
    assert_eq!(good(&HostFlags::default(), &variables).device_id.as_str(), "older");

    let resolution = resolved(&flags, &[("TENANT", "acme")]).unwrap();
    let origin = |name: &str| resolution.settings.iter().find(|setting| setting.name == name).map(|s| s.origin.clone());
    assert_eq!(origin("device_id"), Some(Origin::Flag("--device-id")));
    assert_eq!(origin("tenant"), Some(Origin::Env("TENANT")));
    assert_eq!(origin("auto_load"), Some(Origin::Default));
}

#[test]
fn either_the_flag_or_the_environment_turns_auto_load_off() {
    let off = HostFlags { no_auto_load: true, ..HostFlags::default() };
    assert!(!good(&off, &[("DC_PLUGIN_AUTO_LOAD", "true")]).auto_load);
    for (value, on) in [("1", true), ("YES", true), ("on", true), ("0", false), ("No", false), ("off", false)] {
        assert_eq!(good(&HostFlags::default(), &[("DC_PLUGIN_AUTO_LOAD", value)]).auto_load, on, "{value}");
    }
}

#[test]
fn folders_are_absolute_and_know_the_home_folder() {
    let variables = [("DC_PLUGIN_CAPABILITIES_DIR", "~/plugins"), ("HOME", "/home/op")];
    let config = good(&HostFlags::default(), &variables);
    assert_eq!(config.capabilities_dir, Path::new("/home/op/plugins"));
    assert_eq!(config.state_dir, Path::new("/home/op/plugins/.mortise"));
    let (errors, _) = bad(&HostFlags::default(), &[("CAPABILITIES_DIR", "~/plugins")]);
    assert_eq!(errors, ["failed to make `~/plugins` from environment `CAPABILITIES_DIR` absolute: `HOME` is not set"]);
    let flags = HostFlags { state_dir: Some("/var/lib/m".into()), ..HostFlags::default() };
    assert_eq!(good(&flags, &[("MORTISE_STATE_DIR", "/elsewhere")]).state_dir, Path::new("/var/lib/m"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let flags = HostFlags { device_id: Some("a b".into()), ..HostFlags::default() };
    let variables = [
        ("TENANT", "a.b"),
        ("DC_PLUGIN_AUTO_LOAD", "maybe"),
        ("MESSAGING_BACKEND", "carrier-pigeon"),
        ("DC_PLUGIN_LOG_LEVEL", "loud"),
    ];
    let (errors, usage) = bad(&flags, &variables);
    assert_eq!(errors.len(), 5, "{errors:#?}");
    assert!(!usage, "a bad variable is a bad configuration");
}

#[test]
fn numbers_that_do_not_parse_are_wrong_calls() {
    for (name, value) in [
        ("DC_PLUGIN_MAX_PLUGIN_BYTES", "ten"),
        ("DC_PLUGIN_MAX_PLUGIN_BYTES", "0"),
        ("DC_PLUGIN_MAX_PLUGIN_BYTES", "1GiB"),
        ("MORTISE_HEARTBEAT_TTL", "15"),
        ("MORTISE_HEARTBEAT_TTL", "1s"),
        ("MORTISE_KEEP_VERSIONS", "0"),
        ("MORTISE_KEEP_VERSIONS", "101"),
        ("MORTISE_KEEP_VERSIONS", "all"),
        ("MORTISE_PROBATION", "30"),
        ("MORTISE_PROBATION", "25h"),
        ("DC_PLUGIN_ARTIFACT_PORT", "65536"),
    ] {
        let (errors, usage) = bad(&HostFlags::default(), &[(name, value)]);
        assert!(usage && errors.len() == 1, "{name}={value}: {errors:?}");
        assert!(errors[0].contains(name) && errors[0].contains(value), "{errors:?}");
    }
}

#[test]
fn urls_come_from_the_first_that_has_any() {
    let urls = |variables: &[(&str, &str)], flags: &HostFlags| match good(flags, variables).mesh {
        MeshConfig::Nats(nats) => ("nats", nats.urls),
        MeshConfig::Zenoh(zenoh) => ("zenoh", zenoh.urls),
    };
    let all = with(&OPEN_NATS, &[("MESSAGING_URLS", "nats://a:1, nats://b:1,"), ("ZENOH_CONNECT", "tcp/z:7447")]);
    assert_eq!(urls(&all, &HostFlags::default()), ("nats", vec!["nats://a:1".into(), "nats://b:1".into()]));
    let flags = HostFlags { messaging_urls: vec!["zenoh://f".into()], ..HostFlags::default() };
    assert_eq!(urls(&all, &flags), ("zenoh", vec!["zenoh://f".into()]));
    assert_eq!(urls(&OPEN_NATS, &HostFlags::default()), ("nats", vec!["nats://h:4222".into()]));
    let zenoh = [("ZENOH_CONNECT", "tls://z:7447"), ("DEVICE_CONNECT_DISCOVERY_MODE", "P2P")];
    let (errors, _) = bad(&HostFlags::default(), &zenoh);
    assert_eq!(errors, ["`tls://z:7447` from environment `ZENOH_CONNECT` is no Zenoh URL"]);
}

#[test]
fn the_backend_is_named_or_told_by_the_first_url() {
    for (url, backend) in [
        ("nats://h", "nats"),
        ("TLS://h", "nats"),
        ("zenoh+tls://h", "zenoh"),
        ("tcp/h:1", "zenoh"),
        ("tls/h:1", "zenoh"),
        ("h:1", "zenoh"),
    ] {
        let variables = [
            ("MESSAGING_URLS", url),
            ("DEVICE_CONNECT_ALLOW_INSECURE", "true"),
            ("DEVICE_CONNECT_DISCOVERY_MODE", "d2d"),
        ];
        let config = good(&HostFlags::default(), &variables);
        assert_eq!(matches!(config.mesh, MeshConfig::Nats(_)), backend == "nats", "{url}");
    }
    let variables = with(&OPEN_NATS, &[("MESSAGING_BACKEND", "ZENOH")]);
    let (errors, _) = bad(&HostFlags::default(), &variables);
    assert_eq!(errors, ["`nats://h:4222` from environment `NATS_URL` is no Zenoh URL"]);
    let flags = HostFlags { messaging_backend: Some("nats".into()), ..HostFlags::default() };
    let (errors, usage) = bad(&flags, &[]);
    assert_eq!((errors.as_slice(), usage), (["backend `nats` needs a broker URL".to_owned()].as_slice(), false));
}

#[test]
fn zenoh_connect_overrules_a_named_backend_and_says_so() {
    let variables =
        [("MESSAGING_BACKEND", "nats"), ("ZENOH_CONNECT", "tcp/z:1"), ("DEVICE_CONNECT_DISCOVERY_MODE", "d2d")];
    let config = good(&HostFlags::default(), &variables);
    assert!(matches!(config.mesh, MeshConfig::Zenoh(_)));
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn what_is_not_built_is_refused_with_a_cure_and_exit_2() {
    let sidecars = HostFlags { enable_sidecars: true, ..HostFlags::default() };
    let network = HostFlags { sidecar_network: Some("n".into()), ..HostFlags::default() };
    let infra = HostFlags { discovery_mode: Some("infra".into()), ..HostFlags::default() };
    let mqtt = HostFlags { messaging_urls: vec!["mqtts://h".into()], ..HostFlags::default() };
    let none = HostFlags::default();
    let nats = [("NATS_URL", "nats://h"), ("DEVICE_CONNECT_ALLOW_INSECURE", "1")];
    let cases: [(&HostFlags, &[(&str, &str)]); 7] = [
        (&sidecars, &[]),
        (&network, &[]),
        (&none, &[("DC_PLUGIN_ENABLE_SIDECARS", "on")]),
        (&mqtt, &[]),
        (&none, &[("MESSAGING_BACKEND", "mqtt")]),
        (&none, &nats),
        (&infra, &nats),
    ];
    for (flags, variables) in cases {
        let errors = resolved(flags, variables).unwrap_err();
        assert!(errors.is_usage(), "{flags:?} {variables:?}: {errors}");
        for error in errors.iter() {
            assert!(error.to_string().contains("not supported yet"), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }
    // Switched off is not asked for, and `infra` without a broker is device-to-device all the same (5.1).
    good(&none, &[("DC_PLUGIN_ENABLE_SIDECARS", "false")]);
    good(&infra, &[]);
    good(&infra, &[("MESSAGING_URLS", "zenoh://")]);
}

#[test]
fn the_flag_beats_the_environment_for_the_discovery_mode() {
    let flags = HostFlags { discovery_mode: Some("d2d".into()), ..HostFlags::default() };
    let variables =
        [("NATS_URL", "nats://h"), ("DEVICE_CONNECT_ALLOW_INSECURE", "1"), ("DEVICE_CONNECT_DISCOVERY_MODE", "infra")];
    good(&flags, &variables);
}

#[test]
fn nats_is_checked_at_start_unless_insecure() {
    let base = [("NATS_URL", "nats://h"), ("DEVICE_CONNECT_DISCOVERY_MODE", "d2d")];
    let none = HostFlags::default();
    assert_eq!(bad(&none, &base).0, ["NATS needs credentials: no JWT and no credentials file"]);
    assert_eq!(
        bad(&none, &with(&base, &[("NATS_JWT", "j")])).0,
        ["a NATS JWT and an NKey seed belong together: the seed is missing"]
    );
    let signed = with(&base, &[("NATS_JWT", "j"), ("NATS_NKEY_SEED", "s")]);
    let MeshConfig::Nats(nats) = good(&none, &signed).mesh else { panic!("not NATS") };
    let auth = nats.auth.unwrap();
    assert_eq!((auth.jwt.expose(), auth.seed.expose()), ("j", "s"));

    let tls = with(&signed[1..], &[("NATS_URL", "tls://h")]);
    assert_eq!(bad(&none, &tls).0, ["`tls://h` asks for TLS, but no certificate authority is configured"]);
    let tls = with(&tls, &[("NATS_TLS_CA_FILE", "/ca.pem")]);
    assert!(good(&none, &tls).warnings.is_empty());
    assert_eq!(good(&none, &with(&signed, &[("MESSAGING_TLS_CA_FILE", "/ca.pem")])).warnings.len(), 1);
    // A password in the URL is authentication too, and never shown.
    let resolution = resolved(&none, &[("NATS_URL", "nats://u:secret@h"), base[1]]).unwrap();
    assert!(!format!("{:?}", resolution.settings).contains("secret"));

    let insecure = HostFlags { allow_insecure: true, ..HostFlags::default() };
    assert_eq!(good(&insecure, &base).warnings.len(), 1);
    assert_eq!(
        bad(&none, &with(&signed, &[("MESSAGING_TLS_CERT_FILE", "/c.pem")])).0,
        ["a TLS client certificate and its key belong together: the key is missing"]
    );
}

#[test]
fn ids_that_break_their_rules_are_refused_and_dots_warn() {
    for id in ["-a", "a/b", "broadcast"] {
        let flags = HostFlags { device_id: Some(id.into()), ..HostFlags::default() };
        let (errors, usage) = bad(&flags, &[]);
        assert_eq!((errors.len(), usage), (1, true), "{id}: {errors:?}");
    }
    assert_eq!(good(&HostFlags::default(), &[("DEVICE_ID", "a.b")]).warnings.len(), 1);
}

#[test]
fn variables_without_effect_are_named() {
    let config = good(&HostFlags::default(), &[("DEVICE_CONNECT_REGISTER_TIMEOUT", "5")]);
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].to_string().contains("DEVICE_CONNECT_REGISTER_TIMEOUT"));
}

#[test]
fn zenoh_takes_its_own_settings() {
    let flags = HostFlags { zenoh_scouting_interface: Some("lo".into()), ..HostFlags::default() };
    let variables = [("ZENOH_LISTEN", "tcp/127.0.0.1:0, udp/127.0.0.1:1"), ("ZENOH_GOSSIP_MULTIHOP", "on")];
    let MeshConfig::Zenoh(zenoh) = good(&flags, &variables).mesh else { panic!("not Zenoh") };
    assert_eq!(zenoh.listen, ["tcp/127.0.0.1:0", "udp/127.0.0.1:1"]);
    assert!(zenoh.gossip_multihop);
    assert_eq!(zenoh.scouting_interface.as_deref(), Some("lo"));
}

const ROUTER: [(&str, &str); 2] = [("ZENOH_CONNECT", "tcp/z:7447"), ("DEVICE_CONNECT_DISCOVERY_MODE", "d2d")];

#[test]
fn a_flag_without_effect_is_refused_with_a_cure() {
    let interface = HostFlags { zenoh_scouting_interface: Some("lo".into()), ..HostFlags::default() };
    let folder = HostFlags { portal_credentials_dir: Some("/nowhere".into()), ..HostFlags::default() };
    let glob = HostFlags { portal_credentials_glob: Some("*".into()), ..HostFlags::default() };
    for (flags, variables, flag) in [
        (&interface, OPEN_NATS.as_slice(), "--zenoh-scouting-interface"),
        (&interface, &ROUTER, "--zenoh-scouting-interface"),
        (&folder, &[], "--portal-credentials-dir"),
        (&glob, &[], "--portal-credentials-glob"),
    ] {
        let errors = resolved(flags, variables).unwrap_err();
        assert!(errors.is_usage(), "{errors}");
        assert!(errors.to_string().starts_with(&format!("flag `{flag}` has no effect: ")), "{errors}");
        assert_eq!(errors.iter().next().unwrap().hint(), Some(format!("leave `{flag}` out")));
    }
}

#[test]
fn a_variable_without_effect_is_warned_about() {
    let zenoh =
        [("MORTISE_ZENOH_SCOUTING_INTERFACE", "lo"), ("ZENOH_LISTEN", "tcp/a:1"), ("ZENOH_GOSSIP_MULTIHOP", "1")];
    let portal = [("PORTAL_CREDENTIALS_DIR", "/nowhere"), ("PORTAL_CREDENTIALS_GLOB", "*")];
    let warned = |variables: &[(&str, &str)]| -> Vec<&'static str> {
        let warnings = good(&HostFlags::default(), variables).warnings;
        let names = warnings.iter().filter_map(|warning| match warning {
            ConfigWarning::WithoutEffect { name, .. } => Some(*name),
            _ => None,
        });
        names.collect()
    };
    let (interface, listen, multihop) = ("MORTISE_ZENOH_SCOUTING_INTERFACE", "ZENOH_LISTEN", "ZENOH_GOSSIP_MULTIHOP");
    assert_eq!(warned(&with(&OPEN_NATS, &zenoh)), [interface, multihop, listen]);
    // A client of a router listens where it is told.
    assert_eq!(warned(&with(&ROUTER, &zenoh)), [interface, multihop]);
    assert_eq!(warned(&zenoh), [""; 0]);
    assert_eq!(warned(&portal), ["PORTAL_CREDENTIALS_DIR", "PORTAL_CREDENTIALS_GLOB"]);
    // Switched off is not asked for.
    assert_eq!(warned(&with(&OPEN_NATS, &[("ZENOH_GOSSIP_MULTIHOP", "0")])), [""; 0]);
}

#[test]
fn source_roots_are_absolute() {
    let config = good(&HostFlags::default(), &[("MORTISE_INSTALL_SOURCE_ROOTS", "/a: :~/b"), ("HOME", "/h")]);
    assert_eq!(config.install.source_roots, [Path::new("/a"), Path::new("/h/b")]);
}

/// Each is closed to plugins: `mortise-manage` compares folders with this list.
#[test]
fn the_hosts_own_files_are_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let file = |name: &str, text: &str| write(&root, name, text).display().to_string();
    let dir = |name: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        root.join(name).display().to_string()
    };
    let variables = [
        ("DC_PLUGIN_CAPABILITIES_DIR", dir("capabilities")),
        ("DC_PLUGIN_ARTIFACT_DIR", dir("artifacts")),
        ("MORTISE_STATE_DIR", dir("state")),
        ("MORTISE_BUNDLED_PLUGINS", dir("bundled")),
        ("MORTISE_RUNNERS_DIR", dir("runners")),
        ("MORTISE_POLICY", file("policy.toml", "profile = 'strict'")),
        ("NATS_CREDENTIALS_FILE", file("hub.creds.json", NATS_JSON)),
        ("MESSAGING_TLS_CA_FILE", file("ca.pem", "PEM")),
        ("MESSAGING_TLS_CERT_FILE", file("cert.pem", "PEM")),
        ("MESSAGING_TLS_KEY_FILE", file("key.pem", "PEM")),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let all = with(&variables, &[("DEVICE_CONNECT_DISCOVERY_MODE", "d2d")]);
    let own = good(&HostFlags::default(), &all).own_paths();
    for (name, path) in variables {
        assert!(own.contains(&PathBuf::from(path)), "{name}: {own:?}");
    }
}

#[test]
fn plugins_may_be_given_what_is_not_the_hosts_own() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().to_str().unwrap();
    let variables = [
        ("STATION", " north "),
        ("MORTISE_SECRET_token", "t0ken"),
        ("MORTISE_SECRETS_DIR", secrets),
        ("DEVICE_CONNECT_LOG_LEVEL", "debug"),
        ("DC_PLUGIN_WHATEVER", "x"),
        ("HOME", "/h"),
    ];
    let resolution = resolved(&HostFlags::default(), &variables).unwrap();
    let surroundings = &resolution.config.surroundings;
    assert_eq!(surroundings.env, environment(&[("STATION", " north ")]), "as it is set");
    assert_eq!(surroundings.secrets, environment(&[("token", "t0ken")]));
    assert_eq!(surroundings.secrets_dir.as_deref(), Some(folder.path()));
    assert!(!format!("{:?} {:?}", resolution.config, resolution.settings).contains("t0ken"));
    let (errors, _) = bad(&HostFlags::default(), &[("MORTISE_SECRETS_DIR", "/nowhere/at/all")]);
    assert_eq!(
        errors,
        ["invalid value `/nowhere/at/all` for environment `MORTISE_SECRETS_DIR`: expected a folder that is there"]
    );
}
