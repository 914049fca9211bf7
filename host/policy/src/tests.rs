use super::*;
use mortise_model::Source;

const FUNCTIONS: [&str; 4] = ["get_status", "install_plugin", "grant_plugin_permission", "revoke_plugin_permission"];

fn policy(text: &str) -> Policy {
    Policy::parse(text, &FUNCTIONS).unwrap()
}

fn refused(text: &str) -> String {
    Policy::parse(text, &FUNCTIONS).unwrap_err().to_string()
}

fn permission(text: &str) -> Permission {
    text.parse().unwrap()
}

struct Plugin(PluginId, Digest, Provenance);

impl Plugin {
    fn new(id: &str) -> Self {
        Self(PluginId::new(id).unwrap(), Digest::of(id.as_bytes()), Provenance::default())
    }

    /// The same files, from somewhere.
    fn from(id: &str, source: Source, archive: Option<&[u8]>) -> Self {
        let provenance = Provenance::new(source, archive.map(Digest::of), None);
        Self(PluginId::new(id).unwrap(), Digest::of(id.as_bytes()), provenance)
    }

    fn subject(&self) -> Subject<'_> {
        Subject { id: &self.0, tree: &self.1, provenance: &self.2 }
    }
}

#[test]
fn a_policy_that_says_nothing_is_the_strict_one() {
    let (strict, plugin) = (policy("# nothing"), Plugin::new("sensor"));
    assert_eq!(strict, Policy::default());
    assert!(!strict.is_development() && !strict.requires_digest() && strict.source_roots().is_empty());
    assert_eq!(strict.when_denied(), WhenDenied::Load);
    assert!(!strict.grants(plugin.subject(), &permission("mesh.discover")));
    assert!(strict.bears(plugin.subject(), &permission("mesh.discover")) && strict.admits(plugin.subject()));
    assert!(SourceKind::ALL.into_iter().all(|source| strict.admits_source(source)));
    assert!(strict.admits_call("install_plugin", None) && strict.offers("install_plugin"));
    assert!(!strict.admits_call("grant_plugin_permission", None) && !strict.offers("grant_plugin_permission"));
}

#[test]
fn the_development_profile_gives_what_is_asked_for_and_no_right_to_give() {
    let development = policy("profile = 'development'");
    assert_eq!(development, Policy::development());
    assert!(development.grants(Plugin::new("sensor").subject(), &permission("mesh.invoke:*")));
    assert!(!development.admits_call("grant_plugin_permission", None));
}

#[test]
fn the_first_rule_that_matches_counts() {
    let digest = Digest::of(b"camera-1");
    let policy = policy(&format!(
        "[[plugin]]\nid = 'camera-*'\ntree_digest = '{digest}'\ngrant = ['mesh.discover']\n\
         [[plugin]]\nid = 'camera-*'\ninstall = false\n\
         [[plugin]]\nid = 'door'\ngrant = ['mesh.invoke:lock-*/open']\nmax = ['mesh.invoke:lock-*']"
    ));
    let (known, other, door) = (Plugin::new("camera-1"), Plugin::new("camera-2"), Plugin::new("door"));
    assert!(policy.admits(known.subject()) && policy.grants(known.subject(), &permission("mesh.discover")));
    assert!(!policy.bears(other.subject(), &permission("mesh.discover")), "it may not even be here");
    assert!(!policy.admits(other.subject()) && !policy.grants(other.subject(), &permission("mesh.discover")));
    assert!(policy.grants(door.subject(), &permission("mesh.invoke:lock-1/open")));
    assert!(!policy.grants(door.subject(), &permission("mesh.invoke:lock-1/close")));
    assert!(policy.bears(door.subject(), &permission("mesh.invoke:lock-1/close")));
    assert!(!policy.bears(door.subject(), &permission("mesh.discover")));
}

fn url(url: &str) -> Source {
    Source::Url { url: url.to_owned() }
}

