//! `/v1/adapters`: which adapters there are, loading and unloading them while the server runs.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{
    adapters::{AdapterError, ServedAdapter},
    app::App,
    auth::Caller,
    body::{JsonBody, Schema},
    error::ApiError,
};

const SCHEMA: Schema = Schema {
    required: &["name"],
    optional: &[],
    samples: false,
    unsupported: &[],
};

#[derive(Debug, Deserialize)]
struct Fields {
    name: String,
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let known = {
        let app = Arc::clone(&app);
        spawn_blocking(move || app.model.adapters().known()).await
    };
    let known = match known.map_err(|_| ApiError::Internal)? {
        Err(AdapterError::NoFolder) => Vec::new(),
        known => known?,
    };
    let adapters = app.model.adapters();
    let loaded: Vec<Value> = adapters
        .loaded()
        .iter()
        .map(|(name, adapter, n_requests)| written(name, adapter, *n_requests))
        .collect();
    Ok(Json(json!({
        "object": "list",
        "data": loaded,
        "known": known,
        "max": adapters.max(),
    })))
}

/// Loads one, again if it is loaded: requests that began with the old one end with it.
pub(crate) async fn load(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    app.check_admin(&caller)?;
    let body = JsonBody::read(request, &app.config, &SCHEMA).await?;
    let Fields { name } = body.parse()?;
    let loaded = {
        let name = name.clone();
        spawn_blocking(move || app.model.load_adapter(&name)).await
    };
    let adapter = loaded.map_err(|_| ApiError::Internal)??;
    tracing::info!(name, "adapter loaded");
    Ok(Json(written(&name, &adapter, 0)))
}

pub(crate) async fn unload(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    app.check_admin(&caller)?;
    app.model.adapters().unload(&name)?;
    tracing::info!(name, "adapter unloaded");
    Ok(Json(
        json!({"id": name, "object": "adapter", "deleted": true}),
    ))
}

fn written(name: &str, adapter: &ServedAdapter, n_requests: usize) -> Value {
    json!({
        "id": name,
        "object": "adapter",
        "created": adapter.loaded_unix,
        "rank": adapter.rank,
        "bytes": adapter.weights.n_bytes(),
        "requests": n_requests,
    })
}
