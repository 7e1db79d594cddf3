//! `/v1/completions`, `/tokenize` and `/metrics`, with a small real model.

use serde_json::{Value, json};

use crate::local_model::server;

const PATH: &str = "/v1/completions";

fn greedy(more: &Value) -> Value {
    let mut body = json!({"prompt": "hello there", "temperature": 0, "max_tokens": 6});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_prompt_may_be_a_text_ids_or_several() {
    let server = server().await;
    let ids = server
        .post("/tokenize", &json!({"prompt": "hello there"}))
        .await
        .json()["tokens"]
        .take();
    let text = server.post(PATH, &greedy(&json!({}))).await.json();
    assert_eq!(text["object"], "text_completion");
    let choice = &text["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    let by_ids = server
        .post(PATH, &greedy(&json!({"prompt": ids})))
        .await
        .json();
    assert_eq!(by_ids["choices"], text["choices"]);
    let prompts = json!({"prompt": ["hello there", "another"], "n": 2});
    let several = server.post(PATH, &greedy(&prompts)).await.json();
    let choices = several["choices"].as_array().unwrap();
    let indices: Vec<u64> = choices
        .iter()
        .map(|c| c["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(choices[0]["text"], choice["text"]);
    assert_eq!(choices[1]["text"], choice["text"]);
    assert_eq!(choices[2]["text"], choices[3]["text"]);
    assert_eq!(several["usage"]["completion_tokens"], 24);
    let batches = json!({"prompt": [ids, ids]});
    let batches = server.post(PATH, &greedy(&batches)).await.json();
    assert_eq!(batches["choices"][1]["text"], choice["text"]);
}

#[tokio::test]
async fn the_prompt_is_echoed_with_its_probabilities() {
    let server = server().await;
    let body = greedy(&json!({"echo": true, "logprobs": 2, "max_tokens": 1}));
    let answer = server.post(PATH, &body).await.json();
    let choice = &answer["choices"][0];
    let lists = &choice["logprobs"];
    let tokens: Vec<&str> = lists["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    let n_prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    assert_eq!(tokens.len(), n_prompt + 1);
    assert_eq!(tokens[..n_prompt].concat(), "hello there");
    assert!(choice["text"].as_str().unwrap().starts_with("hello there"));
    assert_eq!(lists["token_logprobs"][0], Value::Null);
    assert_eq!(lists["text_offset"][1], tokens[0].len());
    for i in 1..tokens.len() {
        let top = lists["top_logprobs"][i].as_object().unwrap();
        assert!((2..=3).contains(&top.len()), "{top:?}");
        assert_eq!(top[tokens[i]], lists["token_logprobs"][i]);
    }
    // Only the prompt is read.
    let body = greedy(&json!({"echo": true, "logprobs": 0, "max_tokens": 0}));
    let read = server.post(PATH, &body).await.json();
    assert_eq!(read["choices"][0]["text"], "hello there");
    assert_eq!(read["usage"]["completion_tokens"], 0);
    let found = &read["choices"][0]["logprobs"]["token_logprobs"];
    assert_eq!(found[1], lists["token_logprobs"][1]);
}

#[tokio::test]
async fn the_best_of_several_is_the_likeliest() {
    let server = server().await;
    let body = |more: Value| {
        let mut body = json!({"prompt": "hello", "temperature": 1.5, "max_tokens": 8, "seed": 5, "logprobs": 0});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let mean = |choice: &Value| {
        let logprobs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        logprobs.iter().map(|x| x.as_f64().unwrap()).sum::<f64>() / logprobs.len() as f64
    };
    let all = server.post(PATH, &body(json!({"n": 5}))).await.json();
    let best = all["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(mean)
        .fold(f64::MIN, f64::max);
    let chosen = server.post(PATH, &body(json!({"best_of": 5}))).await.json();
    assert_eq!(chosen["choices"].as_array().unwrap().len(), 1);
    assert!((mean(&chosen["choices"][0]) - best).abs() < 1e-5);
    assert_eq!(chosen["usage"]["completion_tokens"], 40);
}

#[tokio::test]
async fn a_stream_concatenates_to_the_whole_answer() {
    let server = server().await;
    let mut body = greedy(&json!({"n": 2, "temperature": 1, "seed": 3, "logprobs": 1}));
    let whole = server.post(PATH, &body).await.json();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let mut chunks = server.stream(PATH, &body).await.all().await;
    assert_eq!(chunks.pop().unwrap()["usage"]["completion_tokens"], 12);
    for choice in whole["choices"].as_array().unwrap() {
        let own = chunks.iter().map(|chunk| &chunk["choices"][0]);
        let own: Vec<&Value> = own.filter(|c| c["index"] == choice["index"]).collect();
        let text: String = own.iter().map(|c| c["text"].as_str().unwrap()).collect();
        assert_eq!(choice["text"], text);
        let offsets = own
            .iter()
            .filter_map(|c| c["logprobs"]["text_offset"].get(0));
        let expected = choice["logprobs"]["text_offset"].as_array().unwrap();
        assert!(offsets.eq(expected), "{own:?}");
        let streamed = own
            .iter()
            .filter_map(|c| c["logprobs"]["token_logprobs"][0].as_f64());
        let expected = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        assert!(streamed.eq(expected.iter().map(|x| x.as_f64().unwrap())));
    }
}

#[tokio::test]
async fn what_it_does_not_have_is_said() {
    let server = server().await;
    for (more, expected) in [
        (json!({"suffix": "x"}), "`suffix` is not supported"),
        (
            json!({"best_of": 1, "n": 2}),
            "`best_of`: expected at least `n`, 2, found 1",
        ),
        (
            json!({"best_of": 2, "stream": true}),
            "`best_of`: expected the same as `n`",
        ),
        (
            json!({"echo": true, "stream": true}),
            "`echo` is not supported",
        ),
        (
            json!({"prompt": []}),
            "`prompt`: expected at least one prompt",
        ),
        (
            json!({"prompt": {"a": 1}}),
            "expected a string, an array of strings",
        ),
        (json!({"prompt": [99999]}), "token id 99999"),
        (
            json!({"logprobs": 21}),
            "`logprobs`: expected a whole number from 0 to 20",
        ),
        (
            json!({"max_tokens": 0}),
            "`max_tokens`: expected a whole number from 1 up",
        ),
        (
            json!({"n": 129}),
            "`n`: expected a whole number from 1 to 128",
        ),
        (
            json!({"prompt": ["a", "b"], "n": 100}),
            "at most 128 answers together, found 200",
        ),
    ] {
        let refused = server.post(PATH, &greedy(&more)).await;
        assert_eq!(refused.status, 400, "{more}");
        let message = refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains(expected), "{more}: {message}");
    }
}

#[tokio::test]
async fn chats_have_probabilities_too() {
    let server = server().await;
    let mut body = json!({
        "messages": [{"role": "user", "content": "hello"}],
        "logprobs": true, "top_logprobs": 2, "max_tokens": 4, "seed": 1,
    });
    let path = "/v1/chat/completions";
    let whole = server.post(path, &body).await.json();
    let content = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    assert_eq!(content.len(), 4);
    for token in content {
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        assert!(token["bytes"].is_array());
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
    }
    body["stream"] = json!(true);
    let chunks = server.stream(path, &body).await.all().await;
    let streamed = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["logprobs"]["content"].as_array());
    let streamed: Vec<&Value> = streamed.flatten().collect();
    assert!(streamed.into_iter().eq(content));
}

#[tokio::test]
async fn texts_and_ids_are_turned_into_each_other() {
    let server = server().await;
    let chat = json!({"messages": [{"role": "user", "content": "hello"}]});
    let found = server.post("/tokenize", &chat).await.json();
    assert_eq!(found["count"], found["tokens"].as_array().unwrap().len());
    let text = server
        .post("/detokenize", &json!({"tokens": found["tokens"]}))
        .await
        .json();
    assert_eq!(
        text["prompt"],
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    );
    let neither = server.post("/tokenize", &json!({})).await;
    assert_eq!(neither.status, 400);
}

#[tokio::test]
async fn metrics_have_vllms_names() {
    let server = server().await;
    server.post(PATH, &greedy(&json!({}))).await;
    let page = server.get("/metrics").await;
    assert_eq!(
        page.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = String::from_utf8(page.body).unwrap();
    for line in [
        "vllm:num_requests_waiting{model_name=\"tiny\"} 0",
        "vllm:num_requests_running{model_name=\"tiny\"} 0",
        "vllm:generation_tokens_total{model_name=\"tiny\"} 6",
        "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"length\"} 1",
        "vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 1",
        "vllm:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 1",
        "vllm:inter_token_latency_seconds_count{model_name=\"tiny\"} 5",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    // Every sample has its type before it.
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .fold(name, |name, end| name.trim_end_matches(end));
        assert!(page.contains(&format!("# TYPE {base} ")), "{line}");
    }
}

#[tokio::test]
async fn answers_take_the_form_that_is_asked_for() {
    let server = server().await;
    let schema = json!({
        "type": "object", "required": ["ok"], "additionalProperties": false,
        "properties": {"ok": {"type": "boolean"}},
    });
    let formats = [
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": true}}}),
        json!({"structured_outputs": {"json": schema}}),
    ];
    for format in formats {
        let mut body =
            json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 40});
        for (name, value) in format.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = server.post("/v1/chat/completions", &body).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "stop", "{answer}");
        let found: Value =
            serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
        assert!(found["ok"].is_boolean(), "{found}");
    }
    let choice = json!({"structured_outputs": {"choice": ["left", "right"]}});
    let answer = server.post(PATH, &greedy(&choice)).await.json();
    assert!(["left", "right"].contains(&answer["choices"][0]["text"].as_str().unwrap()));
    for (wrong, expected) in [
        (
            json!({"structured_outputs": {}}),
            "expected one of `json`, `regex`",
        ),
        (
            json!({"structured_outputs": {"regex": "("}}),
            "the grammar cannot be used",
        ),
        (
            json!({"structured_outputs": {"regex": "a", "choice": ["a"]}}),
            "found several",
        ),
        (
            json!({"structured_outputs": {"yaml": 1}}),
            "unknown field `yaml`",
        ),
    ] {
        let refused = server.post(PATH, &greedy(&wrong)).await;
        let message = refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(refused.status, 400);
        assert!(message.contains(expected), "{message}");
    }
}

/// The arguments come as they are written.
fn check_streamed(chunks: &[Value], call: &Value) {
    let deltas: Vec<&Value> = chunks.iter().map(|c| &c["choices"][0]["delta"]).collect();
    let of_call = deltas.iter().filter_map(|d| d["tool_calls"].as_array());
    let of_call: Vec<&Value> = of_call.flatten().collect();
    assert_eq!(of_call[0]["function"]["name"], call["function"]["name"]);
    let pieces = of_call.iter().map(|d| d["function"]["arguments"].as_str());
    let pieces: Vec<&str> = pieces.map(Option::unwrap).collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(pieces.concat(), call["function"]["arguments"]);
    assert!(
        deltas
            .iter()
            .all(|d| d["content"].as_str().is_none_or(str::is_empty))
    );
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn calls_of_functions_always_parse() {
    let server = server().await;
    let path = "/v1/chat/completions";
    let tool = |name: &str| {
        json!({"type": "function", "function": {
            "name": name, "description": "does it",
            "parameters": {
                "type": "object", "required": ["on"], "additionalProperties": false,
                "properties": {"on": {"type": "boolean"}},
            },
        }})
    };
    let ask = |choice: Value, seed: usize| {
        json!({
            "messages": [{"role": "user", "content": "hello"}], "seed": seed, "max_tokens": 150,
            "tools": [tool("lamp"), tool("door")], "tool_choice": choice, "parallel_tool_calls": false,
        })
    };
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..6 {
        let mut body = ask(json!("required"), seed);
        let answer = server.post(path, &body).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
        let call = &choice["message"]["tool_calls"][0];
        let name = call["function"]["name"].as_str().unwrap();
        names.insert(name.to_owned());
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert!(arguments["on"].is_boolean(), "{arguments}");
        body["stream"] = json!(true);
        check_streamed(&server.stream(path, &body).await.all().await, call);
    }
    assert!(names.iter().all(|name| name == "lamp" || name == "door"));
    let named = json!({"type": "function", "function": {"name": "door"}});
    let answer = server.post(path, &ask(named, 1)).await.json();
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "door");

    // What was called goes back, with what came of it.
    let mut body = ask(json!("none"), 1);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({
        "role": "assistant", "content": null, "tool_calls": [call], "refusal": null,
        "annotations": [], "audio": null, "function_call": null,
    }));
    messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "it is open"}));
    let answer = server.post(path, &body).await.json();
    assert!(
        answer["choices"][0]["message"]["content"].is_string(),
        "{answer}"
    );
    let mut body = ask(json!("auto"), 2);
    body["stream"] = json!(true);
    let free = server.stream(path, &body).await.all().await;
    assert!(free.last().unwrap()["choices"][0]["finish_reason"].is_string());

    for (choice, expected) in [
        (json!("always"), "expected `none`, `auto`, `required`"),
        (
            json!({"type": "function", "function": {"name": "window"}}),
            "a function that is among `tools`",
        ),
    ] {
        let refused = server.post(path, &ask(choice, 1)).await;
        let message = refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            refused.status == 400 && message.contains(expected),
            "{message}"
        );
    }
}
