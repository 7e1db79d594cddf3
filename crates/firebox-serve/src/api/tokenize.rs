//! `POST /tokenize` and `/detokenize`, as vLLM has them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat_body::MessageFields;
use crate::{
    app::App,
    body::{JsonBody, Schema},
    error::ApiError,
    model::Prompt,
};

const TOKENIZE: Schema = Schema {
    required: &[],
    optional: &["model", "prompt", "messages", "add_special_tokens"],
    samples: false,
    unsupported: &[],
};

const DETOKENIZE: Schema = Schema {
    required: &["tokens"],
    optional: &["model"],
    samples: false,
    unsupported: &[],
};

#[derive(Debug, Deserialize)]
struct TextFields {
    model: Option<String>,
    prompt: Option<String>,
    messages: Option<Vec<MessageFields>>,
    add_special_tokens: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct IdFields {
    model: Option<String>,
    tokens: Vec<u32>,
}

/// The ids of a text, or of a conversation as the chat template writes it.
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
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = JsonBody::read(request, &app.config, &DETOKENIZE).await?;
    let fields: IdFields = body.parse()?;
    app.model.choose(fields.model)?;
    let text = app.model.engine().tokenizer().decode(&fields.tokens, false);
    Ok(Json(json!({ "prompt": text })))
}
