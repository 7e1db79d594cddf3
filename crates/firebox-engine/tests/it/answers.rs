//! An answer depends on the request alone.

use std::sync::Arc;

use firebox_engine::{Engine, EngineConfig, Events, Grammar, Request, Speculation, TextEngine};
use firebox_model::CausalLm;

use crate::common::{
    ADAPTERS, Answer, TOKENIZER, answer, engine, greedy, ids, mixed_requests, on_burn, on_host,
};

fn one_by_one(engine: &Engine, requests: &[Request]) -> Vec<Answer> {
    let ask = |request: &Request| answer(engine.generate(request.clone()).unwrap());
    requests.iter().map(ask).collect()
}

fn all_at_once(engine: &Engine, requests: &[Request]) -> Vec<Answer> {
    let ask = |request: &Request| engine.generate(request.clone()).unwrap();
    let asked: Vec<Events> = requests.iter().map(ask).collect();
    asked.into_iter().map(answer).collect()
}

/// How much was found in the cache is no part of an answer.
fn same(mut answers: Vec<Answer>, expected: &[Answer], what: &str) {
    for (i, (answer, expected)) in answers.iter_mut().zip(expected).enumerate() {
        answer.n_cached = expected.n_cached;
        assert_eq!(answer, expected, "request {i}, {what}");
    }
}

fn plain() -> EngineConfig {
    EngineConfig {
        max_sequences: 1,
        prefix_cache: false,
        max_batch_tokens: 1000,
        ..EngineConfig::default()
    }
}

#[test]
fn an_answer_is_the_same_whatever_else_is_computed() {
    let requests = mixed_requests(200);
    let expected = one_by_one(&engine(plain()), &requests);
    assert!(expected.iter().any(|answer| answer.reason == "Length"));
    let speculation = Some(Speculation {
        max_ngram: 3,
        max_draft: 5,
        max_rows: 64,
    });
    let base = EngineConfig::default();
    let configs = [
        (
            "batches",
            EngineConfig {
                prefix_cache: false,
                ..base.clone()
            },
        ),
        ("prefix cache", base.clone()),
        (
            "small parts of prompts",
            EngineConfig {
                max_batch_tokens: 32,
                ..base.clone()
            },
        ),
        (
            "guesses",
            EngineConfig {
                speculation,
                ..base.clone()
            },
        ),
        (
            "few blocks",
            EngineConfig {
                cache_tokens: 640,
                ..base.clone()
            },
        ),
        (
            "all of it",
            EngineConfig {
                cache_tokens: 704,
                max_batch_tokens: 40,
                speculation,
                ..base.clone()
            },
        ),
    ];
    for (what, config) in configs {
        let engine = engine(config);
        same(all_at_once(&engine, &requests), &expected, what);
        let stats = engine.stats();
        assert_eq!(
            (stats.n_running, stats.n_waiting, stats.n_blocks_held),
            (0, 0, 0),
            "{what}"
        );
        let config = engine.config();
        assert_eq!(stats.n_prefix_hits > 0, config.prefix_cache, "{what}");
        assert_eq!(
            stats.n_preemptions > 0,
            config.cache_tokens < 1000,
            "{what}: {stats:?}"
        );
        assert_eq!(
            stats.n_guessed_right > 0,
            config.speculation.is_some(),
            "{what}: {stats:?}"
        );
    }
}

#[test]
fn it_is_what_the_model_alone_generates() {
    check_against(&on_host(), &engine(EngineConfig::default()));
    let on_burn_too = Engine::start(on_burn(), TOKENIZER.clone(), EngineConfig::default());
    check_against(&on_burn(), &on_burn_too.unwrap());
}

