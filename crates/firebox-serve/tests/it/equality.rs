//! An answer does not depend on what else the server does.

use firebox_serve::Server;
use firebox_tensor::random::CounterRng;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    client::{Running, start_with},
    local_model::{chatty, write_adapter},
};

const N_REQUESTS: usize = 200;

/// Path and body of requests of every kind, greedy and seeded.
fn mixed() -> Vec<(&'static str, Value)> {
    let system = "You answer in few words, and only what you know. ".repeat(6);
    let request = |i: usize| {
        let mut rng = CounterRng::new(i as u64, 0);
        let model = ["tiny", "a"][rng.below(2) as usize];
        let temperature = [0.0, 0.7, 1.3][rng.below(3) as usize];
        let mut body = json!({
            "model": model,
            "max_tokens": 1 + rng.below(30),
            "seed": i,
            "temperature": temperature,
        });
        match rng.below(4) {
            0 => body["top_k"] = json!(20),
            1 => body["top_p"] = json!(0.9),
            2 => body["min_p"] = json!(0.05),
            _ => body["repetition_penalty"] = json!(1.2),
        }
        let words = "one two three ".repeat(1 + rng.below(20) as usize);
        match i % 4 {
            0 => {
                body["prompt"] = json!(format!("{i} {words}"));
                body["logprobs"] = json!(2);
                body["echo"] = json!(i.is_multiple_of(8));
                ("/v1/completions", body)
            }
            1 => {
                body["prompt"] = json!(words);
                body["stop"] = json!(["e", "qu"]);
                ("/generate", body)
            }
            _ => {
                body["messages"] = json!([
                    {"role": "system", "content": system},
                    {"role": "user", "content": format!("{words} {i}?")},
                ]);
                body["n"] = json!(1 + i % 3);
                if i.is_multiple_of(5) {
                    body["response_format"] = json!({"type": "json_object"});
                }
                ("/v1/chat/completions", body)
            }
        }
    };
    (0..N_REQUESTS).map(request).collect()
}

async fn answers(server: &Running, requests: &[(&str, Value)], at_once: usize) -> Vec<Value> {
    let ask = |(path, body): &(&str, Value)| {
        let (path, body) = (String::from(*path), body.clone());
        async move {
            let answer = server.post(&path, &body).await;
            let mut json = answer.json();
            assert_eq!(answer.status, 200, "{path} {body}: {json}");
            // When it came, and what was known before, is no part of an answer.
            for name in ["id", "created", "usage"] {
                json.as_object_mut().unwrap().remove(name);
            }
            json
        }
    };
    let asked: Vec<_> = requests.iter().map(ask).collect();
    stream::iter(asked).buffered(at_once).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_get_the_same_answers_alone_and_thirty_two_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_adapter(&folder.path().join("a"), 1);
    let requests = mixed();
    let serve = async || {
        let model = chatty().with_adapters(folder.path(), 1).unwrap();
        start_with(Server::builder(), model).await
    };
    let alone = answers(&serve().await, &requests, 1).await;
    let server = serve().await;
    for _ in 0..2 {
        // The second time, with all that the server knows from the first.
        let together = answers(&server, &requests, 32).await;
        for (i, (found, expected)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(found, expected, "request {i}: {:?}", requests[i]);
        }
    }
    assert_eq!(server.n_running(), 0);
}
