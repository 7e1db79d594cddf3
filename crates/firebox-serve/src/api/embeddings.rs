//! `POST /v1/embeddings`, as OpenAI has it.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::{
    app::App,
    auth::Caller,
    body::{JsonBody, Schema},
    embeddings::{Asked, Embedded, EmbeddingModel, Inputs},
    error::{ApiError, backticked, clipped},
    sampling::{to_usize, whole, wrong},
};

const SCHEMA: Schema = Schema {
    required: &["input"],
    optional: &[
        "model",
        "encoding_format",
        "dimensions",
        "truncate_prompt_tokens",
        "user",
    ],
    samples: false,
    unsupported: &[],
};

/// Inputs of one request: OpenAI's number.
const MAX_INPUTS: usize = 2048;

#[derive(Debug, Deserialize)]
struct Fields {
    model: Option<String>,
    input: InputField,
    encoding_format: Option<String>,
    dimensions: Option<Number>,
    /// vLLM's: -1 for as many as the model reads.
    truncate_prompt_tokens: Option<Number>,
    /// Read so that its type is checked.
    #[serde(rename = "user")]
    _user: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an array of strings, an array of token ids, or an array of arrays of token ids"
)]
enum InputField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    Batches(Vec<Vec<u32>>),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug)]
enum Format {
    Floats,
    /// Its bytes, little-endian f32.
    Base64,
}

#[derive(Serialize)]
struct Answer {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Written,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let fields: Fields = body.parse()?;
    let model = app.embeddings.as_ref().ok_or(ApiError::NoEmbeddingModel)?;
    check_model(model, fields.model)?;
    check_dimensions(model, &fields.dimensions)?;
    let format = Format::of(fields.encoding_format.as_deref())?;
    let asked = Asked {
        truncate: truncation(model, &fields.truncate_prompt_tokens)?,
        inputs: fields.input.check()?,
    };
    let name = model.name().to_owned();
    let write = move |embedded| serde_json::to_vec(&Answer::new(name, embedded, format));
    let written = model.embed(&app, caller, asked, write).await?;
    let written = written.map_err(|error| {
        tracing::error!(%error, "the answer cannot be written");
        ApiError::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], written).into_response())
}

fn check_model(model: &EmbeddingModel, requested: Option<String>) -> Result<(), ApiError> {
    match requested {
        Some(requested) if requested != model.name() => Err(ApiError::UnknownModel {
            requested: clipped(&requested),
            served: backticked([model.name()]),
        }),
        _ => Ok(()),
    }
}

/// Only a model that was trained for it (a matryoshka) can leave out numbers, and none here is known
/// to be one.
fn check_dimensions(model: &EmbeddingModel, dimensions: &Option<Number>) -> Result<(), ApiError> {
    let dim = model.embedder().dim();
    let expected = format!("{dim}, all that the model has (it was not trained to have fewer)");
    whole("dimensions", dimensions, &expected, |n| to_usize(n) == dim)?;
    Ok(())
}

/// To how many tokens texts are cut.
fn truncation(model: &EmbeddingModel, field: &Option<Number>) -> Result<Option<usize>, ApiError> {
    let embedder = model.embedder();
    let (least, most) = (embedder.n_special_tokens() + 1, embedder.max_tokens());
    let expected = format!("-1, or a whole number from {least} to {most}");
    let fits = |n: i64| n == -1 || (n >= 0 && (least..=most).contains(&to_usize(n)));
    let found = whole("truncate_prompt_tokens", field, &expected, fits)?;
    Ok(found.map(|n| if n == -1 { most } else { to_usize(n) }))
}

impl InputField {
    fn check(self) -> Result<Inputs, ApiError> {
        let inputs = match self {
            Self::Text(text) => Inputs::Texts(vec![text]),
            Self::Texts(texts) => Inputs::Texts(texts),
            Self::Ids(ids) if ids.is_empty() => Inputs::Ids(Vec::new()),
            Self::Ids(ids) => Inputs::Ids(vec![ids]),
            Self::Batches(batches) => Inputs::Ids(batches),
        };
        let (n, has_empty) = match &inputs {
            Inputs::Texts(texts) => (texts.len(), texts.iter().any(String::is_empty)),
            Inputs::Ids(ids) => (ids.len(), ids.iter().any(Vec::is_empty)),
        };
        let found = match n {
            0 => "none".to_owned(),
            n if n > MAX_INPUTS => format!("{n} of them"),
            _ if has_empty => "an empty one".to_owned(),
            _ => return Ok(inputs),
        };
        let expected = format!("from 1 to {MAX_INPUTS} inputs, none of them empty");
        Err(wrong("input", &expected, &found))
    }
}

impl Format {
    fn of(field: Option<&str>) -> Result<Self, ApiError> {
        match field {
            None | Some("float") => Ok(Self::Floats),
            Some("base64") => Ok(Self::Base64),
            Some(other) => Err(wrong(
                "encoding_format",
                "`float` or `base64`",
                &format!("`{}`", clipped(other)),
            )),
        }
    }

    fn write(self, vector: Vec<f32>) -> Written {
        match self {
            Self::Floats => Written::Floats(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Written::Base64(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

impl Answer {
    fn new(model: String, embedded: Embedded, format: Format) -> Self {
        let items = embedded.vectors.into_iter().enumerate();
        let items = items.map(|(index, vector)| Item {
            object: "embedding",
            index,
            embedding: format.write(vector),
        });
        Self {
            object: "list",
            data: items.collect(),
            model,
            usage: Usage {
                prompt_tokens: embedded.n_tokens,
                total_tokens: embedded.n_tokens,
            },
        }
    }
}
