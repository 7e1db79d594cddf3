//! What an answer must look like: `response_format` as OpenAI's clients write it, and
//! `structured_outputs` as vLLM's do.

use firebox_engine::Grammar;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::{
    Object, OneOf, Ref, RefOr, Schema,
    schema::{AdditionalProperties, Type},
};
use utoipa::{PartialSchema, ToSchema};

use crate::{error::ApiError, sampling::wrong};

/// OpenAI's `response_format`. A variant without fields would take any.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResponseFormat {
    Text {},
    JsonObject {},
    JsonSchema { json_schema: NamedSchema },
}

impl PartialSchema for ResponseFormat {
    fn schema() -> RefOr<Schema> {
        let of_type = |name: &str| {
            Object::builder()
                .property(
                    "type",
                    Object::builder()
                        .schema_type(Type::String)
                        .enum_values(Some([name])),
                )
                .required("type")
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        let json_schema = of_type("json_schema")
            .property("json_schema", Ref::from_schema_name(NamedSchema::name()))
            .required("json_schema");
        OneOf::builder()
            .item(of_type("text"))
            .item(of_type("json_object"))
            .item(json_schema)
            .description(Some(
                "Any text, a JSON object, or JSON that a schema allows.",
            ))
            .into()
    }
}

impl ToSchema for ResponseFormat {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NamedSchema::name().into(), NamedSchema::schema()));
    }
}

/// A JSON schema under a name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "what says nothing about the answer is read and left"
)]
pub(crate) struct NamedSchema {
    /// Any name: it changes nothing.
    name: String,
    /// What the schema is for: it changes nothing.
    description: Option<String>,
    /// The JSON schema; any object unless given.
    schema: Option<Value>,
    /// Every schema is followed strictly here.
    strict: Option<bool>,
}

impl ResponseFormat {
    pub(crate) fn grammar(self) -> Option<Grammar> {
        let object = || json!({"type": "object"});
        match self {
            Self::Text {} => None,
            Self::JsonObject {} => Some(Grammar::JsonSchema(object())),
            Self::JsonSchema { json_schema } => Some(Grammar::JsonSchema(
                json_schema.schema.unwrap_or_else(object),
            )),
        }
    }
}

/// vLLM's `structured_outputs`: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StructuredOutputs {
    /// JSON that a schema allows.
    json: Option<Value>,
    /// A text that a regular expression matches as a whole.
    regex: Option<String>,
    /// One of some texts, none of them empty.
    #[schema(min_items = 1)]
    choice: Option<Vec<String>>,
    /// A text of a grammar in llguidance's variant of Lark.
    grammar: Option<String>,
}

impl StructuredOutputs {
    pub(crate) fn grammar(self) -> Result<Grammar, ApiError> {
        let Self {
            json,
            regex,
            choice,
            grammar,
        } = self;
        if choice
            .as_ref()
            .is_some_and(|texts| texts.is_empty() || texts.iter().any(String::is_empty))
        {
            let expected = "at least one text, none of them empty";
            return Err(wrong("structured_outputs.choice", expected, "fewer"));
        }
        let given = [
            json.map(Grammar::JsonSchema),
            regex.map(Grammar::Regex),
            choice.map(Grammar::Choice),
            grammar.map(Grammar::Lark),
        ];
        let mut given: Vec<Grammar> = given.into_iter().flatten().collect();
        match (given.pop(), given.len()) {
            (Some(grammar), 0) => Ok(grammar),
            (_, others) => {
                let expected = "one of `json`, `regex`, `choice`, `grammar`";
                let found = if others == 0 { "none" } else { "several" };
                Err(wrong("structured_outputs", expected, found))
            }
        }
    }
}
