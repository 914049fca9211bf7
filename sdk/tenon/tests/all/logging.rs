//! Records of `log` and events of `tracing` reach the plugin's log.

use tenon::{Level, json};

#[derive(Default)]
struct Talker;

#[tenon::plugin]
impl Talker {
    #[function]
    fn talk(&self) {
        log::warn!("low {}", 3);
        #[cfg(feature = "tracing")]
        tracing::info!(zone = "hall", level = 7, "dimmed");
        tenon::log(Level::Debug, "own", "by hand");
    }
}

#[test]
fn lines_carry_level_target_and_message() {
    let mut host = tenon::testing::host::<Talker>();
    host.call("talk", json!({})).expect("talked");
    let lines: Vec<_> = host.logs().into_iter().map(|line| (line.level, line.target, line.message)).collect();
    let mut expected = vec![(Level::Warn, module_path!().to_owned(), "low 3".to_owned())];
    #[cfg(feature = "tracing")]
    expected.push((Level::Info, module_path!().to_owned(), "dimmed zone=\"hall\" level=7".to_owned()));
    expected.push((Level::Debug, "own".to_owned(), "by hand".to_owned()));
    assert_eq!(lines, expected);
}
