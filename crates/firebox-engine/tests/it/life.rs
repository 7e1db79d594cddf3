//! Requests that are refused, given up, late, or fail.

use std::time::Duration;

use firebox_engine::{Engine, EngineConfig, EngineError, Event, Request, Sink, TextEngine};
use firebox_model::SamplingConfig;

use crate::common::{TOKENIZER, answer, engine, greedy, ids, on_host};

#[test]
fn wrong_requests_are_refused() {
    let engine = engine(EngineConfig::default());
    let refused = |request: Request| engine.generate(request).unwrap_err().to_string();
    let message = refused(Request::new(vec![], greedy(1)));
    assert_eq!(
        message,
        "expected a prompt of at least one token, found an empty one"
    );
    let message = refused(Request::new(ids(1, 640), greedy(1)));
    assert!(
        message.contains("at most 639 tokens") && message.contains("found 640"),
        "{message}"
    );
    let message = refused(Request::new(vec![300], greedy(1)));
    assert!(message.contains("token id 300"), "{message}");
    let mut generate = greedy(1);
    generate.sampling = SamplingConfig {
        top_p: 0.0,
        ..SamplingConfig::default()
    };
    let message = refused(Request::new(vec![3], generate));
    assert!(message.contains("`top_p`"), "{message}");
}

#[test]
fn impossible_settings_are_named() {
    let start = |config| {
        Engine::start(on_host(), TOKENIZER.clone(), config)
            .unwrap_err()
            .to_string()
    };
    let base = EngineConfig::default();
    let message = start(EngineConfig {
        cache_tokens: 600,
        ..base.clone()
    });
    assert!(
        message.contains("`cache_tokens`") && message.contains("640 tokens"),
        "{message}"
    );
    let message = start(EngineConfig {
        max_sequences: 0,
        ..base.clone()
    });
    assert!(message.contains("`max_sequences`"), "{message}");
    let message = start(EngineConfig {
        max_batch_tokens: 31,
        ..base
    });
    assert!(message.contains("`max_batch_tokens`"), "{message}");
}

#[test]
fn a_full_queue_refuses() {
    let config = EngineConfig {
        max_sequences: 1,
        max_waiting: 2,
        ..EngineConfig::default()
    };
    let engine = engine(config);
    let mut asked = Vec::new();
    let refused = loop {
        match engine.generate(Request::new(ids(1, 300), greedy(300))) {
            Ok(events) => asked.push(events),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, EngineError::QueueFull { max_waiting: 2 }),
        "{refused}"
    );
    assert!((2..=3).contains(&asked.len()));
    for events in asked {
        assert_eq!(answer(events).reason, "Length");
    }
}

#[test]
fn who_is_gone_holds_no_blocks() {
    let engine = engine(EngineConfig::default());
    let asked: Vec<_> = (0..8)
        .map(|i| {
            engine
                .generate(Request::new(ids(i, 200), greedy(400)))
                .unwrap()
        })
        .collect();
    drop(asked);
    // The next step sees it; this answer comes after that.
    answer(engine.generate(Request::new(ids(1, 5), greedy(3))).unwrap());
    let stats = engine.stats();
    assert_eq!(
        (stats.n_running, stats.n_waiting, stats.n_blocks_held),
        (0, 0, 0),
        "{stats:?}"
    );
}

#[test]
fn a_late_answer_fails() {
    let engine = engine(EngineConfig::default());
    let limit = Duration::from_nanos(1);
    let request = Request {
        time_limit: Some(limit),
        ..Request::new(ids(1, 50), greedy(5))
    };
    let found = answer(engine.generate(request).unwrap());
    assert!(
        found.reason.contains("not finished within"),
        "{}",
        found.reason
    );
}

#[test]
fn stopping_tells_everyone() {
    let engine = engine(EngineConfig::default());
    let events = engine
        .generate(Request::new(ids(1, 200), greedy(400)))
        .unwrap();
    drop(engine);
    assert_eq!(answer(events).reason, "the engine is shutting down");
}

/// Panics at the first token.
struct Broken;

impl Sink for Broken {
    fn send(&mut self, _: Event) {
        panic!("a sink that panics, for the test");
    }

    fn is_closed(&self) -> bool {
        false
    }
}

#[test]
fn a_panic_fails_those_that_are_computed_and_the_engine_goes_on() {
    let engine = engine(EngineConfig::default());
    let expected = answer(
        engine
            .generate(Request::new(ids(2, 50), greedy(20)))
            .unwrap(),
    );
    let beside = engine
        .generate(Request::new(ids(1, 60), greedy(500)))
        .unwrap();
    engine
        .submit(Request::new(ids(1, 50), greedy(5)), Box::new(Broken))
        .unwrap();
    let reason = answer(beside).reason;
    assert!(reason.contains("failed while it computed"), "{reason}");
    let after = answer(
        engine
            .generate(Request::new(ids(2, 50), greedy(20)))
            .unwrap(),
    );
    assert_eq!(after, expected);
    let stats = engine.stats();
    assert_eq!((stats.n_restarts, stats.n_blocks_held), (1, 0), "{stats:?}");
}
