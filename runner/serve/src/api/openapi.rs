//! The OpenAPI 3.1 document of the API, made from the table of calls.

use axum::http::Method;
use runner_report::schema_settings;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::problem::HttpProblem;
use super::route::{BASE, Route};

/// Problems of all calls.
const PROBLEMS: [u16; 7] = [400, 401, 403, 404, 421, 500, 507];
/// Problems of all calls that change something.
const WRITE_PROBLEMS: [u16; 3] = [408, 413, 415];

/// Generators of the schemas of answers and of requests, which differ in keys that may be absent.
struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
}

/// Returns the document.
pub(super) fn document(routes: &[Route]) -> Value {
    let generator = |is_answer| {
        let mut settings = schema_settings(is_answer);
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.into_generator()
    };
    let mut schemas = Schemas { answers: generator(true), requests: generator(false) };
    let mut paths = Map::new();
    for route in routes {
        let call = schemas.call(route);
        paths.entry(route.path).or_insert_with(|| json!({}))[method(route)] = call;
    }
    let problem = schemas.answers.subschema_for::<HttpProblem>();
    let mut definitions = schemas.requests.take_definitions(true);
    for (name, schema) in schemas.answers.take_definitions(true) {
        let other = definitions.insert(name.clone(), schema.clone());
        // References would lead to the schema of another type.
        assert!(other.is_none_or(|other| other == schema), "two types are called `{name}`");
    }
    for name in definitions.keys() {
        // The generator numbers further types of a name in the order of the calls, which changes with each new call.
        let of_name = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
        assert!(
            of_name == name || !definitions.contains_key(of_name),
            "two are called `{of_name}`"
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runner",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs of a results root. Durations are in milliseconds, times in UTC.",
        },
        "servers": [{ "url": BASE }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "The request was refused (RFC 9457)",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "schemas": definitions,
        },
    })
}

fn method(route: &Route) -> String {
    route.method.as_str().to_lowercase()
}

impl Schemas {
    fn call(&mut self, route: &Route) -> Value {
        let words = route.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
        let name: Vec<_> = words.collect();
        let mut call = json!({
            "operationId": format!("{}-{}", method(route), name.join("-")),
            "summary": route.summary,
            "parameters": self.parameters(route),
            "responses": self.responses(route),
        });
        if route.method != Method::GET {
            let schema = self.input(route);
            call["requestBody"] =
                json!({ "content": { "application/json": { "schema": schema } } });
        }
        if route.path == "/login" {
            call["security"] = json!([]);
        }
        call
    }

    fn parameters(&mut self, route: &Route) -> Vec<Value> {
        let names = route.path.split('{').skip(1).filter_map(|part| part.split('}').next());
        let in_path = names.map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        });
        let mut parameters: Vec<_> = in_path.collect();
        if route.method != Method::GET {
            return parameters;
        }
        let query = self.input(route);
        let required = query["required"].as_array().cloned().unwrap_or_default();
        for (name, schema) in query["properties"].as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let description =
                schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter = json!({
                "name": name,
                "in": "query",
                "required": required.contains(&json!(name)),
                "schema": schema,
            });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameters.push(parameter);
        }
        parameters
    }

    fn responses(&mut self, route: &Route) -> Value {
        let schema = route.document.map(|make| json!({ "schema": make(&mut self.answers) }));
        let content = json!({ route.media_type: schema.unwrap_or_else(|| json!({})) });
        let mut responses = json!({});
        for status in route.statuses {
            responses[status.to_string()] = json!({ "description": "Success", "content": content });
        }
        let is_write = route.method != Method::GET;
        let more = WRITE_PROBLEMS.into_iter().filter(|_| is_write);
        for status in PROBLEMS.into_iter().chain(more).chain(route.problems.iter().copied()) {
            responses[status.to_string()] = json!({ "$ref": "#/components/responses/Problem" });
        }
        responses
    }

    /// Returns the schema of a call's input, with the same transforms as definitions.
    fn input(&mut self, route: &Route) -> Value {
        let mut schema = (route.input)(&mut self.requests);
        for transform in self.requests.transforms_mut() {
            transform.transform(&mut schema);
        }
        schema.to_value()
    }
}
