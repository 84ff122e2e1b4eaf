//! A text is a template or is refused. Values are inserted once: a placeholder inside a value stays text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_model::template::{Template, fill};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(template) = Template::parse(text) else { return };
    assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));

    let row = json!({"a": "{{row.a}}", "b": [1, {"c": null}]});
    let roots: [(&str, &Value); 1] = [("row", &row)];
    let paths = template.paths().count();
    let filled = fill(&json!({ "text": text }), &roots);
    let Ok(rendered) = template.render_text(&roots) else {
        assert!(paths > 0 && filled.is_err());
        return;
    };
    assert!(rendered.len() <= text.len() + paths * row.to_string().len());
    if paths == 0 {
        assert_eq!(rendered, text.replace("{{{{", "{{"));
    }
    let filled = &filled.expect("all paths have values")["text"];
    match template.only_path() {
        None => assert_eq!(*filled, *rendered),
        Some(_) => assert_eq!(filled.as_str().unwrap_or(&filled.to_string()), rendered),
    }
});
