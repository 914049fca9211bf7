//! What a plugin tells the host of itself.

use tenon::schemars::JsonSchema;
use tenon::testing::Description;
use tenon::{Result, Value, json};

/// How a lamp shines.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Steady,
    Blinking,
}

#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
struct Scene {
    /// Names the member that is called like a keyword of JSON Schema.
    title: String,
    level: u8,
}

#[derive(serde::Deserialize, JsonSchema)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Default)]
struct Lamp;

#[tenon::plugin]
impl Lamp {
    /// Dims the lamp,
    /// slowly.
    ///
    /// And more that callers need not read.
    ///
    /// # Arguments
    /// * `zone` - which lamp
    #[function(label("direction", "write"), label("category", "light"), tag("slow"))]
    fn dim(
        &self,
        zone: String,
        /// In percent.
        level: u8,
        #[default = "steady"] style: String,
        #[default = 1.5] seconds: f64,
        after: Option<u32>,
        #[default = Mode::Blinking] mode: Mode,
        scenes: Vec<Scene>,
    ) {
        let _ = (zone, level, style, seconds, after, mode, scenes);
    }

    #[function(name = "off-now")]
    async fn off(&self) {}

    #[function]
    fn grow(&self, tree: Tree) {
        let _ = tree.children;
    }

    /// Somebody moved.
    #[event(name = "motion-seen")]
    fn motion(&self, zone: String, confidence: Option<f32>);

    #[routine(every = "1500ms")]
    fn poll(&self) {}

    #[routine(delay = "2m", name = "clean_up")]
    async fn clean(&self) -> Result<()> {
        Ok(())
    }

    /// Has no role.
    #[allow(dead_code, reason = "shows that it is not described")]
    fn helper(&self) {}
}

fn described() -> Description {
    tenon::testing::host::<Lamp>().describe()
}

/// As text, since the order of the keys is part of what is promised.
fn pretty(json: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(json).expect("JSON")).expect("JSON")
}

#[test]
fn a_schema_follows_the_signature() {
    let described = described();
    let dim = &described.functions[0];
    assert_eq!((dim.name.as_str(), dim.description.as_str()), ("dim", "Dims the lamp, slowly."));
    assert_eq!(dim.tags, ["slow"]);
    let labels: Vec<_> = dim.labels.iter().map(|label| label.key.as_str()).collect();
    assert_eq!(labels, ["direction", "category"]);
    let expected = json!({
        "type": "object",
        "properties": {
            "zone": {"type": "string", "description": "which lamp"},
            "level": {"type": "integer", "description": "In percent."},
            "style": {"type": "string", "default": "steady"},
            "seconds": {"type": "number", "default": 1.5},
            "after": {"type": "integer", "default": null},
            "mode": {"type": "string", "enum": ["steady", "blinking"], "description": "How a lamp shines.", "default": "blinking"},
            "scenes": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "title": {
                        "description": "Names the member that is called like a keyword of JSON Schema.",
                        "type": "string",
                    },
                    "level": {"type": "integer"},
                },
                "required": ["title", "level"],
            }},
        },
        "required": ["zone", "level", "scenes"],
    });
    assert_eq!(pretty(&dim.parameters), serde_json::to_string_pretty(&expected).expect("JSON"));
}

#[test]
fn a_function_without_parameters_has_the_whole_shape_too() {
    let described = described();
    let off = &described.functions[1];
    assert_eq!((off.name.as_str(), off.description.as_str()), ("off-now", ""));
    assert_eq!(off.parameters, r#"{"type":"object","properties":{},"required":[]}"#);
}

#[test]
fn a_type_that_contains_itself_refers_to_itself() {
    let described = described();
    let schema: Value = serde_json::from_str(&described.functions[2].parameters).expect("JSON");
    let tree = &schema["properties"]["tree"];
    let reference = tree["properties"]["children"]["items"]["$ref"].as_str().expect("a reference");
    let target = schema.pointer(reference.trim_start_matches('#')).expect("what it refers to");
    assert_eq!(target["type"], "object");
}

#[test]
fn an_event_tells_its_payload() {
    let described = described();
    let [motion] = described.events.as_slice() else { panic!("one event") };
    assert_eq!((motion.name.as_str(), motion.description.as_str()), ("motion-seen", "Somebody moved."));
    let expected = json!({
        "type": "object",
        "properties": {"zone": {"type": "string"}, "confidence": {"type": "number"}},
        "required": ["zone"],
    });
    assert_eq!(motion.payload_schema.as_deref(), Some(expected.to_string().as_str()));
}

#[test]
fn routines_tell_their_pace() {
    let routines = described().routines;
    let told: Vec<_> = routines.iter().map(|r| (r.name.as_str(), r.interval_ns, format!("{:?}", r.cadence))).collect();
    assert_eq!(
        told,
        [
            ("poll", 1_500_000_000, "Cadence::FixedRate".to_owned()),
            ("clean_up", 120_000_000_000, "Cadence::FixedDelay".to_owned()),
        ]
    );
}

#[test]
fn nothing_else_is_described() {
    let described = described();
    let names: Vec<_> = described.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["dim", "off-now", "grow"], "in the order in which they are written");
    assert!(described.subscriptions.is_empty());
}
