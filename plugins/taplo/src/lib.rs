//! The crate `taplo` as a TOML decoder. It reads TOML 1.0.

use parser::dom::Node;
use parser::dom::node::IntegerValue;
use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
use serde_json::Value as Json;
use toml_tagged::Case;

struct Taplo;

impl Provider for Taplo {
    type Input = Case;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        toml_tagged::answer(test.input, decode)
    }
}

runner_sdk::export!(Taplo);

/// Decodes a document. The parser accepts some invalid documents, which only the validation of the tree refuses.
fn decode(text: &str) -> Result<Json, String> {
    let parse = parser::parser::parse(text);
    if let Some(error) = parse.errors.first() {
        return Err(error.to_string());
    }
    let root = parse.into_dom();
    if let Err(mut errors) = root.validate() {
        let error = errors.next();
        return Err(error.map_or_else(|| "not valid".to_owned(), |error| error.to_string()));
    }
    tag(&root)
}

fn tag(node: &Node) -> Result<Json, String> {
    Ok(match node {
        Node::Str(text) => toml_tagged::string(text.value()),
        Node::Integer(number) => match number.value() {
            IntegerValue::Negative(number) => toml_tagged::integer(number),
            IntegerValue::Positive(number) => toml_tagged::integer(
                i64::try_from(number).map_err(|_| format!("`{number}` is too large"))?,
            ),
        },
        Node::Float(number) => toml_tagged::float(number.value()),
        Node::Bool(flag) => toml_tagged::boolean(flag.value()),
        Node::Date(datetime) => {
            toml_tagged::datetime(&datetime.value().to_string()).ok_or("a time of another form")?
        }
        Node::Array(items) => {
            let items = items.items().read();
            items.iter().map(tag).collect::<Result<_, _>>()?
        }
        Node::Table(table) => {
            let entries = table.entries().read();
            let entries =
                entries.iter().map(|(key, value)| Ok((key.value().to_owned(), tag(value)?)));
            Json::Object(entries.collect::<Result<_, String>>()?)
        }
        Node::Invalid(_) => return Err("not valid".to_owned()),
    })
}
