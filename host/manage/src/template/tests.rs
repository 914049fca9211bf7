use super::*;

fn rendered(language: Language, id: &str, description: &str) -> Vec<TemplateFile> {
    let id = PluginId::new(id).unwrap();
    render(language, Outline { id: &id, class_name: &class_name(&id), description }).unwrap()
}

fn text<'a>(files: &'a [TemplateFile], path: &str) -> &'a str {
    &files.iter().find(|file| file.path == path).unwrap().text
}

#[test]
fn class_names_come_from_the_id() {
    for (id, name) in [
        ("garage-door", "GarageDoorCapability"),
        ("my_sensor-2", "MySensor2Capability"),
        ("3d", "Plugin3dCapability"),
        ("aBC", "ABCCapability"),
    ] {
        let name_of_id = class_name(&PluginId::new(id).unwrap());
        assert_eq!(name_of_id, name);
        assert!(rust::is_type_name(&name_of_id) && python::is_class_name(&name_of_id));
    }
}

#[test]
fn every_language_has_its_name_and_the_file_to_go_on_with() {
    for language in Language::ALL {
        assert_eq!(Language::named(language.name()), Some(language));
        assert!(!text(&rendered(language, "x-1", ""), language.source()).is_empty());
    }
    assert_eq!(Language::named("cobol"), None);
}

#[test]
fn nothing_is_left_to_fill_in() {
    for language in Language::ALL {
        for file in rendered(language, "garage-door", "Opens the door") {
            assert!(!file.text.contains("{{") && !file.text.contains("}}"), "{}: {}", file.path, file.text);
        }
    }
}

#[test]
fn a_hostile_description_stays_a_description() {
    let description = "says \"hi\\\"\", {{type_name}}\n*/ panic!() //\u{7f}";
    for language in Language::ALL {
        let files = rendered(language, "x-1", description);
        let manifest: serde_json::Value = serde_json::from_str(text(&files, "manifest.json")).unwrap();
        assert_eq!(manifest["description"], "says \"hi\\\"\", {{type_name}} */ panic!() //");
        assert_eq!(manifest["id"], "x-1");
        let line = text(&files, "README.md").lines().nth(2).unwrap();
        assert_eq!(line, "says \"hi\\\"\", {{type_name}} */ panic!() //");
    }
}

#[test]
fn no_description_leaves_a_docstring() {
    for (description, docstring) in [
        ("ends with \"", r#""""ends with \"""""#),
        ("\"\"\"\nimport os\n\"\"\"", r#""""\"\"\" import os \"\"\"""""#),
        ("ends with \\", r#""""ends with \\""""#),
        (r"\N{DIGIT ONE} \x41", r#""""\\N{DIGIT ONE} \\x41""""#),
        ("", r#""""""""#),
    ] {
        let files = rendered(Language::Python, "x-1", description);
        let source = text(&files, "capability.py");
        assert_eq!(source.lines().next(), Some(docstring));
        assert_eq!(source.lines().filter(|line| line.trim() == docstring).count(), 2, "{source}");
    }
}

/// What the reference's accidents would make a wrong schema of (wire contract 6.2).
#[test]
fn schemas_of_the_python_template_are_what_they_say() {
    let files = rendered(Language::Python, "x-1", "");
    let source = text(&files, "capability.py");
    let signatures: Vec<&str> = source.lines().filter(|line| line.trim_start().starts_with("async def")).collect();
    assert_eq!(signatures.len(), 2);
    for signature in signatures {
        assert!(!signature.contains('|') && !signature.contains('*'), "{signature}");
    }
}

#[test]
fn the_example_is_what_the_python_template_renders() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugin-template");
    let files = rendered(Language::Python, "plugin-template", "Capability plugin for plugin-template");
    for file in &files {
        assert_eq!(std::fs::read_to_string(folder.join(file.path)).unwrap(), file.text, "{}", file.path);
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), files.len());
}

#[test]
fn crates_get_a_name_that_cargo_takes() {
    for (id, name) in
        [("garage-door", "garage-door"), ("3d", "plugin-3d"), ("match", "plugin-match"), ("std", "plugin-std")]
    {
        let files = rendered(Language::Rust, id, "");
        assert!(text(&files, "Cargo.toml").contains(&format!("name = \"{name}\"")), "{id}");
    }
}

#[test]
fn the_sdk_may_lie_in_a_checkout() {
    let id = PluginId::new("x-1").unwrap();
    let outline = Outline { id: &id, class_name: "X", description: "" };
    let files = render_against(Path::new("/a \"b\"/tenon"), outline).unwrap();
    assert!(text(&files, "Cargo.toml").contains(r#"tenon = { path = "/a \"b\"/tenon" }"#));
    assert!(text(&rendered(Language::Rust, "x-1", ""), "Cargo.toml").contains("tenon = { git = \"https://"));
}

#[test]
fn a_class_name_that_does_not_compile_is_refused() {
    let id = PluginId::new("x").unwrap();
    let with = |language, class_name| render(language, Outline { id: &id, class_name, description: "" });
    for bad in ["", "1A", "A B", "a", "Self", "A;", "Ä"] {
        assert_eq!(with(Language::Rust, bad), Err(TemplateError::RustType(bad.to_owned())));
    }
    for bad in ["", "1A", "A B", "None", "class", "A:", "A(x)", "Ä", "logger", "A\n"] {
        assert_eq!(with(Language::Python, bad), Err(TemplateError::PythonClass(bad.to_owned())));
    }
    for good in ["a", "_A", "Self", "GarageDoor2"] {
        assert!(with(Language::Python, good).is_ok(), "{good}");
    }
}
