//! Trained tokenizers are small, complete and always the same.

use crate::{DataError, train_byte_level_bpe};

const TEXTS: [&str; 6] = [
    "The heart pumps blood through the body. The blood carries oxygen.",
    "The lungs take oxygen from the air, and the heart carries it on.",
    "心脏把血液输送到全身。血液带着氧气。",
    "肺从空气中吸收氧气，心脏把氧气输送到全身。",
    "In 2024 there were 366 days; in 2023 there were 365.",
    "fn main() {\n    println!(\"hello\");\n}\n",
];

#[test]
fn the_same_texts_give_the_same_tokenizer() {
    let train = || train_byte_level_bpe(TEXTS, 500, &["<|end|>", "<|pad|>"]).unwrap();
    let first = train();
    for _ in 0..8 {
        assert_eq!(train().to_json(), first.to_json());
    }
}

#[test]
fn ids_are_special_tokens_then_bytes_then_merges() {
    let tokenizer = train_byte_level_bpe(TEXTS, 400, &["<|end|>", "<|pad|>"]).unwrap();
    assert_eq!(tokenizer.token_to_id("<|end|>"), Some(0));
    assert_eq!(tokenizer.token_to_id("<|pad|>"), Some(1));
    for id in 2..258 {
        assert_eq!(tokenizer.id_to_token(id).unwrap().chars().count(), 1);
    }
    for id in 258..400 {
        assert!(tokenizer.id_to_token(id).unwrap().chars().count() > 1);
    }
    assert_eq!(tokenizer.vocab_size(), 400);
}

#[test]
fn frequent_words_of_both_languages_become_short() {
    let tokenizer = train_byte_level_bpe(TEXTS, 500, &[]).unwrap();
    for (text, n_tokens) in [
        (" heart", 1),
        (" the", 1),
        ("氧气", 1),
        ("心脏把", 1),
        ("2024", 4),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap().len(), n_tokens, "{text}");
    }
    for text in TEXTS {
        let ids = tokenizer.encode(text).unwrap();
        assert!(
            ids.len() < text.len() * 2 / 3,
            "{} of {}",
            ids.len(),
            text.len()
        );
        assert_eq!(tokenizer.decode(&ids, false), text);
    }
}

#[test]
fn training_stops_when_no_pair_is_left() {
    let tokenizer = train_byte_level_bpe(["ab"], 1000, &[]).unwrap();
    assert_eq!(tokenizer.vocab_size(), 257);
    let empty = train_byte_level_bpe(Vec::<String>::new(), 1000, &["<|end|>"]).unwrap();
    assert_eq!(empty.vocab_size(), 257);
    assert_eq!(empty.decode(&empty.encode("任何").unwrap(), false), "任何");
}

#[test]
fn a_vocabulary_without_room_for_the_bytes_is_refused() {
    let error = train_byte_level_bpe(TEXTS, 100, &["<|end|>"]).unwrap_err();
    assert!(matches!(
        error,
        DataError::VocabTooSmall { minimum: 257, .. }
    ));
    insta::assert_snapshot!(error, @"train a byte-level BPE tokenizer: expected a vocabulary of at least 257 (256 bytes and the special tokens), found 100 (hint: raise `vocab_size`)");
}
