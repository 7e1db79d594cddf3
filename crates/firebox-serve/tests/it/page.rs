//! The pages: the chat at `/`, and `/docs`. What the chat does in a browser,
//! `benches/peers/browser_page.py` checks.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use crate::{
    client::{Response, start},
    fake::Fake,
};

async fn pages() -> Vec<(Response, String)> {
    let server = start(Fake::default()).await;
    let mut pages = Vec::new();
    for path in ["/", "/docs"] {
        let answer = server.get(path).await;
        let text = String::from_utf8(answer.body.clone()).unwrap();
        pages.push((answer, text));
    }
    pages
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
async fn they_are_html_not_to_be_sniffed_and_asked_for_anew() {
    for (answer, text) in pages().await {
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
}

#[tokio::test]
async fn their_policies_allow_their_own_script_and_style_and_nothing_else() {
    for (answer, text) in pages().await {
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
}

#[tokio::test]
async fn they_need_nothing_from_elsewhere_and_make_no_html() {
    for (_, text) in pages().await {
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
}

#[tokio::test]
async fn they_are_only_to_be_had() {
    let server = start(Fake::default()).await;
    for path in ["/", "/docs"] {
        let posted = server.send("POST", path, &[], b"").await;
        assert_eq!(posted.status, 405);
        assert_eq!(posted.header("allow"), Some("GET,HEAD"));
    }
}
