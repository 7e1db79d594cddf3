//! `GET /openapi.json`: that it is true.

use firebox_serve::{Keys, Server, new_key};
use serde_json::{Map, Value, json};

use crate::{
    client::{JSON, Running, start, start_with},
    fake::Fake,
    local_model::{self, chatty, write_adapter},
};

async fn document(server: &Running) -> Value {
    let answer = server.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// Each endpoint's path, method and description.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    items
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

/// Each endpoint that takes a body, with the body's schema and example.
fn bodies(document: &Value) -> Vec<(&str, &Value, &Value)> {
    let found = operations(document).into_iter();
    let found = found.filter(|(_, method, _)| *method == "post");
    found
        .map(|(path, _, operation)| {
            let body = &operation["requestBody"]["content"]["application/json"];
            (path, resolved(document, &body["schema"]), &body["example"])
        })
        .collect()
}

fn properties(schema: &Value) -> &Map<String, Value> {
    schema["properties"].as_object().unwrap()
}

/// Whether the example is answered by a server of a fake engine alone.
fn is_answered(path: &str) -> bool {
    !["/v1/embeddings", "/v1/adapters"].contains(&path)
}

fn with(example: &Value, name: &str, value: &Value) -> Value {
    let mut body = example.clone();
    body[name] = value.clone();
    body
}

#[tokio::test]
async fn the_document() {
    let server = start(Fake::default()).await;
    let answer = server.get("/openapi.json").await;
    insta::assert_json_snapshot!(answer.json());
}

#[tokio::test]
async fn every_path_is_in_it_and_there() {
    let server = start(Fake::default()).await;
    let document = document(&server).await;
    let unknown = server.get("/nowhere").await.json();
    let listed = unknown["error"]["message"].as_str().unwrap().to_owned();
    let (_, listed) = listed.split_once("expected one of ").unwrap();
    let listed: Vec<_> = listed
        .split(", ")
        .map(|path| path.trim_matches('`'))
        .collect();
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(listed, paths);
    for (path, method, _) in operations(&document) {
        let path = path.replace("{name}", "fake-1");
        let answer = server
            .send(&method.to_uppercase(), &path, &[JSON], b"{}")
            .await;
        let code = serde_json::from_slice::<Value>(&answer.body);
        let code = code.map(|answer| answer["error"]["code"].clone());
        let code = code.unwrap_or_default();
        assert!(
            code != "unknown_path" && answer.status != 405,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_body_has_the_fields_that_it_says_and_no_others() {
    let server = start(Fake::default()).await;
    let document = document(&server).await;
    for (path, schema, example) in bodies(&document) {
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        let answer = server
            .post(path, &with(example, "unheard_of", &json!(1)))
            .await;
        let error = &answer.json()["error"];
        assert_eq!(error["code"], "unknown_parameter", "{path}");
        let (_, known) = error["message"]
            .as_str()
            .unwrap()
            .split_once("one of ")
            .unwrap();
        for (name, field) in properties(schema) {
            let supported = field["description"]
                .as_str()
                .is_none_or(|d| !d.starts_with("Not supp"));
            assert_eq!(
                supported,
                known.contains(&format!("`{name}`")),
                "{path} {name}"
            );
            if !supported {
                for value in field["enum"].as_array().unwrap() {
                    let answer = server.post(path, &with(example, name, value)).await;
                    assert_eq!(answer.status, 200, "{path} {name} {value}");
                }
                let answer = server
                    .post(path, &with(example, name, &json!("other")))
                    .await;
                assert_eq!(
                    answer.json()["error"]["code"],
                    "unsupported_parameter",
                    "{path} {name}"
                );
            }
            let is_required = schema["required"]
                .as_array()
                .is_some_and(|r| r.contains(&json!(name)));
            if !is_required && is_answered(path) {
                let is_null = server.post(path, &with(example, name, &Value::Null)).await;
                let either = path == "/tokenize" && name == "prompt";
                assert_eq!(
                    is_null.status,
                    if either { 400 } else { 200 },
                    "{path} {name}"
                );
            }
            let has_words = field.to_string().contains("\"description\"");
            assert!(has_words, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn numbers_have_the_ranges_that_it_says() {
    let server = start(Fake::default()).await;
    let document = document(&server).await;
    let mut n_bounds = 0;
    for (path, schema, example) in bodies(&document) {
        for (name, field) in properties(schema) {
            let is_whole = field["type"].to_string().contains("integer");
            let inside = ["minimum", "maximum"].map(|bound| &field[bound]);
            for (bound, step) in inside.into_iter().zip([-1.0, 1.0]) {
                let Some(number) = bound.as_f64() else {
                    continue;
                };
                n_bounds += 1;
                // Far enough for 53 bits.
                let step = step * (1.0 + number.abs() * 1e-6);
                let outside = match is_whole {
                    true => (number + step).round(),
                    false => number + step * 1e-6,
                };
                refuses(&server, path, &with(example, name, &json!(outside)), name).await;
                if name.starts_with("max_") || name == "top_logprobs" {
                    continue; // Other fields have a say too.
                }
                let answer = server.post(path, &with(example, name, bound)).await;
                assert_ne!(
                    answer.json()["error"]["param"],
                    json!(name),
                    "{path} {name} {bound}"
                );
            }
            for bound in ["exclusiveMinimum", "exclusiveMaximum"] {
                if field[bound].is_number() {
                    n_bounds += 1;
                    refuses(&server, path, &with(example, name, &field[bound]), name).await;
                }
            }
            if is_whole {
                refuses(&server, path, &with(example, name, &json!(1.5)), name).await;
            }
        }
    }
    assert!(n_bounds > 40, "{n_bounds}");
    let body = json!({"prompt": "a", "max_tokens": 2.0, "top_p": 1e-60, "min_p": 0.999_999_999_9, "seed": i64::MIN});
    assert_eq!(server.post("/generate", &body).await.status, 200);
}

async fn refuses(server: &Running, path: &str, body: &Value, name: &str) {
    let answer = server.post(path, body).await;
    assert_eq!(answer.status, 400, "{path} {body}");
    assert_eq!(
        answer.json()["error"]["param"],
        json!(name),
        "{path} {body}"
    );
}

/// What does not fit the schema of `name`.
#[track_caller]
fn check(document: &Value, name: &str, found: &Value) {
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(found)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_it_says() {
    let server = local_model::server().await;
    let document = document(&server).await;
    let chat = json!({
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 4, "logprobs": true, "top_logprobs": 2, "n": 2,
    });
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {
        "type": "object", "properties": {"x": {"enum": [1]}}, "required": ["x"], "additionalProperties": false,
    }}});
    let call = json!({
        "messages": [{"role": "user", "content": "a"}], "max_tokens": 200,
        "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false,
    });
    let completion = json!({"prompt": ["a", "b"], "max_tokens": 4, "logprobs": 2, "echo": true});
    for (path, body, name) in [
        ("/v1/chat/completions", &chat, "ChatCompletion"),
        ("/v1/chat/completions", &call, "ChatCompletion"),
        ("/v1/completions", &completion, "Completion"),
        (
            "/generate",
            &json!({"prompt": "a", "max_tokens": 4}),
            "Generated",
        ),
        ("/generate", &json!({"prompt": ""}), "ErrorBody"),
        ("/generate", &json!({}), "ErrorBody"),
        ("/tokenize", &json!({"prompt": "hello"}), "Tokenized"),
        ("/detokenize", &json!({"tokens": [1, 2]}), "Detokenized"),
    ] {
        check(&document, name, &server.post(path, body).await.json());
    }
    for (path, name) in [
        ("/v1/models", "ModelList"),
        ("/v1/models/tiny", "Model"),
        ("/v1/models/other", "ErrorBody"),
        ("/v1/models/%FF", "ErrorBody"),
        ("/v1/adapters", "AdapterList"),
        ("/health", "Status"),
        ("/ready", "Status"),
    ] {
        check(&document, name, &server.get(path).await.json());
    }
    let options = json!({"include_usage": true});
    for (path, body, name) in [
        ("/v1/chat/completions", &chat, "ChatCompletionChunk"),
        ("/v1/chat/completions", &call, "ChatCompletionChunk"),
        (
            "/v1/completions",
            &json!({"prompt": "a", "max_tokens": 4, "logprobs": 1}),
            "CompletionChunk",
        ),
    ] {
        let body = with(
            &with(body, "stream", &json!(true)),
            "stream_options",
            &options,
        );
        for event in server.stream(path, &body).await.all().await {
            check(&document, name, &event);
        }
    }
}

#[tokio::test]
async fn answers_about_adapters_are_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    write_adapter(&folder.path().join("a"), 1);
    let model = chatty().with_adapters(folder.path(), 2).unwrap();
    let server = start_with(Server::builder(), model).await;
    let document = document(&server).await;
    let path = "/v1/adapters";
    for (body, status, name) in [
        (json!({"name": "a"}), 200, "Adapter"),
        (json!({"name": "b"}), 404, "ErrorBody"),
        (json!({"name": 1}), 400, "ErrorBody"),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{body}");
        check(&document, name, &answer.json());
    }
    check(&document, "AdapterList", &server.get(path).await.json());
    for (status, name) in [(200, "UnloadedAdapter"), (404, "ErrorBody")] {
        let answer = server.send("DELETE", "/v1/adapters/a", &[], b"").await;
        assert_eq!(answer.status, status);
        check(&document, name, &answer.json());
    }
}

#[tokio::test]
async fn what_needs_a_key_is_said_where_there_are_keys() {
    let (_, entry) = new_key("ann").unwrap();
    let keys = Keys::from_entries(vec![entry]).unwrap();
    let guarded = start_with(Server::builder().keys(keys), Fake::default().served()).await;
    let with_keys = document(&guarded).await;
    assert_eq!(guarded.get("/docs").await.status, 200);
    for (path, method, operation) in operations(&with_keys) {
        let answer = guarded
            .send(&method.to_uppercase(), path, &[JSON], b"{}")
            .await;
        let needs_key = answer.status == 401;
        assert_eq!(operation["security"].is_array(), needs_key, "{path}");
        assert_eq!(
            operation["responses"]["401"].is_object(),
            needs_key,
            "{path}"
        );
    }
    let open = document(&start(Fake::default()).await).await;
    assert!(!open.to_string().contains("security"));
}
