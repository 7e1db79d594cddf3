//! Adapters that come and go while the server runs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use firebox_serve::{Keys, Server, new_key};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{JSON, Running, start_with},
    fake::Fake,
    local_model::{chatty, write_adapter},
};

const GENERATE: &str = "/generate";
const ADAPTERS: &str = "/v1/adapters";

struct Served {
    server: Running,
    folder: TempDir,
}

impl Served {
    /// With the adapters `a` and `b`, at most two.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_adapter(&folder.path().join("a"), 1);
        write_adapter(&folder.path().join("b"), 2);
        let model = chatty().with_adapters(folder.path(), 2).unwrap();
        let server = start_with(Server::builder(), model).await;
        Self { server, folder }
    }

    async fn ask(&self, model: &str) -> (u16, Value) {
        let body =
            json!({"model": model, "prompt": "hello there", "max_tokens": 12, "ignore_eos": true});
        let answer = self.server.post(GENERATE, &body).await;
        (answer.status, answer.json())
    }

    async fn text(&self, model: &str) -> String {
        let (status, answer) = self.ask(model).await;
        assert_eq!(status, 200, "{model}: {answer}");
        answer["text"].as_str().unwrap().to_owned()
    }

    async fn load(&self, name: &str) -> (u16, Value) {
        let answer = self.server.post(ADAPTERS, &json!({"name": name})).await;
        (answer.status, answer.json())
    }

    async fn unload(&self, name: &str) -> u16 {
        let path = format!("{ADAPTERS}/{name}");
        self.server.send("DELETE", &path, &[], b"").await.status
    }
}

#[tokio::test]
async fn a_request_names_the_adapter_as_its_model() {
    let served = Served::start().await;
    let texts = [
        served.text("tiny").await,
        served.text("a").await,
        served.text("b").await,
    ];
    assert_eq!(texts.iter().collect::<HashSet<_>>().len(), 3, "{texts:?}");
    let models = served.server.get("/v1/models").await.json();
    let names: Vec<&Value> = (0..3).map(|i| &models["data"][i]["id"]).collect();
    assert_eq!(names, ["tiny", "a", "b"]);
    assert_eq!(models["data"][1]["parent"], "tiny");
    let one = served.server.get("/v1/models/b").await.json();
    assert_eq!(one, models["data"][2]);
    let body =
        json!({"model": "b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3});
    let answer = served.server.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.json()["model"], "b");

    assert_eq!(served.unload("b").await, 200);
    assert_eq!(served.unload("b").await, 404);
    let (status, refused) = served.ask("b").await;
    let expected = "the model `b` does not exist, this server has `tiny`, `a`";
    assert_eq!(
        (status, &refused["error"]["message"]),
        (404, &json!(expected))
    );
    assert_eq!(served.text("a").await, texts[1]);
    let listed = served.server.get(ADAPTERS).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["rank"], 4);
    assert_eq!(
        (&listed["known"], &listed["max"]),
        (&json!(["a", "b"]), &json!(2))
    );
    assert_eq!(served.load("b").await.0, 200);
    assert_eq!(served.text("b").await, texts[2]);
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused() {
    let served = Served::start().await;
    let outside = tempfile::tempdir_in(served.folder.path().parent().unwrap()).unwrap();
    write_adapter(&outside.path().join("x"), 3);
    let up = format!(
        "../{}/x",
        outside.path().file_name().unwrap().to_str().unwrap()
    );
    let absolute = outside.path().join("x").display().to_string();
    for name in ["", ".", "..", &up, &absolute, "a/", "./a", "c", "tiny"] {
        let (status, refused) = served.load(name).await;
        let expected = if name == "tiny" { 400 } else { 404 };
        assert_eq!(status, expected, "{name}: {refused}");
    }
    write_adapter(&served.folder.path().join("c"), 3);
    let (status, refused) = served.load("c").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("too_many_adapters"))
    );
    assert_eq!(served.unload("b").await, 200);
    assert_eq!(served.load("c").await.0, 200);
    // Broken files leave the one that is loaded.
    let text = served.text("c").await;
    let weights = served.folder.path().join("c/adapter_model.safetensors");
    std::fs::write(weights, b"nonsense").unwrap();
    let (status, refused) = served.load("c").await;
    assert_eq!(status, 400, "{refused}");
    assert_eq!(served.text("c").await, text);
    let extra = json!({"name": "a", "path": "/etc"});
    let refused = served.server.post(ADAPTERS, &extra).await;
    assert_eq!(refused.json()["error"]["code"], "unknown_parameter");
}

