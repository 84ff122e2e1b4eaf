//! Compares answers of the server with its OpenAPI document.

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

/// Fails unless the document has the status, the media type and the JSON of an answer. `path` is below `/api/v1`. Calls that the
/// document lacks are refused.
#[track_caller]
pub(super) fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
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
    let mut place =
        format!("/paths/{}/{}/responses/{status}", escaped(found.unwrap()), method.to_lowercase());
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
    let mut compiler = Compiler::new();
    compiler.add_resource("urn:api", DOCUMENT.clone()).unwrap();
    let schema = format!("urn:api#{place}/content/{}/schema", escaped(media_type));
    let mut schemas = Schemas::new();
    let index = compiler.compile(&schema, &mut schemas).unwrap();
    if let Err(error) = schemas.validate(&answer.document(), index) {
        panic!("{method} {path}: {error:#}");
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