#[test]
fn a_rule_goes_by_where_the_files_came_from() {
    let archive = Digest::of(b"archive");
    let policy = policy(&format!(
        "[[plugin]]\nid = 'door'\ndigest = '{archive}'\ngrant = ['state']\n\
         [[plugin]]\nid = '*'\nsource = 'url:https://plugins.example.com/trusted'\ngrant = ['mesh.discover']\n\
         [[plugin]]\nid = '*'\nsource = 'folder:/srv/plugins'\ngrant = ['mesh.invoke:*']\n\
         [[plugin]]\nid = '*'\nsource = 'object:fleet'\ngrant = ['plugins:*']\n\
         [[plugin]]\nid = '*'\nsource = 'working_copy'\ngrant = ['env:HOME']\n\
         [[plugin]]\nid = '*'\nmax = []"
    ));
    let everything = ["state", "mesh.discover", "mesh.invoke:a/b", "plugins:a.b", "env:HOME"];
    let given = |plugin: Plugin| {
        let given = everything.into_iter().filter(|wanted| policy.grants(plugin.subject(), &permission(wanted)));
        given.collect::<Vec<_>>().join(" ")
    };
    let folder = |path: &str| Source::Folder { path: path.to_owned() };
    let object = |bucket: &str| Source::Object { bucket: bucket.to_owned(), name: "a.tgz".to_owned() };
    let from = |source: Source| given(Plugin::from("door", source, Some(b"other")));
    // The first that matches, wherever that archive came from.
    assert_eq!(given(Plugin::from("door", Source::Bundle, Some(b"archive"))), "state");
    assert_eq!(
        given(Plugin::from("door", url("https://plugins.example.com/trusted/a.tgz"), Some(b"archive"))),
        "state"
    );
    assert_eq!(given(Plugin::from("window", Source::Bundle, Some(b"archive"))), "", "another id");
    for (place, expected) in [
        ("https://plugins.example.com/trusted", "mesh.discover"),
        ("https://plugins.example.com/trusted/v1/a.tgz", "mesh.discover"),
        ("https://plugins.example.com:443/trusted/a.tgz", "mesh.discover"),
        ("https://plugins.example.com/trusted/x/../a.tgz", "mesh.discover"),
        ("https://plugins.example.com/trusted/../a.tgz", ""),
        ("https://plugins.example.com/trusted/..%2fa.tgz", ""),
        ("https://plugins.example.com/trusted/%2e%2e/a.tgz", ""),
        ("https://plugins.example.com/trusted.tgz", ""),
        ("http://plugins.example.com/trusted/a.tgz", ""),
        ("https://plugins.example.com:8443/trusted/a.tgz", ""),
        ("https://plugins.example.com.evil.net/trusted/a.tgz", ""),
        ("https://example.com/trusted/a.tgz", ""),
    ] {
        assert_eq!(from(url(place)), expected, "{place}");
    }
    for (path, expected) in [
        ("/srv/plugins", "mesh.invoke:a/b"),
        ("/srv/plugins/door", "mesh.invoke:a/b"),
        ("/srv/plugins-2/door", ""),
        ("/srv/plugins/../door", ""),
        ("srv/plugins/door", ""),
    ] {
        assert_eq!(from(folder(path)), expected, "{path}");
    }
    assert_eq!((from(object("fleet")), from(object("fleet2"))), ("plugins:a.b".to_owned(), String::new()));
    assert_eq!(given(Plugin::new("door")), "env:HOME");
    assert_eq!((from(Source::Bundle), from(Source::Upload)), (String::new(), String::new()));
}

#[test]
fn nothing_runs_outside_of_the_sandbox() {
    for text in ["# nothing", "profile = 'development'", "[runtimes]\nnative = false\ndocker = false"] {
        let policy = policy(text);
        for kind in RuntimeKind::ALL {
            let is_outside = matches!(kind, RuntimeKind::Native | RuntimeKind::Docker);
            assert_eq!(policy.admits_kind(kind), !is_outside, "{kind}");
        }
    }
}

#[test]
fn a_rule_goes_by_who_signed() {
    let key = "RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6";
    let policy = policy(&format!(
        "[install]\nsigners = ['{key}']\nrequire_signature = true\n\
         [[plugin]]\nid = '*'\nsigner = '{key}'\ngrant = ['state']\n[[plugin]]\nid = '*'\ninstall = false"
    ));
    assert!(policy.requires_signature() && policy.signers() == [key]);
    let mut plugin = Plugin::from("door", Source::Bundle, Some(b"archive"));
    assert!(!policy.admits(plugin.subject()));
    plugin.2.signer = Some(key.to_owned());
    assert!(policy.grants(plugin.subject(), &permission("state")));
    plugin.2.signer = Some("RWSBOsxh/8Al5Oux7g0J5ED76M4KHcAKEmYLSxPQ7dG3GYdgaLINvrYL".to_owned());
    assert!(!policy.admits(plugin.subject()));
}

