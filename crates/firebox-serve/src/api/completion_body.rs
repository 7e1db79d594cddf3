//! The body of a completion: its fields, and the ways to write prompts.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Number;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        self, Array, Object, RefOr,
        schema::{AnyOf, Type},
    },
};

use super::{streaming::StreamOptions, token_id::TokenId};
use crate::{
    model::Prompt,
    sampling::SamplingFields,
    schema::{Schema, body_type},
};

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let no_token = |field: &mut Object| field.minimum = Some(0.into());
    Schema::of::<CompletionFields>()
        .and::<SamplingFields>()
        .with("max_tokens", |field| {
            field.default = Some(DEFAULT_MAX_TOKENS.into());
            field.description =
                Some("The most new tokens; 0 only where `echo` is true.".to_owned());
        })
        .with("max_tokens", no_token)
        .with("max_completion_tokens", no_token)
        .with("max_new_tokens", no_token)
        .without(&[("suffix", "\"\"")])
});

body_type!(CompletionBody, "CompletionRequest", SCHEMA);

/// New tokens where the request does not say how many: OpenAI's number.
pub(crate) const DEFAULT_MAX_TOKENS: usize = 16;

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CompletionFields {
    /// The model's name, or an adapter's; the model alone unless given.
    pub(crate) model: Option<String>,
    /// What is to be continued: a text, several texts, token ids, or several lists of them.
    #[schema(schema_with = prompt)]
    pub(crate) prompt: PromptField,
    /// Answers to each prompt.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 128, default = 1)]
    pub(crate) n: Option<Number>,
    /// Answers of which the `n` likeliest are given; `n` unless given, and never less.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 128)]
    pub(crate) best_of: Option<Number>,
    /// Whether the prompt is part of the answer; not where `stream` is true.
    #[schema(default = false)]
    pub(crate) echo: Option<bool>,
    /// How many of the likeliest tokens are told in the place of each.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 20)]
    pub(crate) logprobs: Option<Number>,
    /// Whether the answer comes token by token, as server-sent events.
    #[schema(default = false)]
    pub(crate) stream: Option<bool>,
    /// What a stream has besides the answer.
    pub(crate) stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings, an array of token ids, or an array of arrays of token ids"
)]
pub(crate) enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<TokenId>),
    Batches(Vec<Vec<TokenId>>),
}

fn of_ids(ids: Vec<TokenId>) -> Prompt {
    Prompt::Ids(ids.into_iter().map(|TokenId(id)| id).collect())
}

fn prompt() -> impl Into<RefOr<openapi::Schema>> {
    let some = |items: RefOr<openapi::Schema>| Array::builder().items(items).min_items(Some(1));
    let text = Object::with_type(Type::String);
    let ids = || some(TokenId::schema());
    AnyOf::builder()
        .item(text.clone())
        .item(some(text.into()))
        .item(ids())
        .item(some(ids().into()))
        .description(Some(
            "What is to be continued: a text, several texts, token ids, or several lists of them.",
        ))
}

impl PromptField {
    /// Each of them.
    pub(crate) fn prompts(self) -> Vec<Prompt> {
        match self {
            Self::Text(text) => vec![Prompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
            Self::Ids(ids) => vec![of_ids(ids)],
            Self::Batches(batches) => batches.into_iter().map(of_ids).collect(),
        }
    }
}
