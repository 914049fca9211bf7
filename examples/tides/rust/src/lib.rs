//! Tells the next tides of a station, from a web service.

use std::time::Duration;
use tenon::http::Request;
use tenon::serde::{Deserialize, Serialize};
use tenon::{Error, Result};

/// Reads the service that its config names.
#[derive(Deserialize)]
#[serde(crate = "tenon::serde")]
struct Tides {
    service: String,
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
struct Answer {
    tides: Vec<Tide>,
}

#[derive(Serialize)]
#[serde(crate = "tenon::serde")]
struct Listed {
    station: String,
    tides: Vec<Tide>,
}

#[tenon::plugin]
impl Tides {
    #[init]
    fn new(config: Self) -> Self {
        config
    }

    /// Tells the next tides of a station.
    #[function]
    async fn next_tides(
        &self,
        /// The station, as the service names it.
        station: String,
        /// How many, at most 10.
        #[default = 2]
        count: usize,
    ) -> Result<Listed> {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if station.is_empty() || !station.chars().all(is_name) {
            let message = format!("`{station}` is no station: small letters, digits and `-` name one");
            return Err(Error::new("invalid_station", message));
        }
        if !(1..=10).contains(&count) {
            return Err(Error::new("invalid_count", "count has to be from 1 to 10"));
        }
        let request = Request::get(format!("{}/stations/{station}/tides", self.service));
        let answer = request.timeout(Duration::from_secs(10)).send().await?;
        if answer.status() == 404 {
            return Err(Error::new("unknown_station", format!("the service knows no station `{station}`")));
        }
        let answer: Result<Answer> = answer.expect_success()?.json();
        let Ok(Answer { mut tides }) = answer else {
            return Err(Error::new("invalid_answer", "the service's answer is no list of tides"));
        };
        tides.truncate(count);
        Ok(Listed { station, tides })
    }
}

#[cfg(test)]
mod tests {
    use super::Tides;
    use tenon::http::Response;
    use tenon::json;

    #[test]
    fn the_next_tides_are_read() {
        let config = json!({"service": "https://tides.example.com"});
        let mut host = tenon::testing::host::<Tides>().config(config).web(|request| {
            assert_eq!(request.url, "https://tides.example.com/stations/dover/tides");
            Ok(Response::new(200, r#"{"tides": [{"time": "04:10", "type": "high", "height": 6.1}]}"#))
        });
        let tides = json!([{"time": "04:10", "type": "high", "height": 6.1}]);
        assert_eq!(
            host.call("next_tides", json!({"station": "dover"})),
            Ok(json!({"station": "dover", "tides": tides}))
        );
        assert_eq!(host.call("next_tides", json!({"station": "../x"})).unwrap_err().code(), "invalid_station");
    }
}