#[test]
fn the_same_files_are_the_same_plugin_where_one_rule_counts_for_both() {
    let key = "RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6";
    let policy = policy(&format!(
        "[install]\nsigners = ['{key}']\n[[plugin]]\nid = 'a*'\nsource = 'url:https://a.example.com'\n\
         [[plugin]]\nid = 'a*'\nsigner = '{key}'\n[[plugin]]\nid = 'a*'"
    ));
    let from = |source| Provenance::new(source, None, None);
    let signed = |source| Provenance::new(source, None, Some(key.to_owned()));
    let trusted = from(url("https://a.example.com/x"));
    let also = from(url("https://a.example.com/y"));
    let other = from(Source::Bundle);
    let alike = |id: &str, one: &Provenance, other: &Provenance| {
        policy.judges_alike(&PluginId::new(id).unwrap(), &Digest::of(b"files"), one, other)
    };
    assert!(alike("a1", &trusted, &also) && !alike("a1", &trusted, &other) && alike("b", &trusted, &other));
    assert!(!alike("a1", &other, &signed(Source::Bundle)), "a rule is about who signed");
    assert!(alike("a1", &trusted, &signed(trusted.source.clone())), "no rule that counts is");
    assert!(alike("b", &other, &signed(Source::Bundle)));
}

