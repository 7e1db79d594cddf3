//! `GET /v1/models`.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::app::App;

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "object": "list",
        "data": [{
            "id": app.model_name(),
            "object": "model",
            "created": app.started_unix,
            "owned_by": "firebox",
        }],
    }))
}
