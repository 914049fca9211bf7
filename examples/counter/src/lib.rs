//! Counts. A plugin lives as long as it is loaded, so what it keeps in its fields is there at the next call.

use tenon::Result;

#[derive(Default)]
struct Counter {
    value: i64,
}

#[tenon::plugin]
impl Counter {
    /// Adds to the counter and returns its new value.
    #[function]
    fn increment(
        &mut self,
        /// How much is added; may be negative.
        #[default = 1]
        by: i64,
    ) -> Result<i64> {
        self.value = self.value.checked_add(by).ok_or("the counter cannot go any further")?;
        Ok(self.value)
    }

    /// Returns the value of the counter.
    #[function]
    fn get(&self) -> i64 {
        self.value
    }

    /// Sets the counter back to zero and returns what it was.
    #[function]
    fn reset(&mut self) -> Result<i64> {
        let last = std::mem::take(&mut self.value);
        self.counter_reset(last)?;
        Ok(last)
    }

    /// The counter was set back to zero.
    #[event]
    fn counter_reset(
        &self,
        /// Its value until then.
        last: i64,
    );
}

#[cfg(test)]
mod tests {
    use super::Counter;
    use tenon::json;

    /// Methods are methods: what needs no host is tested without one.
    #[test]
    fn a_full_counter_stays_as_it_is() {
        let mut counter = Counter { value: i64::MAX };
        assert!(counter.increment(1).is_err());
        assert_eq!(counter.get(), i64::MAX);
    }

    /// What a caller sees, and what the plugin tells the mesh, is tested in a host of the test's own.
    #[test]
    fn the_value_is_kept_between_calls() {
        let mut host = tenon::testing::host::<Counter>();
        assert_eq!(host.call("increment", json!({})), Ok(json!(1)));
        assert_eq!(host.call("increment", json!({"by": 41})), Ok(json!(42)));
        assert_eq!(host.call("get", json!({})), Ok(json!(42)));
    }

    #[test]
    fn a_reset_is_told() {
        let mut host = tenon::testing::host::<Counter>();
        host.call("increment", json!({"by": 3})).expect("counted");
        assert_eq!(host.call("reset", json!({})), Ok(json!(3)));
        assert_eq!(host.call("get", json!({})), Ok(json!(0)));
        assert_eq!(host.events(), [("counter_reset".to_owned(), json!({"last": 3}))]);
    }
}