#[test]
fn rules_that_no_plugin_can_meet_are_refused() {
    let digest = Digest::of(b"archive");
    let last = "[[plugin]]\nid = '*'\n";
    for source in ["folder", "folder:/srv", "working_copy"] {
        let text = format!("[[plugin]]\nid = 'a'\nsource = '{source}'\ndigest = '{digest}'\n{last}");
        let error = Policy::parse(&text, &FUNCTIONS).unwrap_err();
        assert_eq!(error.code(), "policy_condition", "{source}");
        let expected = format!("what comes from `{source}` is no archive, and has no `digest`");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    // Whether a rule leaves another nothing.
    for (first, second, hidden) in [
        ("source = 'url'", "source = 'url:https://a.b/c'", true),
        ("source = 'url:https://a.b/c'", "source = 'url:https://a.b/c/d'", true),
        ("source = 'url:https://a.b/c/d'", "source = 'url:https://a.b/c'", false),
        ("source = 'folder:/srv'", "source = 'folder:/srv/a'", true),
        ("source = 'folder:/srv/a'", "source = 'folder'", false),
        ("source = 'bundle'", "source = 'upload'", false),
        ("source = 'object:a'", "source = 'object:b'", false),
        (&format!("digest = '{digest}'"), &format!("digest = '{digest}'\nsource = 'url'"), true),
        (&format!("digest = '{digest}'\nsource = 'url'"), &format!("digest = '{digest}'"), false),
        ("source = 'url'", &format!("digest = '{digest}'"), false),
    ] {
        let text = format!("[[plugin]]\nid = 'a'\n{first}\n[[plugin]]\nid = 'a'\n{second}\n{last}");
        let code = Policy::parse(&text, &FUNCTIONS).err().map(|error| error.code());
        assert_eq!(code, hidden.then_some("policy_order"), "{text}");
    }
}

#[test]
fn what_can_be_sent_another_way_is_given_more_and_never_less() {
    let digest = Digest::of(b"archive");
    let key = "RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6";
    let signer = format!("signer = '{key}'");
    for (first, later, withheld) in [
        ("source = 'bundle'\ninstall = false", "id = '*'", Some("install")),
        (&format!("digest = '{digest}'\ninstall = false"), "id = '*'", Some("install")),
        (&format!("{signer}\nmax = ['state']"), "id = '*'", Some("max")),
        (&format!("{signer}\nmax = ['state']"), "id = '*'\nmax = ['state', 'mesh.discover']", Some("max")),
        ("source = 'url:https://a.b'\ngrant = ['mesh.discover']", "id = '*'\ngrant = ['state']", Some("grant")),
        ("source = 'url'\nlimits = {memory = '32MiB'}", "id = '*'", Some("limits")),
        ("source = 'url'\nlimits = {concurrency = 2}", "id = '*'", Some("limits")),
        // By another spelling of the URL.
        ("source = 'url:https://a.b/beta'\ninstall = false", "id = '*'\nsource = 'url:https://a.b'", Some("install")),
        // A narrower one behind it.
        ("source = 'url'\nmax = []", "id = 'door-1'", Some("max")),
        ("source = 'bundle'\nmax = []", "id = '*-1'", Some("max")),
        // By a way that is open to whoever sends it.
        (&format!("{signer}\nmax = ['state']"), "id = 'door-*'\nsource = 'url'", Some("max")),
        ("source = 'url'\nmax = []", "id = 'window'", None),
        ("source = 'url'\nmax = []", "id = 'door-*'\nsource = 'object'", None),
        ("source = 'url'\nmax = ['state']", "id = 'door-*'\nmax = ['state']", None),
        ("source = 'url'\nmax = ['state']", "id = 'door-*'\ninstall = false", None),
        ("source = 'url'\nlimits = {memory = '1GiB'}", "id = 'door-*'\nlimits = {memory = '512MiB'}", None),
        // Files are what they are, and a working copy is nothing that anybody sends.
        (&format!("tree_digest = '{digest}'\ninstall = false"), "id = '*'", None),
        ("source = 'working_copy'\ninstall = false", "id = '*'", None),
    ] {
        // One rule has to say what counts for all others.
        let is_last = later.starts_with("id = '*'") && !later.contains("source");
        let last = if is_last { "" } else { "[[plugin]]\nid = '*'\ninstall = false" };
        let text =
            format!("[install]\nsigners = ['{key}']\n[[plugin]]\nid = 'door-*'\n{first}\n[[plugin]]\n{later}\n{last}");
        let error = Policy::parse(&text, &FUNCTIONS).err();
        let Some(key) = withheld else {
            assert_eq!(error, None, "{text}");
            continue;
        };
        let error = error.unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(error.code(), "policy_evadable", "{text}: {error}");
        assert!(error.to_string().contains(&format!("gives less than rule 2 (`{key}`)")), "{error}");
        assert!(error.hint().contains("`tree_digest`, or in rule 2"), "{}", error.hint());
    }
}

#[test]
fn a_bound_leaves_something_or_nothing() {
    let policy =
        policy("[[plugin]]\nid = 'a'\nmax = ['mesh.subscribe:camera-1']\n[[plugin]]\nid = 'b'\ninstall = false");
    let leaves = |id: &str, wanted: &str| policy.bears_something(Plugin::new(id).subject(), &permission(wanted));
    assert!(leaves("a", "mesh.subscribe:camera-*/motion") && !leaves("a", "mesh.subscribe:door-*"));
    assert!(!leaves("b", "mesh.discover") && leaves("c", "mesh.discover"));
}

#[test]
fn a_rule_bounds_what_plugins_emit() {
    let policy = policy("[[plugin]]\nid = 'a'\nemit = ['motion', 'door-*']\n[[plugin]]\nid = 'b'\nemit = []");
    let lets = |id: &str, event: &str| policy.lets_emit(Plugin::new(id).subject(), event);
    assert!(lets("a", "motion") && lets("a", "door-1") && !lets("a", "alarm"));
    assert!(!lets("b", "motion") && lets("c", "motion"));
    for pattern in ["", "a b", "door.*", "**"] {
        let error = Policy::parse(&format!("[[plugin]]\nid = 'a'\nemit = ['{pattern}']"), &FUNCTIONS).unwrap_err();
        assert!(error.code() == "policy_syntax" && error.to_string().contains(&format!("`{pattern}`: ")), "{error}");
    }
}

#[test]
fn callers_are_told_apart_by_what_they_claim() {
    let policy = policy(
        "[mesh]\nfunctions = ['get_*']\n\
         [[mesh.caller]]\ndevice = 'ops-*'\nfunctions = ['*', 'grant_plugin_permission']",
    );
    assert!(policy.admits_call("get_status", None));
    assert!(!policy.admits_call("install_plugin", None) && !policy.admits_call("install_plugin", Some("camera-1")));
    assert!(policy.admits_call("install_plugin", Some("ops-1")) && policy.offers("install_plugin"));
    assert!(policy.admits_call("grant_plugin_permission", Some("ops-1")));
    assert!(!policy.admits_call("revoke_plugin_permission", Some("ops-1")), "it is not named");
}

#[test]
fn installs_are_bounded() {
    let policy = policy(
        "when_denied = 'refuse'\n[install]\nsources = ['url', 'folder']\nrequire_digest = true\nsource_roots = ['/srv']",
    );
    assert!(policy.admits_source(SourceKind::Url) && !policy.admits_source(SourceKind::Bundle));
    assert!(policy.requires_digest());
    assert_eq!((policy.when_denied(), policy.source_roots()), (WhenDenied::Refuse, [PathBuf::from("/srv")].as_slice()));
}

#[test]
fn a_rule_raises_and_lowers_what_plugins_may_use() {
    let policy = policy("[[plugin]]\nid = 'camera-*'\nlimits = {memory = '256MiB', http_requests = 2}");
    let (camera, other) = (Plugin::new("camera-1"), Plugin::new("door"));
    let ceilings = policy.ceilings(camera.subject(), RuntimeKind::Wasm);
    assert_eq!((ceilings.memory.to_string().as_str(), ceilings.http_requests), ("256MiB", 2));
    assert_eq!(ceilings.queue, Limits::default().queue);
    assert_eq!(policy.ceilings(other.subject(), RuntimeKind::Wasm), Limits::ceilings(RuntimeKind::Wasm));
    let python = Limits::for_runtime(RuntimeKind::Python);
    assert_eq!(policy.ceilings(camera.subject(), RuntimeKind::Python).stack, python.stack);
}

#[test]
fn requests_reach_the_networks_that_are_named() {
    assert_eq!(*policy("# nothing").http(), HttpPolicy::default());
    assert_eq!(policy("profile = 'development'").http().networks, None);
    let named =
        policy("profile = 'development'\n[http]\nnetworks = ['192.168.1.0/24', '::1']\nca_files = ['/etc/ca.pem']");
    let networks: Vec<_> = named.http().networks.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.168.1.0/24", "::1/128"]);
    assert_eq!(named.http().ca_files, [PathBuf::from("/etc/ca.pem")]);
}

#[test]
fn what_would_mean_nothing_is_refused() {
    for (text, expected) in [
        ("profil = 'strict'", "line 1: unknown field `profil`"),
        ("\n[install]\nsource = []", "line 3: unknown field `source`"),
        ("profile = 'loose'", "line 1: unknown variant `loose`"),
        ("[install]\nsources = ['ftp']", "line 2: `ftp` is no source; there are bundle, upload, url, object, folder"),
        ("[install]\nsource_roots = ['srv']", "line 2: `srv` is not an absolute path"),
        (
            "[mesh]\nfunctions = ['instal_plugin']",
            "`instal_plugin` in `mesh.functions` is none of the host's functions",
        ),
        ("[mesh]\nfunctions = ['a b']", "`a b` in `mesh.functions` can match no name"),
        ("[[plugin]]\ngrant = []", "line 1: missing field `id`"),
        ("[[plugin]]\nid = 'a'\ntree_digest = 'x'", "line 3: invalid digest"),
        ("[[plugin]]\nid = 'a'\ngrant = ['http:x']", "line 3: `http:x` is no permission"),
        ("[[plugin]]\nid = 'a'\nlimits = {memory = '5GiB'}", "rule 1 for plugins `a`"),
        ("[[plugin]]\nid = 'a'\nlimits = {memmory = '5MiB'}", "rule 1 for plugins `a`"),
        ("[[plugin]]\nid = 'a'\nlimits = {stack = '1MiB'}", "rule 1 for plugins `a`"),
        ("[[plugin]]\nid = 'a'\ninstall = false\nlimits = {memory = '5MiB'}", "rule 1 for plugins `a` admits none"),
        ("[http]\nnetworks = ['192.168.1.1/24']", "line 2: `192.168.1.1/24` is no network"),
        ("[http]\nnetworks = ['camera.local']", "line 2: `camera.local` is no network"),
        ("[http]\nca_files = ['ca.pem']", "line 2: `ca.pem` is not an absolute path"),
        ("[[plugin]]\nid = 'a'\ngrant = ['mesh.discover']\nmax = []", "rule 1 for plugins `a` grants `mesh.discover`"),
        ("[[plugin]]\nid = '*'\n[[plugin]]\nid = 'a'", "rule 2 for plugins `a` never counts: rule 1 matches"),
        ("mesh =", "line 1: "),
        (" \n", "it is empty"),
        ("[mesh]\nfunctions = ['grant_*']", "`grant_*` in `mesh.functions` is none of the host's functions"),
        (
            "[[plugin]]\nid = 'a'\ninstall = false\ngrant = ['mesh.discover']",
            "rule 1 for plugins `a` admits none of them",
        ),
        ("[install]\nsources = ['url']\nsource_roots = ['/srv']", "`install.source_roots` means nothing"),
        (
            "[[plugin]]\nid = 'a'\ntree_digest = 'sha256:0000000000000000000000000000000000000000000000000000000000000000'",
            "rule 1 for plugins `a` is about some of them, and no later rule",
        ),
        ("[runtimes]\nnative = true", "`runtimes.native` cannot be on: this version runs no such plugins"),
        ("[runtimes]\ndocker = true", "`runtimes.docker` cannot be on: this version runs no such plugins"),
        ("[runtimes]\nwasm = true", "line 2: unknown field `wasm`"),
        ("[install]\nrequire_signature = true", "`install.require_signature` lets nothing be installed"),
        ("[install]\nsigners = ['RWS']", "line 2: `RWS` is no public key; write the second line"),
        (
            "[install]\nsigners = ['RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6']\nrequire_signature = true\n\
             source_roots = ['/srv']",
            "`install.source_roots` means nothing with `install.require_signature`",
        ),
        (
            "[[plugin]]\nid = 'a'\nsigner = 'RWSbhUHEuNjcE+c3glOFgUKjKlsrcUU6x4OVrNoenocQsMCSt/lUzlH6'\n[[plugin]]\nid = '*'",
            "rule 1 for plugins `a` never matches: `install.signers` does not name `RWSb",
        ),
        ("[[plugin]]\nid = 'a'\nsource = 'ftp'", "line 3: `ftp` is no source; there are bundle, upload, url"),
        ("[[plugin]]\nid = 'a'\nsource = 'bundle:x'", "line 3: `bundle:x` is no source"),
        ("[[plugin]]\nid = 'a'\nsource = 'object:a/b'", "line 3: `object:a/b` is no source"),
        ("[[plugin]]\nid = 'a'\nsource = 'url:example.com'", "line 3: `example.com` is no URL that archives come from"),
        ("[[plugin]]\nid = 'a'\nsource = 'url:https://a.b/?c'", "line 3: `https://a.b/?c` is no URL that"),
        ("[[plugin]]\nid = 'a'\nsource = 'url:https://u@a.b/'", "line 3: `https://u@a.b/` is no URL that"),
        ("[[plugin]]\nid = 'a'\nsource = 'url:https://a.b/c%2fd'", "line 3: `https://a.b/c%2fd` is no URL that"),
        ("[[plugin]]\nid = 'a'\nsource = 'folder:/srv/../etc'", "line 3: `/srv/../etc` is not an absolute path"),
        ("[[plugin]]\nid = 'a'\ndigest = 'x'", "line 3: invalid digest"),
        ("[[plugin]]\nid = 'a'\nsource = 'url'", "rule 1 for plugins `a` is about some of them, and no later rule"),
        (
            "[[plugin]]\nid = 'a'\nsource = 'url:https://a.b/c'\n[[plugin]]\nid = 'b'",
            "rule 1 for plugins `a` is about some of them, and no later rule",
        ),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    let long = format!("#{}", "x".repeat(POLICY_BYTES_MAX));
    assert_eq!(Policy::parse(&long, &FUNCTIONS).unwrap_err().code(), "policy_too_large");
}

#[test]
fn permissions_are_rated_by_the_worst_of_them() {
    let rated = |texts: &[&str]| rate(&texts.iter().map(|text| permission(text)).collect());
    for (texts, expected) in [
        (&[][..], Risk::Low),
        (&["mesh.discover", "state"], Risk::Low),
        (&["plugins:camera.capture", "mesh.discover"], Risk::Medium),
        (&["mesh.invoke:camera-1"], Risk::Medium),
        (&["plugins:camera.*"], Risk::Medium),
        (&["plugins:*"], Risk::High),
        (&["plugins:*.*"], Risk::High),
        (&["plugins:cam*"], Risk::High),
        (&["mesh.invoke:camera-*/capture", "mesh.invoke:door/open"], Risk::High),
        (&["mesh.invoke:*"], Risk::Critical),
        (&["http:https://api.example.com"], Risk::Medium),
        (&["http:https://*.example.com"], Risk::Medium),
        (&["http:https://*"], Risk::High),
        (&["mesh.subscribe:camera-1/motion", "mesh.subscribe:door-1"], Risk::Low),
        (&["mesh.subscribe:*/motion"], Risk::Medium),
        (&["env:STATION", "secret:token"], Risk::Medium),
        (&["files.ro:/srv"], Risk::Medium),
        (&["files.rw:/srv"], Risk::High),
    ] {
        assert_eq!(rated(texts).risk, expected, "{texts:?}");
    }
    let rating = rated(&["mesh.invoke:door/open", "mesh.invoke:*"]);
    assert_eq!(rating.reasons.len(), 2);
    assert!(rating.reasons[0].contains("every function of every device"), "{rating:?}");
}
