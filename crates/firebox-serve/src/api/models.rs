//! `GET /v1/models`, and each of them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use serde_json::{Value, json};

use super::{
    answers::{Model, ModelList},
    document::NoSuchModel,
};
use crate::{adapters::ServedAdapter, app::App, error::ApiError};

/// What is served.
#[utoipa::path(get, path = "/v1/models", operation_id = "models", tag = "models", responses(
    (status = 200, description = "A list of models.", body = ModelList),
))]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let mut data = vec![model(&app)];
    let adapters = app.model.adapters().loaded();
    data.extend(embedding_model(&app));
    data.extend(
        adapters
            .iter()
            .map(|(name, found, _)| adapter(&app, name, found)),
    );
    Json(json!({ "object": "list", "data": data }))
}

/// One of the models.
#[utoipa::path(get, path = "/v1/models/{name}", operation_id = "model", tag = "models",
    params(("name" = String, Path, description = "The model's name.")),
    responses((status = 200, description = "The model.", body = Model), NoSuchModel),
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    // A name that is not UTF-8 is none of a model.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    if let Some(model) = embedding_model(&app).filter(|model| model["id"] == name) {
        return Ok(Json(model));
    }
    let chosen = app.model.choose(Some(name))?;
    Ok(Json(match chosen.adapter {
        None => model(&app),
        Some(found) => adapter(&app, &chosen.name, &found),
    }))
}

fn embedding_model(app: &App) -> Option<Value> {
    let embeddings = app.embeddings.as_ref()?;
    let mut entry = model(app);
    entry["id"] = json!(embeddings.name());
    entry["task"] = json!("embed");
    entry["max_model_len"] = json!(embeddings.embedder().max_tokens());
    Some(entry)
}

fn model(app: &App) -> Value {
    json!({
        "id": app.model.name(),
        "object": "model",
        "created": app.started_unix,
        "owned_by": "firebox",
        "max_model_len": app.model.engine().max_seq_len(),
    })
}

/// The model with an adapter, as vLLM says it.
fn adapter(app: &App, name: &str, adapter: &ServedAdapter) -> Value {
    let mut adapted = model(app);
    adapted["id"] = json!(name);
    adapted["created"] = json!(adapter.loaded_unix);
    adapted["parent"] = json!(app.model.name());
    adapted
}
