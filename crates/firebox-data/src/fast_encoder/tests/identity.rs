//! Whole texts, through every kind of tokenizer.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::texts::{Numbers, any_text, text};
use super::{TRAINING_TEXTS, check, known_tokenizers, train};
use crate::{FastEncoder, Tokenizer, TokenizerModel, TokenizerTraining, WordSplit};

static KNOWN: LazyLock<Vec<(&str, Tokenizer)>> = LazyLock::new(known_tokenizers);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn ids_of_any_text_are_those_of_the_crate(text in any_text()) {
        for (name, tokenizer) in KNOWN.iter() {
            check(name, tokenizer, &FastEncoder::from_tokenizer(tokenizer), &text);
        }
    }
}

#[test]
fn a_million_ids_of_random_unicode_are_those_of_the_crate() {
    let mut numbers = Numbers::new(5);
    for (name, tokenizer) in KNOWN.iter() {
        let encoder = FastEncoder::from_tokenizer(tokenizer);
        let mut n_ids = 0;
        while n_ids < 100_000 {
            let n_pieces = 1 + numbers.below(300);
            n_ids += check(name, tokenizer, &encoder, &text(&mut numbers, n_pieces));
        }
    }
    assert!(KNOWN.len() * 100_000 > 1_000_000);
}

#[test]
fn the_texts_that_were_learned_from_are_encoded_alike() {
    for (name, tokenizer) in KNOWN.iter() {
        let encoder = FastEncoder::from_tokenizer(tokenizer);
        for text in TRAINING_TEXTS
            .into_iter()
            .chain(["", " ", "\n", "<|endoftext|>"])
        {
            check(name, tokenizer, &encoder, text);
        }
    }
}

#[test]
fn words_without_end_are_encoded_alike() {
    let repeated = |word: &str| word.repeat(3000);
    let texts = [
        "a",
        "the",
        "ab c",
        "=",
        "血液",
        "心脏把",
        "\n",
        " ",
        "🎉",
        "ä",
        "the血",
    ];
    for (name, tokenizer) in KNOWN.iter() {
        let encoder = FastEncoder::from_tokenizer(tokenizer);
        for text in texts.map(repeated) {
            check(name, tokenizer, &encoder, &text);
        }
    }
}

#[test]
fn batches_are_in_order_and_do_not_depend_on_threads_or_on_what_came_before() {
    let tokenizer = train(WordSplit::Qwen2);
    let mut numbers = Numbers::new(7);
    let texts: Vec<String> = (0..3000).map(|_| text(&mut numbers, 200)).collect();
    let expected: Vec<_> = texts
        .iter()
        .map(|text| tokenizer.encode(text).unwrap())
        .collect();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    for n_threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| {
            let flat = encoder.encode_flat(&texts).unwrap();
            assert_eq!(flat.n_texts(), texts.len());
            assert!((0..texts.len()).all(|index| flat.text(index) == expected[index]));
            assert_eq!(encoder.encode_batch(&texts).unwrap(), expected);
        });
    }
    let none: [&str; 0] = [];
    assert_eq!(encoder.encode_flat(&none).unwrap().offsets, [0]);
}

#[test]
fn the_first_text_that_cannot_be_encoded_is_reported() {
    // A word-level model without an unknown token.
    let json =
        br#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"[UNK]"}}"#;
    let tokenizer = Tokenizer::from_json(json).unwrap();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    assert_eq!(
        encoder.encode_batch(&["a", "a a"]).unwrap(),
        [vec![0], vec![0, 0]]
    );
    let error = encoder.encode_batch(&["a", "bcd", "b"]).unwrap_err();
    assert!(matches!(error, crate::DataError::Encode { n_bytes: 3, .. }));
}

#[test]
fn a_vocabulary_of_many_chinese_words_is_cut_nowhere_within_a_token() {
    // Every run of up to four of these characters is frequent, so that tokens start and end everywhere.
    let mut numbers = Numbers::new(11);
    let mut run = |n_chars| -> String {
        (0..n_chars)
            .map(|_| char::from_u32(0x4e00 + numbers.below(30) as u32).unwrap())
            .collect()
    };
    let learned: Vec<String> = (0..2000).map(|_| run(12)).collect();
    let words = WordSplit::Llama3;
    let training = TokenizerTraining::new(TokenizerModel::ByteLevelBpe { words }, 3000);
    let tokenizer = training.train(&learned).unwrap();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    for _ in 0..3000 {
        check("chinese", &tokenizer, &encoder, &run(40));
    }
}
