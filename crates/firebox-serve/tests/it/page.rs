//! The chat page at `/`. What it does in a browser, `benches/peers/browser_page.py` checks.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    client::{Response, start},
    fake::Fake,
};

async fn page() -> (Response, String) {
    let server = start(Fake::default()).await;
    let answer = server.get("/").await;
    let text = String::from_utf8(answer.body.clone()).unwrap();
    (answer, text)
}

/// What is between the tags of the only element of this name.
#[track_caller]
fn element<'a>(page: &'a str, name: &str) -> &'a str {
    let parts: Vec<_> = page.split(&format!("<{name}")).collect();
    assert_eq!(parts.len(), 2, "one <{name}>");
    let (_, rest) = parts[1].split_once('>').unwrap();
    let (content, _) = rest.split_once(&format!("</{name}>")).unwrap();
    content
}

#[tokio::test]
async fn it_is_html_not_to_be_sniffed_and_asked_for_anew() {
    let (answer, text) = page().await;
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(text.starts_with("<!doctype html>\n<html lang=\"en\">"));
}

#[tokio::test]
async fn its_policy_allows_its_own_script_and_style_and_nothing_else() {
    let (answer, text) = page().await;
    let policy = answer.header("content-security-policy").unwrap();
    let directives: Vec<_> = policy.split("; ").collect();
    for (directive, name) in [("script-src", "script"), ("style-src", "style")] {
        let hash = BASE64_STANDARD.encode(Sha256::digest(element(&text, name)));
        let expected = format!("{directive} 'sha256-{hash}'");
        assert!(
            directives.contains(&expected.as_str()),
            "src/api/page.rs has to say {expected}, it says {policy}"
        );
    }
    for directive in [
        "default-src 'none'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(directives.contains(&directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn it_needs_nothing_from_elsewhere_and_makes_no_html() {
    let (_, text) = page().await;
    for outside in ["://", "url(", "@import", "src=", "<iframe", "<base"] {
        assert!(!text.contains(outside), "{outside}");
    }
    for unsafe_call in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
        assert!(!text.contains(unsafe_call), "{unsafe_call}");
    }
    for inline in [" onclick=", " onload=", " style=", "javascript:"] {
        assert!(!text.contains(inline), "{inline}: the policy forbids it");
    }
}

#[tokio::test]
async fn it_is_only_to_be_had() {
    let server = start(Fake::default()).await;
    let posted = server.send("POST", "/", &[], b"").await;
    assert_eq!(posted.status, 405);
    assert_eq!(posted.header("allow"), Some("GET,HEAD"));
}
