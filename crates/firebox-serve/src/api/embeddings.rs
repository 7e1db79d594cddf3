//! `POST /v1/embeddings`, as OpenAI has it.

use std::sync::{Arc, LazyLock};

use axum::{
    Extension,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        self, Array, Object, RefOr,
        schema::{AnyOf, Type},
    },
};

use super::{
    answers::EmbeddingList,
    document::{BodyRefusals, BusyRefusals},
    token_id::TokenId,
};

use crate::{
    app::App,
    auth::Caller,
    body::JsonBody,
    embeddings::{Asked, Embedded, EmbeddingModel, Inputs},
    error::{ApiError, backticked, clipped},
    sampling::{count, wrong},
    schema::{Schema, body_type, whole},
};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<Fields>);

body_type!(EmbeddingBody, "EmbeddingRequest", SCHEMA);

/// Inputs of one request: OpenAI's number.
const MAX_INPUTS: usize = 2048;

#[derive(Debug, Deserialize, ToSchema)]
struct Fields {
    /// The embedding model's name; the only one there is unless given.
    model: Option<String>,
    /// A text, several texts, token ids, or several lists of them; ids are taken as they are.
    #[schema(schema_with = input)]
    input: InputField,
    /// How vectors are written.
    #[schema(default = "float")]
    encoding_format: Option<Format>,
    /// Numbers of a vector: only as many as the model has.
    #[schema(value_type = Option<u32>, minimum = 1)]
    dimensions: Option<Number>,
    /// vLLM's: texts are cut to so many tokens, -1 to as many as the model reads; unless given, longer
    /// ones are refused.
    #[schema(value_type = Option<i32>, minimum = -1)]
    truncate_prompt_tokens: Option<Number>,
    /// Who asks, for the client's own records: it changes nothing.
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
    Ids(Vec<TokenId>),
    Batches(Vec<Vec<TokenId>>),
}

fn input() -> impl Into<RefOr<openapi::Schema>> {
    let some = |items: RefOr<openapi::Schema>| Array::builder().items(items).min_items(Some(1));
    let all = |items| some(items).max_items(Some(MAX_INPUTS));
    let text = Object::builder()
        .schema_type(Type::String)
        .min_length(Some(1))
        .build();
    let ids = || some(TokenId::schema());
    AnyOf::builder()
        .item(text.clone())
        .item(all(text.into()))
        .item(ids())
        .item(all(ids().into()))
        .description(Some(
            "A text, several texts, token ids, or several lists of them; ids are taken as they are.",
        ))
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum Format {
    #[default]
    #[serde(rename = "float")]
    Floats,
    /// Its bytes, little-endian f32.
    #[serde(rename = "base64")]
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

/// The vectors of texts.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "embeddings",
    tag = "answers",
    request_body(content = EmbeddingBody, example = json!({"input": "aspirin after a heart attack"})),
    responses(
        (status = 200, description = "A vector for each input.", body = EmbeddingList),
        BodyRefusals,
        BusyRefusals,
    )
)]
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
    let format = fields.encoding_format.unwrap_or_default();
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
fn check_dimensions(model: &EmbeddingModel, field: &Option<Number>) -> Result<(), ApiError> {
    let dim = model.embedder().dim();
    match field {
        Some(found) if count(field) != Some(dim) => {
            let expected =
                format!("{dim}, all that the model has (it was not trained to have fewer)");
            Err(wrong("dimensions", &expected, &found.to_string()))
        }
        _ => Ok(()),
    }
}

/// To how many tokens texts are cut.
fn truncation(model: &EmbeddingModel, field: &Option<Number>) -> Result<Option<usize>, ApiError> {
    let embedder = model.embedder();
    let (least, most) = (embedder.n_special_tokens() + 1, embedder.max_tokens());
    let Some(found) = field else { return Ok(None) };
    match (whole(found), count(field)) {
        (Some(-1), _) => Ok(Some(most)),
        (_, Some(n)) if (least..=most).contains(&n) => Ok(Some(n)),
        _ => {
            let expected = format!("-1, or a whole number from {least} to {most}");
            Err(wrong(
                "truncate_prompt_tokens",
                &expected,
                &found.to_string(),
            ))
        }
    }
}

impl InputField {
    fn check(self) -> Result<Inputs, ApiError> {
        let inputs = match self {
            Self::Text(text) => Inputs::Texts(vec![text]),
            Self::Texts(texts) => Inputs::Texts(texts),
            Self::Ids(ids) if ids.is_empty() => Inputs::Ids(Vec::new()),
            Self::Ids(ids) => Inputs::Ids(vec![plain(ids)]),
            Self::Batches(batches) => Inputs::Ids(batches.into_iter().map(plain).collect()),
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

fn plain(ids: Vec<TokenId>) -> Vec<u32> {
    ids.into_iter().map(|TokenId(id)| id).collect()
}

impl Format {
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
