//! The document that describes the API: OpenAPI 3.1, made of the same table as the router.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::route::{MAX_KEY, Route, RouteAnswer, RouteMethod, SchemaMaker};
use crate::serve::problem::HttpProblem;

/// Describes `routes`.
pub(super) fn describe(routes: &[Route]) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let problem = schemas.subschema_for::<HttpProblem>();
    let mut paths = Map::new();
    for route in routes {
        let item = paths
            .entry(format!("/api/v1{}", route.path))
            .or_insert_with(|| json!({}));
        item[method(route.method)] = operation(route, &mut schemas);
    }
    let security = json!([{ "bearer": [] }, { "cookie": [] }]);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "runner",
            "version": "1",
            "description": "What `runner serve` answers. Durations are in milliseconds, sizes in bytes, instants in UTC.",
        },
        "security": security,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "runner-7878" },
            },
            "responses": {
                "HttpProblem": {
                    "description": "It was not done, and this is why",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn method(method: RouteMethod) -> &'static str {
    match method {
        RouteMethod::Get => "get",
        RouteMethod::Post => "post",
        RouteMethod::Delete => "delete",
    }
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(route.path);
    parameters.extend(
        route
            .query
            .into_iter()
            .flat_map(|make| query_parameters(make, schemas)),
    );
    if route.has_key {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Whatever tells this request from every other: sent again with the same key, it is not carried out again",
            "schema": { "type": "string", "minLength": 1, "maxLength": MAX_KEY },
        }));
    }
    let mut responses = Map::new();
    for status in route.statuses {
        let content = match &route.answer {
            RouteAnswer::Document(make) => {
                json!({ "application/json": { "schema": make(schemas) } })
            }
            RouteAnswer::Bytes(media_type) => json!({ *media_type: {} }),
        };
        let response = json!({ "description": done(*status), "content": content });
        responses.insert(status.to_string(), response);
    }
    // Any call may be refused before it is looked at, any name may be that of nothing, and the disk may be full.
    let mut everywhere = vec![400, 401, 403, 421, 500, 507];
    if route.path.contains('{') {
        everywhere.extend([404, 409]);
    }
    if route.body.is_some() {
        everywhere.extend([408, 413, 415]);
    }
    for status in everywhere.iter().chain(route.problems) {
        responses.insert(
            status.to_string(),
            json!({ "$ref": "#/components/responses/HttpProblem" }),
        );
    }
    let mut operation = json!({
        "summary": route.summary,
        "operationId": format!("{}{}", method(route.method), route.path.replace(['{', '}'], "")),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(make) = route.body {
        operation["requestBody"] = json!({
            "content": { "application/json": { "schema": make(schemas) } },
        });
    }
    operation
}

/// What a status says that is not a problem.
fn done(status: u16) -> &'static str {
    match status {
        201 => "It was started",
        202 => "It was asked for, and goes on",
        206 => "A part of it",
        504 => "It was asked for, and nobody has answered",
        _ => "It was done",
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let description = match name {
                "run" => "The run's id, or a part of it that no other run's has, or `latest`",
                "trial" => "The trial's id, `test@provider#repeat`, or its place in the plan",
                "attempt" => "The number of the attempt, from 1",
                "request" => "The id of the request that waits, or a part of it that no other has",
                _ => "The name of the file",
            };
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "schema": { "type": "string" },
            })
        })
        .collect()
}

/// The keys of a query's type, each as a parameter.
fn query_parameters(make: SchemaMaker, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let schema = make(schemas).to_value();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let keys = schema["properties"].as_object().into_iter().flatten();
    keys.map(|(name, schema)| {
        let mut schema = schema.clone();
        let description = schema["description"].take();
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("description");
        }
        json!({
            "name": name, "in": "query", "required": required.contains(&name.as_str()),
            "description": description, "schema": schema,
        })
    })
    .collect()
}
