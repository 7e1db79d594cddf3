//! `GET /v1/models`, and each of them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError};

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let all: Vec<Value> = [model(&app)]
        .into_iter()
        .chain(embedding_model(&app))
        .collect();
    Json(json!({ "object": "list", "data": all }))
}

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    if let Some(model) = embedding_model(&app).filter(|model| model["id"] == name) {
        return Ok(Json(model));
    }
    app.check_model(Some(name))?;
    Ok(Json(model(&app)))
}

fn embedding_model(app: &App) -> Option<Value> {
    let embeddings = app.embeddings.as_ref()?;
    let mut entry = model(app);
    entry["id"] = json!(embeddings.name());
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
