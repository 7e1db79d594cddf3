//! `POST /tokenize` and `/detokenize`, as vLLM has them.

use std::sync::{Arc, LazyLock};

use axum::{
    Json,
    extract::{Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    answers::{Detokenized, Tokenized},
    chat_body::MessageFields,
    document::BodyRefusals,
    token_id::TokenId,
};
use crate::{
    app::App,
    body::JsonBody,
    error::ApiError,
    model::Prompt,
    schema::{Schema, body_type},
};

static TOKENIZE: LazyLock<Schema> = LazyLock::new(Schema::of::<TextFields>);
static DETOKENIZE: LazyLock<Schema> = LazyLock::new(Schema::of::<IdFields>);

body_type!(TokenizeBody, "TokenizeRequest", TOKENIZE);
body_type!(DetokenizeBody, "DetokenizeRequest", DETOKENIZE);

#[derive(Debug, Deserialize, ToSchema)]
struct TextFields {
    /// The model's name, or an adapter's; the model alone unless given.
    model: Option<String>,
    /// A text; either this or `messages`.
    prompt: Option<String>,
    /// A conversation, as the chat template writes it.
    #[schema(min_items = 1)]
    messages: Option<Vec<MessageFields>>,
    /// Whether a text gets the tokens that the model's tokenizer puts around one.
    #[schema(default = true)]
    add_special_tokens: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct IdFields {
    /// The model's name, or an adapter's; the model alone unless given.
    model: Option<String>,
    /// Ids; those that are not in the vocabulary give nothing.
    #[schema(inline)]
    tokens: Vec<TokenId>,
}

/// The ids of a text, or of a conversation as the chat template writes it.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "tokens",
    request_body(content = TokenizeBody, example = json!({"prompt": "hello"})),
    responses((status = 200, description = "The ids.", body = Tokenized), BodyRefusals)
)]
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = JsonBody::read(request, &app.config, &TOKENIZE).await?;
    let fields: TextFields = body.parse()?;
    app.model.choose(fields.model)?;
    let prompt = match (fields.prompt, fields.messages) {
        (Some(text), None) => Prompt::Text(text),
        (None, Some(messages)) => Prompt::Chat(MessageFields::check_all(messages)?),
        _ => {
            return Err(ApiError::FieldValue {
                param: "prompt".to_owned(),
                expected: "either `prompt` or `messages`".to_owned(),
                found: "both or neither".to_owned(),
            });
        }
    };
    let engine = app.model.engine();
    let ids = match (prompt, fields.add_special_tokens) {
        (Prompt::Text(text), Some(false)) => {
            engine
                .tokenizer()
                .encode(&text)
                .map_err(|reason| ApiError::Prompt {
                    reason: reason.to_string(),
                })?
        }
        (prompt, _) => app.model.prompt_ids(prompt)?,
    };
    Ok(Json(json!({
        "count": ids.len(),
        "max_model_len": engine.max_seq_len(),
        "tokens": ids,
    })))
}

/// The text of ids. Ids that are not in the vocabulary give nothing.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "tokens",
    request_body(content = DetokenizeBody, example = json!({"tokens": [1, 2, 3]})),
    responses((status = 200, description = "The text.", body = Detokenized), BodyRefusals)
)]
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = JsonBody::read(request, &app.config, &DETOKENIZE).await?;
    let fields: IdFields = body.parse()?;
    app.model.choose(fields.model)?;
    let ids: Vec<u32> = fields.tokens.into_iter().map(|TokenId(id)| id).collect();
    let text = app.model.engine().tokenizer().decode(&ids, false);
    Ok(Json(json!({ "prompt": text })))
}
