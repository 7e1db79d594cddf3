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
use crate::{app::App, error::ApiError};

/// What is served.
#[utoipa::path(get, path = "/v1/models", operation_id = "models", tag = "models", responses(
    (status = 200, description = "A list of models.", body = ModelList),
))]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "object": "list", "data": [model(&app)] }))
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
