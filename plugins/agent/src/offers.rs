//! [`Offers`], the tools as the model sees them.

use chat_model::bound::{MAX_HANDOVER, length};
use chat_model::{Call, Definition, MAX_NAME, accepted_name, shown};
use runner_sdk::tools::{self, Tool, ToolError, ToolErrorKind};
use serde_json::{Map, Value, json};

use crate::refused;

/// Keys that OpenAI or Anthropic refuse at the root of a schema.
const NOT_AT_ROOT: &[&str] = &["allOf", "anyOf", "const", "enum", "not", "oneOf"];

/// The tools that a model may call.
pub(crate) struct Offers(Vec<Offer>);

struct Offer {
    /// The tool's name for the model.
    name: String,
    tool: Tool,
    parameters: Value,
    /// Whether the tool's input is the argument `input`, since arguments are always an object.
    is_wrapped: bool,
}

impl Offers {
    pub(crate) fn new(tools: Vec<Tool>) -> Self {
        let mut offers: Vec<Offer> = Vec::new();
        for tool in tools {
            let name = free_name(&tool.name, &offers);
            let (parameters, is_wrapped) = parameters(tool.input_schema.as_ref());
            offers.push(Offer { name, tool, parameters, is_wrapped });
        }
        Self(offers)
    }

    /// Returns the tools for the model.
    pub(crate) fn definitions(&self) -> impl Iterator<Item = Definition<'_>> {
        self.0.iter().map(|offer| Definition {
            name: &offer.name,
            description: &offer.tool.description,
            parameters: &offer.parameters,
        })
    }

    /// Calls a tool. The runner does not see calls that have no tool or no input, so the transcript gets them here.
    pub(crate) fn call(&self, call: &Call) -> Result<Value, ToolError> {
        match self.input(call) {
            Ok((tool, input)) => tools::call(tool, &input),
            Err(error) => {
                refused::add_step(call, &error);
                Err(error)
            }
        }
    }

    /// Returns the name of the tool in the scenario, and its input.
    fn input<'o>(&'o self, call: &Call) -> Result<(&'o str, Value), ToolError> {
        let offer = self.0.iter().find(|offer| offer.name == call.name);
        // A prompt may have the name in the scenario.
        let offer = offer.or_else(|| self.0.iter().find(|offer| offer.tool.name == call.name));
        let Some(offer) = offer else {
            let known: Vec<_> = self.0.iter().map(|offer| format!("`{}`", offer.name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("there is no tool `{}`; tools: {known}", shown(&call.name));
            return Err(ToolError::new(ToolErrorKind::Denied, message));
        };
        let refused = |message| ToolError::new(ToolErrorKind::InvalidInput, message);
        let mut arguments = call.arguments.clone().map_err(refused)?;
        let input = if offer.is_wrapped {
            arguments.remove("input").unwrap_or(Value::Object(arguments))
        } else {
            arguments.into()
        };
        // More than that would end the whole attempt.
        match length(&input) {
            bytes if bytes > MAX_HANDOVER => Err(refused(format!(
                "the arguments have {bytes} bytes, the most are {MAX_HANDOVER}"
            ))),
            _ => Ok((&offer.tool.name, input)),
        }
    }
}

/// Returns the name of a tool for the model, which no other tool has.
fn free_name(name: &str, offers: &[Offer]) -> String {
    let mapped = accepted_name(name);
    let is_free = |name: &String| offers.iter().all(|offer| offer.name != *name);
    let numbered = (2_u32..).map(|number| {
        let end = format!("_{number}");
        format!("{}{end}", &mapped[..mapped.len().min(MAX_NAME - end.len())])
    });
    std::iter::once(mapped.clone()).chain(numbered).find(is_free).unwrap_or(mapped)
}

/// Returns the schema of a tool's arguments, and whether the input is in their key `input`.
fn parameters(schema: Option<&Value>) -> (Value, bool) {
    let mut schema = match schema {
        Some(Value::Object(schema)) => schema.clone(),
        _ => Map::from_iter([("type".to_owned(), json!("object"))]),
    };
    // Some servers refuse this key.
    schema.remove("$schema");
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    if is_object && !NOT_AT_ROOT.iter().any(|key| schema.contains_key(*key)) {
        // OpenAI refuses an object without this key.
        schema.entry("properties").or_insert_with(|| json!({}));
        return (schema.into(), false);
    }
    let mut parameters = json!({"type": "object", "required": ["input"]});
    // References start at the root.
    for key in ["$defs", "definitions"] {
        if let Some(definitions) = schema.remove(key) {
            parameters[key] = definitions;
        }
    }
    parameters["properties"] = json!({ "input": schema });
    move_references(&mut parameters);
    (parameters, true)
}

/// Makes references to the root of a schema, or to parts of it, those to the property `input`. Definitions are still at the root.
fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            for (key, value) in keys {
                match value {
                    Value::String(place) if key == "$ref" => {
                        if let Some(part) = place.strip_prefix('#')
                            && (part.is_empty() || part.starts_with('/'))
                            && !part.starts_with("/$defs/")
                            && !part.starts_with("/definitions/")
                        {
                            *place = format!("#/properties/input{part}");
                        }
                    }
                    value => move_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}
