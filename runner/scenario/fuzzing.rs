//! What a scenario's text may be.

use std::path::Path;

use miette::GraphicalReportHandler;
use serde_json::{Value, json};

use super::{Template, parse_stored};

/// A text is a scenario, or there is a report of what is wrong with it that points into it.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match parse_stored(Path::new("scenario.toml"), text) {
        Ok(scenario) => {
            assert!(!scenario.providers().is_empty());
            assert_eq!(&**scenario.text(), text);
        }
        Err(error) => {
            let mut report = String::new();
            let shown = GraphicalReportHandler::new().render_report(&mut report, &error);
            shown.expect("what is wrong can be shown");
            assert!(!report.is_empty());
        }
    }
}

/// Places in a template are filled once: what looks like one inside of a value is part of the value.
pub fn templates(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(template) = Template::parse(text) else {
        return;
    };
    let keys: Vec<_> = template.keys_of("row").map(<[String]>::to_vec).collect();
    assert_eq!(
        template.check_roots(&["row"]).is_ok(),
        keys.len() == places(text)
    );
    let value = json!({"a": "{{row.a}}", "b": [1, {"c": null}]});
    let roots: [(&str, &Value); 1] = [("row", &value)];
    let Ok(rendered) = template.render_text(&roots) else {
        assert!(template.render_value(&roots).is_err() && text.contains("{{"));
        return;
    };
    assert!(rendered.len() <= text.len() + places(text) * value.to_string().len());
    if keys.is_empty() {
        assert_eq!(rendered, text);
    }
    // Every one that is left came with a value.
    let named = keys
        .iter()
        .filter(|keys| keys.is_empty() || *keys == &["a"]);
    assert_eq!(rendered.matches("{{row.a}}").count(), named.count());
}

fn places(text: &str) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("{{") {
        count += 1;
        rest = behind.split_once("}}").map_or("", |(_, behind)| behind);
    }
    count
}
