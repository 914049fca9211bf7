//! Says hello.

use tenon::{Value, json};

#[derive(Default)]
struct HelloWorld;

#[tenon::plugin]
impl HelloWorld {
    /// Returns a greeting.
    #[function]
    fn hello_world(
        &self,
        /// Who is greeted.
        #[default = "world"]
        name: String,
    ) -> Value {
        json!({"message": format!("Hello, {name}!")})
    }
}
