//! Gives every request an id, a span in the log, and the id back in the answer.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use crate::app::App;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a client.
const MAX_ID_BYTES: usize = 64;

/// The middleware.
pub(crate) async fn trace(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.metrics.counters.requests.fetch_add(1, Relaxed);
    let id = sent_id(request.headers()).unwrap_or_else(|| new_id(&app));
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
    );
    let received = Instant::now();
    async move {
        let mut response = next.run(request).await;
        let status = response.status().as_u16();
        tracing::info!(status, ms = received.elapsed().as_millis(), "answered");
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// The client's own id, if it is one that a log can hold.
fn sent_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(plain);
    fits.then(|| id.clone())
}

fn new_id(app: &App) -> HeaderValue {
    HeaderValue::from_str(&format!("{:016x}", app.unique_number()))
        .expect("this is a bug in firebox-serve: hexadecimal digits make a header")
}
