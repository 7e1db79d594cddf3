//! Pages, each whole in one file: `GET /` to chat with the model, `GET /docs` to read what the API is.

use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
};

/// A page, and the hashes of its `<script>` and `<style>`; a test computes them and says what they have to
/// be.
struct Page {
    html: &'static str,
    script: &'static str,
    style: &'static str,
}

const CHAT: Page = Page {
    html: include_str!("../../assets/chat.html"),
    script: "sha256-cowRU2agXFh1AEknAKoeJ3p6JmWWe+bqksk4zD55zMI=",
    style: "sha256-QmJCk6+Vk1YTGehXHo+nH2IV86iFtEp6uQhrxFTj46s=",
};

const DOCS: Page = Page {
    html: include_str!("../../assets/docs.html"),
    script: "sha256-IL7njQBCUhVoheshB0oLYrLCFpKfH/nRo0Af2B9k5yk=",
    style: "sha256-5dELvqpguLXXEGe/Gic1SayRmKqG80ZUrQgFpkQyZ7E=",
};

/// A page to chat with the model.
#[utoipa::path(get, path = "/", operation_id = "chat_page", tag = "server", responses(
    (status = 200, description = "The page.", content_type = "text/html", body = String),
))]
pub(crate) async fn chat() -> Response {
    CHAT.answer()
}

/// A page that shows this document.
#[utoipa::path(get, path = "/docs", operation_id = "docs_page", tag = "server", responses(
    (status = 200, description = "The page.", content_type = "text/html", body = String),
))]
pub(crate) async fn docs() -> Response {
    DOCS.answer()
}

impl Page {
    /// What the page may do: run the one script and style that are in it, and ask this server. With
    /// trusted types, no text can become HTML, not even by mistake.
    fn policy(&self) -> String {
        let Self { script, style, .. } = self;
        format!(
            "default-src 'none'; \
             script-src '{script}'; \
             style-src '{style}'; \
             img-src data:; \
             connect-src 'self'; \
             base-uri 'none'; \
             form-action 'none'; \
             frame-ancestors 'none'; \
             require-trusted-types-for 'script'; \
             trusted-types 'none'"
        )
    }

    fn answer(&self) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
            // A newer server may have a newer page.
            (header::CACHE_CONTROL, "no-cache".to_owned()),
        ];
        (headers, Html(self.html)).into_response()
    }
}