#[tokio::test]
async fn only_an_admins_key_changes_them() {
    let folder = tempfile::tempdir().unwrap();
    write_adapter(&folder.path().join("a"), 1);
    let model = chatty().with_adapters(folder.path(), 2).unwrap();
    let (user, user_entry) = new_key("user").unwrap();
    let (admin, mut admin_entry) = new_key("admin").unwrap();
    admin_entry.admin = true;
    let keys = Keys::from_entries(vec![user_entry, admin_entry]).unwrap();
    let server = start_with(Server::builder().keys(keys), model).await;
    for (key, expected) in [(&user, 403), (&admin, 200)] {
        let bearer = format!("Bearer {key}");
        let headers = [JSON, ("authorization", bearer.as_str())];
        let load = server
            .send("POST", ADAPTERS, &headers, br#"{"name": "a"}"#)
            .await;
        assert_eq!(load.status, expected);
        let unload = server.send("DELETE", "/v1/adapters/a", &headers, b"").await;
        assert_eq!(unload.status, expected);
        let list = server.send("GET", ADAPTERS, &headers, b"").await;
        assert_eq!(list.status, 200);
    }
}

#[tokio::test]
async fn a_server_without_a_folder_says_so() {
    let server = start_with(Server::builder(), Fake::default().served()).await;
    let listed = server.get(ADAPTERS).await.json();
    assert_eq!((&listed["data"], &listed["max"]), (&json!([]), &json!(0)));
    let refused = server.post(ADAPTERS, &json!({"name": "a"})).await;
    assert_eq!(refused.status, 404);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("no folder of adapters"), "{message}");
    // An engine that has none refuses what is in a folder.
    let folder = tempfile::tempdir().unwrap();
    write_adapter(&folder.path().join("a"), 1);
    let refused = Fake::default().served().with_adapters(folder.path(), 2);
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("`a`: expected a model on the CPU"),
        "{message}"
    );
}

#[tokio::test]
async fn the_folder_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    write_adapter(&folder.path().join("a"), 1);
    write_adapter(&folder.path().join("gone"), 2);
    let model = chatty().with_adapters(folder.path(), 4).unwrap();
    let server = start_with(Server::builder(), model.clone()).await;
    let served = Served { server, folder };
    let before = served.text("a").await;
    write_adapter(&served.folder.path().join("a"), 5);
    write_adapter(&served.folder.path().join("new"), 3);
    std::fs::create_dir(served.folder.path().join("not-one")).unwrap();
    std::fs::remove_dir_all(served.folder.path().join("gone")).unwrap();
    std::fs::create_dir(served.folder.path().join("broken")).unwrap();
    std::fs::write(
        served.folder.path().join("broken/adapter_config.json"),
        "{}",
    )
    .unwrap();
    let failed = model.read_adapters().unwrap();
    assert!(
        failed.len() == 1 && failed[0].to_string().contains("`broken`"),
        "{failed:?}"
    );
    assert_ne!(served.text("a").await, before);
    served.text("new").await;
    assert_eq!(served.ask("gone").await.0, 404);
}

/// Adapters are replaced, unloaded and loaded under load; every request gets the answer of the model
/// that it named, as it is alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_change_under_load_and_no_request_fails() {
    const N_CLIENTS: usize = 8;
    let served = Served::start().await;
    let (of_base, a1) = (served.text("tiny").await, served.text("a").await);
    write_adapter(&served.folder.path().join("a"), 7);
    assert_eq!(served.load("a").await.0, 200);
    let a2 = served.text("a").await;
    assert!(a1 != a2 && a2 != of_base);
    let (is_over, n_answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |i: usize| {
        let (served, is_over, n_answers) = (&served, &is_over, &n_answers);
        let (of_base, a1, a2) = (&of_base, &a1, &a2);
        async move {
            while !is_over.load(SeqCst) {
                match i % 2 {
                    0 => assert_eq!(served.text("tiny").await, *of_base),
                    _ => {
                        let text = served.text("a").await;
                        assert!([a1, a2].contains(&&text), "{text}");
                    }
                }
                n_answers.fetch_add(1, SeqCst);
            }
        }
    };
    let change = async {
        for round in 0..12 {
            write_adapter(&served.folder.path().join("a"), [1, 7][round % 2]);
            assert_eq!(served.load("a").await.0, 200);
            assert_eq!(served.unload("b").await, 200);
            let n_before = n_answers.load(SeqCst);
            while n_answers.load(SeqCst) < n_before + N_CLIENTS {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(served.load("b").await.0, 200);
        }
        is_over.store(true, SeqCst);
    };
    let clients = futures_util::future::join_all((0..N_CLIENTS).map(ask));
    tokio::join!(clients, change);
    assert_eq!(served.server.n_running(), 0);
    assert!(n_answers.load(SeqCst) >= 12 * N_CLIENTS);
    let page = String::from_utf8(served.server.get("/metrics").await.body).unwrap();
    assert!(page.contains("vllm:lora_requests_info{"), "{page}");
    assert!(
        page.contains("max_lora=\"2\",running_lora_adapters=\"\""),
        "{page}"
    );
}
