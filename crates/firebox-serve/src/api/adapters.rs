//! `/v1/adapters`: which adapters there are, loading and unloading them while the server runs.

use std::sync::{Arc, LazyLock};

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::{
    answers::{Adapter, AdapterList, UnloadedAdapter},
    document::{AdapterRefusals, BodyRefusals, NoSuchAdapter},
};
use crate::{
    adapters::{AdapterError, ServedAdapter},
    app::App,
    auth::Caller,
    body::JsonBody,
    error::ApiError,
    schema::{Schema, body_type},
};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<Fields>);

body_type!(AdapterBody, "AdapterRequest", SCHEMA);

#[derive(Debug, Deserialize, ToSchema)]
struct Fields {
    /// One of the server's folder of adapters.
    name: String,
}

/// The adapters that are loaded, and those that could be.
#[utoipa::path(get, path = "/v1/adapters", operation_id = "adapters", tag = "models", responses(
    (status = 200, description = "A list of adapters.", body = AdapterList),
))]
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
#[utoipa::path(
    post,
    path = "/v1/adapters",
    operation_id = "load_adapter",
    tag = "models",
    request_body(content = AdapterBody, example = json!({"name": "ward-3"})),
    responses(
        (status = 200, description = "The adapter.", body = Adapter),
        BodyRefusals,
        AdapterRefusals,
    )
)]
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

/// Unloads one: requests that began with it end with it.
#[utoipa::path(delete, path = "/v1/adapters/{name}", operation_id = "unload_adapter", tag = "models",
    params(("name" = String, Path, description = "The adapter's name.")),
    responses(
        (status = 200, description = "It is unloaded.", body = UnloadedAdapter),
        NoSuchAdapter,
    ),
)]
pub(crate) async fn unload(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    app.check_admin(&caller)?;
    // A name that is not UTF-8 is none of an adapter.
    let name = name.map(|Path(name)| name).unwrap_or_default();
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
