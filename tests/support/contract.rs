//! Compares requests and answers of the server with its OpenAPI document.

use std::{fs, sync::LazyLock};

use boon::{Compiler, Schemas};
use serde_json::Value;

use super::guests::root;
use super::http::Answer;

/// The published document. `printed_schemas_are_the_published_ones` compares it with that of the program.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = fs::read_to_string(root().join("schemas/openapi.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

/// Fails unless the document has the status, the media type and the JSON of an answer, and the keys and the body of a request that
/// succeeded. `path` is below `/api/v1`. Calls that the document lacks are refused.
#[track_caller]
pub(super) fn check(method: &str, path: &str, body: Option<&Value>, answer: &Answer) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A fixed part of a path comes before a name.
    let found = paths
        .keys()
        .filter(|known| has_form(path, known))
        .min_by_key(|known| known.matches('{').count());
    let call =
        found.map(|known| &paths[known][method.to_lowercase()]).filter(|call| call.is_object());
    let status = answer.status.to_string();
    let Some(call) = call else {
        return assert!(answer.status >= 400, "{method} {path} is not in the document: {status}");
    };
    let call_place = format!("/paths/{}/{}", escaped(found.unwrap()), method.to_lowercase());
    if let Some(body) = body.filter(|_| answer.status < 400) {
        let place = format!("{call_place}/requestBody/content/{}", escaped("application/json"));
        check_json(&place, body, &format!("the body of {method} {path}"));
    }
    for key in query.split('&').filter_map(|pair| pair.split('=').next()) {
        let parameters = call["parameters"].as_array().unwrap();
        let is_known =
            parameters.iter().any(|known| known["in"] == "query" && known["name"] == key);
        assert!(key.is_empty() || is_known || answer.status >= 400, "{method} {path} has no {key}");
    }
    let mut place = format!("{call_place}/responses/{status}");
    let mut response = &call["responses"][&status];
    assert!(response.is_object(), "{method} {path} has no status {status}: {}", answer.text());
    if let Some(name) = response["$ref"].as_str() {
        place = name.trim_start_matches('#').to_owned();
        response = DOCUMENT.pointer(&place).unwrap();
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    let contents = response["content"].as_object();
    let has = |key: &String| key == "*/*" || key.split(';').next() == Some(media_type);
    let is_known = contents.is_none_or(|all| all.keys().any(has));
    assert!(is_known, "{method} {path} has no media type {media_type}");
    if !media_type.ends_with("json") || media_type == "application/x-ndjson" {
        return;
    }
    let place = format!("{place}/content/{}", escaped(media_type));
    check_json(&place, &answer.document(), &format!("the answer to {method} {path}"));
}

/// Compares JSON with the schema at a place of the document.
#[track_caller]
fn check_json(place: &str, json: &Value, what: &str) {
    let mut compiler = Compiler::new();
    compiler.add_resource("urn:api", DOCUMENT.clone()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile(&format!("urn:api#{place}/schema"), &mut schemas).unwrap();
    if let Err(error) = schemas.validate(json, index) {
        panic!("{what}: {error:#}");
    }
}

/// Returns whether a path has the form of one with names in braces.
fn has_form(path: &str, form: &str) -> bool {
    let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (path, form) = (parts(path), parts(form));
    path.len() == form.len()
        && path.iter().zip(&form).all(|(part, form)| form.starts_with('{') || part == form)
}

/// Escapes a key for a JSON pointer in an address.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
}
