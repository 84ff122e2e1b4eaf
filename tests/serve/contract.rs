//! Every answer that a test of the API gets is one that the contract describes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::Answered;

/// The contract of this program.
pub(super) fn contract() -> &'static Value {
    static CONTRACT: OnceLock<Value> = OnceLock::new();
    CONTRACT.get_or_init(runner::serve::openapi)
}

/// The template of the contract that a path below `/api/v1` matches: the one with the most words of its own.
fn route(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap();
    let asked: Vec<_> = path.split('/').collect();
    let templates = contract()["paths"].as_object().unwrap().keys();
    let templates = templates.filter_map(|template| template.strip_prefix("/api/v1"));
    let matching = templates.filter(|template| {
        let parts: Vec<_> = template.split('/').collect();
        let is_met = |(part, asked): (&&str, &&str)| {
            part == asked || part.starts_with('{') && !asked.is_empty()
        };
        parts.len() == asked.len() && parts.iter().zip(&asked).all(is_met)
    });
    matching.min_by_key(|template| template.matches('{').count())
}

/// Fails unless the contract describes this answer.
#[track_caller]
pub(super) fn assert_described(method: &str, path: &str, answered: &Answered) {
    // The contract itself is beside it.
    if path == "/openapi.json" {
        return;
    }
    let Some(route) = route(path) else {
        assert!(
            matches!(answered.status, 403..=405),
            "{method} {path} is not in the contract: {}",
            answered.status
        );
        return;
    };
    let method = method.to_ascii_lowercase();
    let operation = &contract()["paths"][format!("/api/v1{route}")][&method];
    if operation.is_null() {
        assert_eq!(answered.status, 405, "{method} {path}");
        return;
    }
    let mut response = &operation["responses"][answered.status.to_string()];
    assert!(
        response.is_object(),
        "{method} {route} says nothing of {}",
        answered.status
    );
    if let Some(place) = response["$ref"].as_str() {
        response = contract().pointer(place.trim_start_matches('#')).unwrap();
    }
    let content = response["content"].as_object().unwrap();
    let (media_type, content) = content.iter().next().unwrap();
    let said = answered.header("content-type").unwrap_or_default();
    let schema = &content["schema"]["$ref"];
    let Some(schema) = schema.as_str() else {
        return;
    };
    assert_eq!(said, media_type, "{method} {route}");
    let validator = validator(schema);
    let answer = answered.json();
    let errors: Vec<_> = validator
        .iter_errors(&answer)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, [""; 0], "{method} {route}: {answer:#}");
}

fn validator(schema: &str) -> Arc<Validator> {
    static KNOWN: OnceLock<Mutex<HashMap<String, Arc<Validator>>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap();
    let made = known.entry(schema.to_owned()).or_insert_with(|| {
        // The whole document, because schemas name each other in it.
        let mut whole = contract().clone();
        whole["$ref"] = schema.into();
        let validator = jsonschema::validator_for(&whole).unwrap();
        assert!(
            !validator.is_valid(&json!({})),
            "{schema}: anything is valid"
        );
        Arc::new(validator)
    });
    Arc::clone(made)
}
