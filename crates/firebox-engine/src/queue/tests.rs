use std::time::Duration;

use firebox_model::{GenerateConfig, SamplingConfig};

use super::*;
use crate::Request;
use crate::event::channel;

fn sequence(tenant: &str, arrival: u64, priority: i32) -> Sequence {
    let generate = GenerateConfig {
        sampling: SamplingConfig::default(),
        max_new_tokens: 1,
        eos_ids: vec![],
        stop: vec![],
    };
    let request = Request {
        tenant: Arc::from(tenant),
        priority,
        ..Request::new(vec![1], generate)
    };
    let tokenizer = firebox_data::train_byte_level_bpe(["a"], 256, &[]).unwrap();
    let (sink, _) = channel();
    Sequence::new(request, arrival, 8, &tokenizer, Box::new(sink)).unwrap()
}

fn order(queue: &mut FairQueue) -> Vec<u64> {
    std::iter::from_fn(|| {
        let next = queue.pop()?;
        queue.count(&next.request.tenant, 10, 0);
        Some(next.arrival)
    })
    .collect()
}

#[test]
fn tenants_take_turns_and_priority_comes_first() {
    let mut queue = FairQueue::default();
    for (tenant, arrival, priority) in [
        ("a", 0, 0),
        ("a", 1, 0),
        ("a", 2, 0),
        ("b", 3, 0),
        ("b", 4, 0),
        ("a", 5, 1),
    ] {
        queue.enter(sequence(tenant, arrival, priority), &[]);
    }
    // `a` was served once when it is the turn of the rest.
    assert_eq!(order(&mut queue), [5, 3, 0, 4, 1, 2]);
}

#[test]
fn of_one_tenant_the_one_that_is_late_first_is_next() {
    let mut queue = FairQueue::default();
    for (arrival, limit_s) in [(0, None), (1, Some(60)), (2, Some(5)), (3, None)] {
        let mut sequence = sequence("a", arrival, 0);
        sequence.request.time_limit = limit_s.map(Duration::from_secs);
        queue.enter(sequence, &[]);
    }
    assert_eq!(order(&mut queue), [2, 1, 0, 3]);
}

#[test]
fn being_away_gives_no_credit() {
    let mut queue = FairQueue::default();
    let busy = sequence("busy", 0, 0);
    queue.enter(sequence("busy", 1, 0), &[]);
    queue.count(&busy.request.tenant, 1000, 0);
    let running = [busy];
    queue.enter(sequence("late", 2, 0), &running);
    queue.enter(sequence("late", 3, 0), &running);
    // Not both of the late ones first: they begin where the busy one is.
    assert_eq!(order(&mut queue), [1, 2, 3]);
}
