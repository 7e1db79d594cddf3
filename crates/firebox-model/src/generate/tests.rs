use super::*;
use crate::llama::tests::tiny;

/// Each id as a letter, and an end mark.
fn letters(id: Option<u32>) -> String {
    id.map_or("$".into(), |id| {
        char::from_u32('A' as u32 + id).unwrap().to_string()
    })
}

fn config(max_new_tokens: usize) -> GenerateConfig {
    GenerateConfig {
        sampling: SamplingConfig::default(),
        max_new_tokens,
        eos_ids: vec![],
        stop: vec![],
    }
}

fn run(config: GenerateConfig) -> (Vec<u32>, String, Option<FinishReason>) {
    let model = tiny();
    let mut generation = model.generate(&[1, 7, 30], config, letters).unwrap();
    let tokens: Vec<GeneratedToken> = generation.by_ref().collect();
    let ids = tokens.iter().map(|t| t.id).collect();
    (
        ids,
        tokens.into_iter().map(|t| t.text).collect(),
        generation.finish_reason(),
    )
}

#[test]
fn greedy_generation_follows_the_full_forward_pass() {
    let model = tiny();
    let mut ids = vec![1, 7, 30];
    for _ in 0..12 {
        let logits = model.forward(model.ids_tensor(&[&ids]).unwrap());
        let last = logits.narrow(1, ids.len() - 1, 1).reshape([1, 61]);
        ids.push(crate::sampling::argmax(&crate::linear::host_f32(last)).unwrap());
    }
    assert_eq!(run(config(12)).0, ids[3..]);
}

#[test]
fn it_ends_at_the_limit_at_an_end_token_and_at_a_stop_string() {
    let (ids, text, reason) = run(config(6));
    assert_eq!((ids.len(), reason), (6, Some(FinishReason::Length)));
    assert!(text.ends_with('$'), "the decoder was told of the end");

    let eos = GenerateConfig {
        eos_ids: vec![ids[3]],
        ..config(6)
    };
    let first = ids.iter().position(|id| *id == ids[3]).unwrap();
    let (ended, _, reason) = run(eos);
    assert_eq!(
        (ended.as_slice(), reason),
        (&ids[..=first], Some(FinishReason::Stop))
    );

    let stop = GenerateConfig {
        stop: vec![text.chars().skip(2).take(2).collect()],
        ..config(6)
    };
    let at = text.find(&stop.stop[0]).unwrap();
    let (_, shown, reason) = run(stop);
    assert_eq!(
        (shown.as_str(), reason),
        (&text[..at], Some(FinishReason::Stop))
    );
}

#[test]
fn the_context_ends_a_generation() {
    let model = tiny();
    let prompt = vec![4; 598];
    let mut generation = model.generate(&prompt, config(50), letters).unwrap();
    assert_eq!(generation.by_ref().count(), 2);
    assert_eq!(generation.finish_reason(), Some(FinishReason::Length));
    let error = model
        .generate(&vec![4; 600], config(1), letters)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("the prompt has 600 tokens, but the model's context holds 600"),
        "{error}"
    );
}

#[test]
fn bad_requests_are_refused_before_anything_runs() {
    let model = tiny();
    let message = |prompt: &[u32], config| {
        model
            .generate(prompt, config, letters)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(message(&[], config(1)).contains("prompt is empty"));
    assert!(message(&[61], config(1)).contains("token id 61"));
    let mut hot = config(1);
    hot.sampling.temperature = -0.5;
    assert!(message(&[1], hot).contains("`temperature`"));
    assert_eq!(run(config(0)).0, Vec::<u32>::new());
}

#[test]
fn a_long_prompt_is_computed_in_parts_between_which_it_can_be_given_up() {
    let model = tiny();
    let prompt = vec![4; PREFILL_CHUNK + 78];
    let mut generation = model.generate(&prompt, config(2), letters).unwrap();
    assert!(generation.prefill_chunk(), "a part is left");
    assert!(!generation.prefill_chunk());
    let whole = model.generate(&prompt, config(2), letters).unwrap();
    assert_eq!(
        generation.map(|t| t.id).collect::<Vec<_>>(),
        whole.map(|t| t.id).collect::<Vec<_>>()
    );
}
