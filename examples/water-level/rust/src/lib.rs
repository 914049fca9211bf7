//! Watches a gauge and tells when the water is high.

use std::cell::{Cell, RefCell};
use tenon::serde::{Deserialize, Serialize};
use tenon::{Result, json, state};

/// Asks the gauge that its config names, and keeps the record over restarts.
struct WaterLevel {
    config: Config,
    level: Cell<Option<f64>>,
    problem: RefCell<Option<String>>,
}

#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct Config {
    gauge: String,
    limit: f64,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(crate = "tenon::serde")]
struct Record {
    highest: Option<f64>,
    alarms: u64,
    is_high: bool,
}

#[derive(Serialize)]
#[serde(crate = "tenon::serde")]
struct Readings {
    level: Option<f64>,
    problem: Option<String>,
    highest: Option<f64>,
    alarms: u64,
}

#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct Measured {
    level: f64,
}

fn record() -> Result<Record> {
    Ok(state::get("record")?.unwrap_or_default())
}

#[tenon::plugin]
impl WaterLevel {
    #[init]
    fn new(config: Config) -> Self {
        Self { config, level: Cell::default(), problem: RefCell::default() }
    }

    /// The water has risen above the limit.
    #[event]
    fn high_water(
        &self,
        /// Where it is, in metres.
        level: f64,
        /// What it is above.
        limit: f64,
    );

    /// Tells the level of the water, and its record.
    #[function]
    fn get_readings(&self) -> Result<Readings> {
        let Record { highest, alarms, .. } = record()?;
        Ok(Readings { level: self.level.get(), problem: self.problem.borrow().clone(), highest, alarms })
    }

    /// Asks the gauge.
    #[routine(every = "1s")]
    async fn poll(&self) -> Result<()> {
        let asked: Result<Measured> = tenon::invoke(&self.config.gauge, "get_level", &json!({})).await;
        let level = match asked {
            Ok(measured) => measured.level,
            Err(error) => {
                self.level.set(None);
                self.problem.replace(Some(error.message().to_owned()));
                return Ok(());
            }
        };
        let last = record()?;
        let is_high = level > self.config.limit;
        let rises = is_high && !last.is_high;
        let highest = last.highest.map_or(level, |highest| highest.max(level));
        let now = Record { highest: Some(highest), alarms: last.alarms + u64::from(rises), is_high };
        if now != last {
            state::set("record", &now)?;
        }
        self.level.set(Some(level));
        self.problem.replace(None);
        if rises {
            self.high_water(level, self.config.limit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::WaterLevel;
    use tenon::json;

    #[test]
    fn an_alarm_is_told_once_and_the_record_kept() {
        let mut levels = [3.0, 4.5, 5.0, 3.5].into_iter();
        let mut host = tenon::testing::host::<WaterLevel>()
            .config(json!({"gauge": "gauge-1", "limit": 4.0}))
            .on_invoke(move |_| Ok(json!({"level": levels.next()})));
        for _ in 0..4 {
            host.tick("poll").expect("polled");
        }
        assert_eq!(host.events(), [("high_water".to_owned(), json!({"level": 4.5, "limit": 4.0}))]);
        host.restart();
        let kept = json!({"level": null, "problem": null, "highest": 5.0, "alarms": 1});
        assert_eq!(host.call("get_readings", json!({})), Ok(kept));
    }
}
