//! The plugin that comes with the host: enough to see that everything works.

use serde::Serialize;
use tenon::{Result, Value, json};

#[derive(Default)]
struct Demo {
    ticks: u64,
}

#[derive(Serialize)]
struct Echo {
    message: String,
    tick: u64,
}

#[tenon::plugin]
impl Demo {
    /// Shows that the plugin is there.
    #[function]
    fn ping(&self) -> Value {
        json!({"pong": true, "plugin": "demo"})
    }

    /// Gives the message back, with the number of ticks so far.
    #[function]
    fn echo(
        &self,
        /// Any text.
        #[default = "hello"]
        message: String,
    ) -> Echo {
        Echo { message, tick: self.ticks }
    }

    /// Told every five seconds.
    #[event(name = "tick")]
    fn emit_tick(&self, tick: u64);

    #[routine(every = "5s")]
    fn tick(&mut self) -> Result<()> {
        self.ticks += 1;
        log::debug!("tick {}", self.ticks);
        self.emit_tick(self.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::Demo;
    use tenon::json;

    #[test]
    fn pings_are_answered() {
        let mut host = tenon::testing::host::<Demo>();
        assert_eq!(host.call("ping", json!({})), Ok(json!({"pong": true, "plugin": "demo"})));
    }

    #[test]
    fn ticks_are_told_and_counted() {
        let mut host = tenon::testing::host::<Demo>();
        assert_eq!(host.call("echo", json!({})), Ok(json!({"message": "hello", "tick": 0})));
        host.tick("tick").expect("ticked");
        host.tick("tick").expect("ticked");
        assert_eq!(host.call("echo", json!({"message": "hi"})), Ok(json!({"message": "hi", "tick": 2})));
        let ticks = host.events();
        assert_eq!(ticks, [("tick".to_owned(), json!({"tick": 1})), ("tick".to_owned(), json!({"tick": 2}))]);
    }
}
