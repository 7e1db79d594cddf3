//! `GET /openapi.json`: what the endpoints take and answer, in OpenAPI 3.1.
//!
//! The router and the document are made of the same handlers, and bodies are checked by the same
//! [`Schema`](crate::schema::Schema) that the document shows.
//!
//! Source: <https://spec.openapis.org/oas/v3.1.1.html>.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    IntoResponses, OpenApi, ToSchema,
    openapi::{
        self, Content, Header, Object, PathItem, Ref, RefOr,
        path::Operation,
        response::ResponseBuilder,
        schema::Type,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    answers::{ChatCompletionChunk, CompletionChunk, ErrorBody},
    routes,
};
use crate::{app::App, auth};

/// What of the document no handler says.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Firebox",
        description = "A server of language models that OpenAI's clients can talk to. Unknown fields are \
            refused, and every refusal is an `ErrorBody`; so are answers to unknown paths (404) and \
            methods (405)."
    ),
    components(schemas(ErrorBody, ChatCompletionChunk, CompletionChunk)),
    tags(
        (name = "answers", description = "What the model writes."),
        (name = "tokens", description = "What the model reads."),
        (name = "models", description = "What there is."),
        (name = "server", description = "How the server is, and what it has for people."),
    )
)]
pub(crate) struct Base;

const KEY: &str = "key";

/// The documents of a server with keys and of one without.
static WITH_KEYS: LazyLock<String> = LazyLock::new(|| text(true));
static WITHOUT_KEYS: LazyLock<String> = LazyLock::new(|| text(false));

/// Every path there is, for the answer to one that there is not.
pub(crate) static PATHS: LazyLock<Vec<String>> =
    LazyLock::new(|| routes().to_openapi().paths.paths.into_keys().collect());

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses(
    (status = 200, description = "The document.", content_type = "application/json", body = Object),
))]
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    let document = match app.keys {
        Some(_) => &WITH_KEYS,
        None => &WITHOUT_KEYS,
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, document.as_str()).into_response()
}

fn text(has_keys: bool) -> String {
    let mut document = routes().to_openapi();
    for (path, item) in &mut document.paths.paths {
        let needs_key = has_keys && !auth::OPEN_PATHS.contains(&path.as_str());
        for operation in operations(item) {
            complete(operation, needs_key);
        }
    }
    if has_keys {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme(KEY, bearer);
    }
    document
        .to_json()
        .expect("this is a bug in firebox-serve: the document is plain data")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete]
        .into_iter()
        .flatten()
}

/// What every endpoint has.
fn complete(operation: &mut Operation, needs_key: bool) {
    let responses = &mut operation.responses.responses;
    responses.extend([refusal(500, "The model failed, or the server did.")]);
    if needs_key {
        operation.security = Some(vec![SecurityRequirement::new(KEY, [] as [String; 0])]);
        let (status, mut answer) = refusal(401, "No key of this server.");
        with_header(
            &mut answer,
            "www-authenticate",
            "How to send a key.",
            Type::String,
        );
        responses.insert(status, answer);
    }
    for answer in responses.values_mut() {
        let description = "The request's id: the client's own where it sent one, else a new one.";
        with_header(answer, "x-request-id", description, Type::String);
    }
}

/// Why a body is refused.
pub(crate) struct BodyRefusals;

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        BTreeMap::from([
            refusal(
                400,
                "Wrong JSON, a wrong field, or what the model cannot take.",
            ),
            refusal(404, "There is no model of this name."),
            refusal(408, "The body did not arrive in time."),
            refusal(413, "The body is too large."),
            refusal(415, "The body is not `application/json`, or it is encoded."),
        ])
    }
}

/// Why an answer has to wait, or comes to nothing.
pub(crate) struct BusyRefusals;

impl IntoResponses for BusyRefusals {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let (status, mut answer) =
            refusal(429, "Too many requests wait, or a key's limit is reached.");
        with_header(
            &mut answer,
            "retry-after",
            "Seconds to wait.",
            Type::Integer,
        );
        BTreeMap::from([
            (status, answer),
            refusal(
                503,
                "The answer took too long, or the server is about to end.",
            ),
        ])
    }
}

/// That a name stands for no model.
pub(crate) struct NoSuchModel;

impl IntoResponses for NoSuchModel {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        BTreeMap::from([refusal(404, "There is no model of this name.")])
    }
}

const NOT_ADMIN: &str = "No admin's key, or a server without keys that others can reach.";

/// Why an adapter is not loaded, beside what is wrong with a body.
pub(crate) struct AdapterRefusals;

impl IntoResponses for AdapterRefusals {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        BTreeMap::from([
            refusal(403, NOT_ADMIN),
            refusal(
                404,
                "The server has no folder of adapters, or none of this name in it.",
            ),
            refusal(409, "As many as may be are loaded."),
        ])
    }
}

/// That a name stands for no loaded adapter, or the caller may not unload it.
pub(crate) struct NoSuchAdapter;

impl IntoResponses for NoSuchAdapter {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        BTreeMap::from([
            refusal(403, NOT_ADMIN),
            refusal(404, "No adapter of this name is loaded."),
        ])
    }
}

fn refusal(status: u16, description: &str) -> (String, RefOr<openapi::Response>) {
    let content = Content::new(Some(Ref::from_schema_name(ErrorBody::name())));
    let answer = ResponseBuilder::new()
        .description(description)
        .content("application/json", content);
    (status.to_string(), RefOr::T(answer.build()))
}

fn with_header(answer: &mut RefOr<openapi::Response>, name: &str, what: &str, of: Type) {
    if let RefOr::T(answer) = answer {
        let mut header = Header::new(Object::with_type(of));
        header.description = Some(what.to_owned());
        answer.headers.insert(name.to_owned(), RefOr::T(header));
    }
}
