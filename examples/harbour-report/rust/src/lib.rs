//! Puts what other plugins know on the harbour's sign.

use tenon::serde::{Deserialize, Serialize};
use tenon::{Error, Result, Value, json};

/// Asks the plugins `tides` and `water-level`, and writes to the sign that its config names.
#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct HarbourReport {
    sign: String,
}

#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct Tides {
    tides: Vec<Tide>,
}

#[derive(Serialize, Deserialize)]
#[serde(crate = "tenon::serde")]
struct Tide {
    time: String,
    r#type: String,
    height: f64,
}

#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct Water {
    level: Option<f64>,
}

#[derive(Serialize)]
#[serde(crate = "tenon::serde")]
struct Report {
    text: String,
    tide: Tide,
    level: Option<f64>,
}

#[tenon::plugin]
impl HarbourReport {
    #[init]
    fn new(config: Self) -> Self {
        config
    }

    /// Shows the next tide and the level of the water on the sign.
    #[function]
    async fn report(
        &self,
        /// The station, as the tides' service names it.
        station: String,
    ) -> Result<Report> {
        let wanted = json!({"station": station, "count": 1});
        let Tides { tides } = tenon::invoke_local("tides.next_tides", &wanted).await?;
        let Water { level } = tenon::invoke_local("water-level.get_readings", &json!({})).await?;
        let Some(tide) = tides.into_iter().next() else {
            return Err(Error::new("no_tide", format!("no tide of `{station}` is known")));
        };
        let shown = level.map_or("unknown".to_owned(), |level| format!("{level:.1} m"));
        let text = format!("{} water {}, level {shown}", tide.r#type, tide.time);
        let _: Value = tenon::invoke(&self.sign, "show", &json!({"text": text})).await?;
        Ok(Report { text, tide, level })
    }
}

#[cfg(test)]
mod tests {
    use super::HarbourReport;
    use tenon::json;

    #[test]
    fn what_is_known_is_shown() {
        let host = tenon::testing::host::<HarbourReport>().config(json!({"sign": "sign-1"}));
        let mut host = host.on_invoke(|invocation| {
            Ok(match invocation.function.as_str() {
                "tides.next_tides" => json!({"tides": [{"time": "04:10", "type": "high", "height": 6.1}]}),
                "water-level.get_readings" => json!({"level": 3.2}),
                shown => {
                    assert_eq!((shown, invocation.device.as_deref()), ("show", Some("sign-1")));
                    json!(null)
                }
            })
        });
        let report = host.call("report", json!({"station": "dover"})).expect("shown");
        assert_eq!(report["text"], "high water 04:10, level 3.2 m");
    }
}
