//! `GET /v1/models`, and each of them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError};

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [model(&app)] }))
}

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    app.check_model(Some(name))?;
    Ok(Json(model(&app)))
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
