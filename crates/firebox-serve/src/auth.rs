//! Asks for a key where the server has keys.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{app::App, error::ApiError, keys::Key};

/// What anyone may see: that the server is there, how busy it is, the page that asks for a key, and what
/// the API is, which is the same on every server of this version.
pub(crate) const OPEN_PATHS: &[&str] = &[
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/ready",
    "/metrics",
];

/// Whose request it is; nobody's where the server has no keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) key: Option<Arc<Key>>,
}

/// The middleware.
pub(crate) async fn check(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match &app.keys {
        None => Caller::default(),
        Some(_) if OPEN_PATHS.contains(&request.uri().path()) => Caller::default(),
        Some(keys) => {
            let found = secret(request.headers()).and_then(|secret| keys.find(secret));
            if found.is_none() {
                return ApiError::Unauthorized.into_response();
            }
            Caller { key: found }
        }
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// What stands behind `Bearer` in the only `authorization` header.
fn secret(headers: &HeaderMap) -> Option<&[u8]> {
    let mut found = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (found.next()?, found.next()) else {
        return None;
    };
    let (scheme, secret) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(secret)
}
