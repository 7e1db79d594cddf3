//! `GET /`: a page to chat with the model, whole in one file.

use axum::{
    http::{HeaderName, header},
    response::Html,
};

const PAGE: &str = include_str!("../../assets/chat.html");

/// What the page may do: run the one script and style that are in it, and ask this server.
///
/// The hashes are those of the page's `<script>` and `<style>`; a test computes them and says what
/// they have to be. With trusted types, no text can become HTML, not even by mistake.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-9VjZuL6b8V0+fO+zMgwQxRe/ZqK5q4erYZHVYMm24Ws='; \
    style-src 'sha256-vKxeNxmJ23U9dRS8z66qnz4AKdIYPlS4X2TJQtVMF6U='; \
    img-src data:; \
    connect-src 'self'; \
    base-uri 'none'; \
    form-action 'none'; \
    frame-ancestors 'none'; \
    require-trusted-types-for 'script'; \
    trusted-types 'none'";

pub(crate) async fn chat() -> ([(HeaderName, &'static str); 4], Html<&'static str>) {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A newer server may have a newer page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE))
}