fn check_against(model: &impl CausalLm, engine: &Engine) {
    for request in mixed_requests(36)
        .into_iter()
        .filter(|one| one.min_tokens == 0 && one.adapter.is_none())
    {
        let alone = model
            .generate(
                &request.prompt_ids,
                request.generate.clone(),
                TOKENIZER.decoder(true),
            )
            .unwrap();
        let tokens: Vec<_> = alone.collect();
        let found = answer(engine.generate(request).unwrap());
        let expected: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(found.ids, expected);
        let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(found.text, text);
    }
}

#[test]
fn an_adapter_is_beside_the_weights_of_its_own_requests_alone() {
    let engine = engine(EngineConfig::default());
    let prompt = ids(4, 200);
    let request = Request::new(prompt.clone(), greedy(20));
    let of_base = answer(engine.generate(request.clone()).unwrap());
    for adapter in &*ADAPTERS {
        let request = Request {
            adapter: Some(Arc::clone(adapter)),
            ..request.clone()
        };
        // Its keys and values are not the base's.
        let found = answer(engine.generate(request.clone()).unwrap());
        assert_eq!(found.n_cached, 0);
        assert_ne!(found.ids, of_base.ids);
        let again = answer(engine.generate(request.clone()).unwrap());
        assert_eq!((again.n_cached, &again.ids), (199, &found.ids));
        let alone = on_host().with_adapter(Arc::clone(adapter)).unwrap();
        let tokens = alone.generate(&prompt, request.generate, TOKENIZER.decoder(true));
        let expected: Vec<u32> = tokens.unwrap().map(|token| token.id).collect();
        assert_eq!(found.ids, expected);
    }
    let on_burn = Engine::start(on_burn(), TOKENIZER.clone(), EngineConfig::default()).unwrap();
    let request = Request {
        adapter: Some(Arc::clone(&ADAPTERS[0])),
        ..request
    };
    let refused = on_burn.generate(request).unwrap_err().to_string();
    assert!(refused.contains("expected a model on the CPU"), "{refused}");
}

#[test]
fn probabilities_are_the_models() {
    let engine = engine(EngineConfig::default());
    let prompt = ids(3, 150);
    let request = Request {
        prompt_logprobs: Some(2),
        logprobs: Some(3),
        ..Request::new(prompt.clone(), greedy(5))
    };
    let found = answer(engine.generate(request).unwrap());
    let text = [&prompt[..], &found.ids].concat();
    let nll = on_host().token_nll(&text).unwrap();
    let all = found.prompt.iter().chain(&found.logprobs);
    assert_eq!(found.prompt.len(), 149);
    for ((logprobs, nll), id) in all.zip(&nll).zip(&text[1..]) {
        assert_eq!(logprobs.id, *id);
        assert!((logprobs.logprob + nll).abs() < 1e-4, "{logprobs:?}, {nll}");
    }
    assert!(
        found
            .logprobs
            .iter()
            .all(|token| token.rank == 1 && token.top.len() == 3)
    );
    assert!(
        found
            .logprobs
            .iter()
            .all(|token| token.top[0] == (token.id, token.logprob))
    );
}

#[test]
fn a_shared_beginning_is_computed_once_but_not_for_others() {
    let engine = engine(EngineConfig::default());
    let shared = ids(5, 300);
    let ask = |own: u64, salt: u64| {
        let prompt = [&shared[..], &ids(own, 10)].concat();
        let request = Request {
            cache_salt: salt,
            ..Request::new(prompt, greedy(3))
        };
        answer(engine.generate(request).unwrap()).n_cached
    };
    assert_eq!(ask(1, 0), 0);
    // To the token, not to the block.
    assert_eq!(ask(2, 0), 300);
    assert_eq!(ask(3, 1), 0);
    assert_eq!(ask(3, 1), 309);
}

#[test]
fn a_prompt_can_be_read_without_an_answer() {
    let engine = engine(EngineConfig::default());
    let request = Request {
        prompt_logprobs: Some(0),
        ..Request::new(ids(8, 640), greedy(0))
    };
    let found = answer(engine.generate(request).unwrap());
    assert_eq!((found.prompt.len(), found.ids.len()), (639, 0));
    assert_eq!(found.reason, "Length");
}

