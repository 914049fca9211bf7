//! {{description}}

use tenon::{Error, Result, Value, json};

#[derive(Default)]
struct {{type_name}} {
    actions: u64,
}

#[tenon::plugin]
impl {{type_name}} {
    /// Returns the status of the service.
    #[function]
    fn get_service_status(&self) -> Value {
        json!({"status": "ok", "actions": self.actions})
    }

    /// Runs an action.
    #[function]
    fn run_action(
        &mut self,
        /// What to do.
        action: String,
        /// Anything the action needs.
        #[default = json!({})]
        params: Value,
    ) -> Result<Value> {
        if action.is_empty() {
            return Err(Error::new("invalid_action", "the action has no name"));
        }
        self.actions += 1;
        Ok(json!({"action": action, "params": params, "done": true}))
    }
}

#[cfg(test)]
mod tests {
    use super::{{type_name}};
    use tenon::json;

    #[test]
    fn actions_are_counted() {
        let mut host = tenon::testing::host::<{{type_name}}>();
        assert!(host.call("run_action", json!({"action": ""})).is_err());
        assert!(host.call("run_action", json!({"action": "open"})).is_ok());
        let status = host.call("get_service_status", json!({}));
        assert_eq!(status, Ok(json!({"status": "ok", "actions": 1})));
    }
}