#[test]
fn min_tokens_holds_off_the_end() {
    let engine = engine(EngineConfig::default());
    let prompt = ids(1, 20);
    let free = answer(
        engine
            .generate(Request::new(prompt.clone(), greedy(30)))
            .unwrap(),
    );
    let mut generate = greedy(30);
    // What comes third ends the answer.
    generate.eos_ids = vec![free.ids[2]];
    let ended = answer(
        engine
            .generate(Request::new(prompt.clone(), generate.clone()))
            .unwrap(),
    );
    assert_eq!((ended.ids.len(), ended.reason.as_str()), (3, "Stop"));
    let request = Request {
        min_tokens: 12,
        ..Request::new(prompt, generate)
    };
    let held = answer(engine.generate(request).unwrap());
    assert!(held.ids.len() >= 12, "{held:?}");
    assert!(!held.ids[..11].contains(&free.ids[2]));
}

#[test]
fn an_answer_follows_its_grammar() {
    let engine = engine(EngineConfig::default());
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"name": {"enum": ["ann", "bob"]}, "old": {"type": "boolean"}},
        "required": ["name", "old"],
        "additionalProperties": false,
    });
    let ask = |grammar: Grammar, seed: u64| {
        let mut generate = greedy(60);
        generate.sampling.temperature = 1.0;
        generate.sampling.seed = seed;
        let request = Request {
            grammar: Some(grammar),
            ..Request::new(ids(seed, 20), generate)
        };
        answer(engine.generate(request).unwrap())
    };
    for seed in 0..10 {
        let found = ask(Grammar::JsonSchema(schema.clone()), seed);
        assert_eq!(found.reason, "Stop", "{found:?}");
        let json: serde_json::Value = serde_json::from_str(&found.text).unwrap();
        assert!(json["old"].is_boolean() && json["name"].as_str().unwrap().len() == 3);
        let found = ask(
            Grammar::Choice(vec!["yes".into(), "no \"way\"".into()]),
            seed,
        );
        assert!(["yes", "no \"way\""].contains(&&*found.text), "{found:?}");
        let found = ask(Grammar::Regex("[a-c]{3}x+y".into()), seed);
        assert!(
            found.reason == "Length" || found.text.ends_with("xy"),
            "{found:?}"
        );
        let found = ask(
            Grammar::Lark("start: \"a\" (\"b\" | \"c\") \"d\"".into()),
            seed,
        );
        assert!(["abd", "acd"].contains(&&*found.text), "{found:?}");
    }
    let request = Request {
        grammar: Some(Grammar::Regex("(".into())),
        ..Request::new(ids(1, 5), greedy(5))
    };
    let refused = engine.generate(request).unwrap_err().to_string();
    assert!(refused.contains("the grammar cannot be used"), "{refused}");
}

#[test]
fn guesses_never_outgrow_a_step() {
    // A grammar has the same words come again and again, so that many tokens are guessed at once.
    let text = "once more with feeling ".repeat(4);
    let speculation = Some(Speculation {
        max_ngram: 3,
        max_draft: 6,
        max_rows: 64,
    });
    for max_batch_tokens in [1, 2, 3, 256] {
        let config = EngineConfig {
            max_sequences: 1,
            max_batch_tokens,
            speculation,
            ..EngineConfig::default()
        };
        let engine = engine(config);
        let request = Request {
            grammar: Some(Grammar::Choice(vec![text.clone()])),
            ..Request::new(ids(1, 7), greedy(200))
        };
        let found = answer(engine.generate(request).unwrap());
        assert_eq!(
            (found.text.as_str(), found.reason.as_str()),
            (text.as_str(), "Stop")
        );
        let stats = engine.stats();
        assert_eq!(stats.n_restarts, 0);
        assert_eq!(stats.n_guessed_right > 0, max_batch_tokens > 1, "{stats:?}");
    }
}
