//! Ids equal those of the `tokenizers` crate.

mod added;
mod identity;
mod parts;
mod scanning;
mod texts;

use serde_json::{Value, json};

use crate::{
    EncodingPath, FallbackReason, FastEncoder, Tokenizer, TokenizerModel, TokenizerTraining,
    WordSplit,
};

/// What tokenizers of these tests are trained on.
const TRAINING_TEXTS: [&str; 10] = [
    "The heart pumps blood through the body; the blood carries oxygen, doesn't it? It's THE body's.",
    "In 2024 there were 366 days, in 2023 there were 365: 1,234.5 and 99 of 100.",
    "心脏把血液输送到全身。血液带着氧气，心脏把氧气输送到全身。心脏、血液、氧气。",
    "肺从空气中吸收氧气，血液把氧气带到全身的细胞中，细胞用氧气得到能量。",
    "fn main() {\n    println!(\"hello\");\n\n    let x = vec![1, 2, 3];\r\n}\n\t\treturn x;\n",
    "été naïve façade Ünïcödé, жизнь и кровь, αίμα και καρδιά, دم وقلب, रक्त और हृदय",
    "👍🏽👩‍👩‍👧‍👦 🎉🎉 ❤️ e\u{301}te\u{301} ½ ² Ⅷ ٣٤ 一二三",
    "the the the then they them there these those  this   that    thin",
    "血液 血液 the blood 血液the血液 blood血液 of the 血液。",
    "心脏把血液输送到全身，心脏把氧气输送到全身。the heart carries the blood through the body.",
];

fn train(words: WordSplit) -> Tokenizer {
    let model = TokenizerModel::ByteLevelBpe { words };
    let training = TokenizerTraining {
        special_tokens: vec!["<|endoftext|>".into(), "<|im_start|>".into()],
        ..TokenizerTraining::new(model, 700)
    };
    training.train(TRAINING_TEXTS).unwrap()
}

/// Each Han character is a word, before anything else is split.
fn with_han_split(tokenizer: &Tokenizer) -> Tokenizer {
    edited(tokenizer, |json| {
        let han = json!({
            "type": "Split", "pattern": {"Regex": r"\p{Han}"}, "behavior": "Isolated", "invert": false,
        });
        let rest = json["pre_tokenizer"].take();
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [han, rest]});
    })
}

/// The tokenizer with parts of its `tokenizer.json` replaced.
fn edited(tokenizer: &Tokenizer, edit: impl FnOnce(&mut Value)) -> Tokenizer {
    let mut json: Value = serde_json::from_slice(tokenizer.to_json()).unwrap();
    edit(&mut json);
    Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
}

/// Llama 2's kind of tokenizer: characters, bytes for those that it lacks, spaces as `▁`.
fn train_with_byte_fallback() -> Tokenizer {
    let training = TokenizerTraining {
        max_alphabet: Some(60),
        ..TokenizerTraining::new(TokenizerModel::Bpe, 400)
    };
    edited(&training.train(TRAINING_TEXTS).unwrap(), |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let first = vocab.len();
        for byte in 0..256 {
            vocab.insert(format!("<0x{byte:02X}>"), json!(first + byte));
        }
        json["model"]["byte_fallback"] = json!(true);
        json["model"]["fuse_unk"] = json!(true);
    })
}

fn llama2() -> Tokenizer {
    edited(&train_with_byte_fallback(), |json| {
        json["pre_tokenizer"] = Value::Null;
        json["normalizer"] = json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]});
    })
}

/// Every kind of tokenizer that the fast path takes, with a name.
fn known_tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let mut all = byte_tokenizers();
    all.extend(incomplete_tokenizers());
    all.extend(character_tokenizers());
    all
}

/// Those on bytes.
fn byte_tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let gpt2 = train(WordSplit::Gpt2);
    let pattern = |json: &mut Value, step: usize, pattern: &str| {
        json["pre_tokenizer"]["pretokenizers"][step]["pattern"]["Regex"] = json!(pattern);
    };
    let cl100k = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
    let runs = edited(&train(WordSplit::SmolLm2), |json| {
        json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = json!(false);
    });
    vec![
        ("smollm2", train(WordSplit::SmolLm2)),
        ("Han apart", with_han_split(&train(WordSplit::SmolLm2))),
        ("Han apart, runs of digits", with_han_split(&runs)),
        (
            "Han apart, llama3",
            with_han_split(&train(WordSplit::Llama3)),
        ),
        (
            "llama3",
            edited(&train(WordSplit::Llama3), |json| {
                json["model"]["ignore_merges"] = json!(true);
            }),
        ),
        (
            "qwen2",
            edited(&train(WordSplit::Qwen2), |json| {
                json["normalizer"] = json!({"type": "NFC"});
            }),
        ),
        (
            "cl100k",
            edited(&train(WordSplit::Llama3), |json| pattern(json, 0, cl100k)),
        ),
        (
            "removed and inverted",
            edited(&train(WordSplit::Qwen2), |json| {
                let split = &mut json["pre_tokenizer"]["pretokenizers"][0];
                split["behavior"] = json!("Removed");
                split["invert"] = json!(true);
            }),
        ),
        (
            "prefix space",
            edited(&gpt2, |json| {
                json["pre_tokenizer"]["add_prefix_space"] = json!(true);
            }),
        ),
        (
            "no split",
            edited(&gpt2, |json| {
                json["pre_tokenizer"]["use_regex"] = json!(false);
            }),
        ),
        ("runs of digits", runs),
        ("gpt2", gpt2),
    ]
}

/// Those on bytes, of which some have no token.
fn incomplete_tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let gpt2 = train(WordSplit::Gpt2);
    vec![
        ("bytes missing", edited(&gpt2, remove_bytes)),
        (
            "bytes missing, unknown token",
            edited(&gpt2, |json| {
                remove_bytes(json);
                json["model"]["unk_token"] = json!("<|endoftext|>");
            }),
        ),
        (
            "bytes missing, fused unknown token",
            edited(&gpt2, |json| {
                remove_bytes(json);
                json["model"]["unk_token"] = json!("<|endoftext|>");
                json["model"]["fuse_unk"] = json!(true);
            }),
        ),
    ]
}

/// Those on characters.
fn character_tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let characters = TokenizerTraining {
        max_alphabet: Some(50),
        ..TokenizerTraining::new(TokenizerModel::Bpe, 300)
    };
    let characters = characters.train(TRAINING_TEXTS).unwrap();
    vec![
        ("metaspace", train_with_byte_fallback()),
        (
            "metaspace first",
            edited(&train_with_byte_fallback(), |json| {
                json["pre_tokenizer"]["prepend_scheme"] = json!("first");
            }),
        ),
        (
            "metaspace always, unsplit",
            edited(&train_with_byte_fallback(), |json| {
                json["pre_tokenizer"]["prepend_scheme"] = json!("always");
                json["pre_tokenizer"]["split"] = json!(false);
            }),
        ),
        ("llama2", llama2()),
        ("characters", characters.clone()),
        (
            "fused unknown characters",
            edited(&characters, |json| {
                json["model"]["fuse_unk"] = json!(true);
            }),
        ),
        (
            "unknown characters vanish",
            edited(&characters, |json| {
                json["model"]["unk_token"] = Value::Null;
            }),
        ),
    ]
}

/// Takes from the vocabulary bytes that occur in texts, and every merge that needs one.
fn remove_bytes(json: &mut Value) {
    let lost = ["ĵ", "Ģ", "x", "ä"];
    let is_lost = |token: &str| lost.iter().any(|lost| token.contains(lost));
    let model = &mut json["model"];
    let vocab = model["vocab"].as_object_mut().unwrap();
    vocab.retain(|token, id| !is_lost(token) || id.as_u64() < Some(2));
    let merges = model["merges"].as_array_mut().unwrap();
    merges.retain(|pair| {
        !pair
            .as_array()
            .unwrap()
            .iter()
            .any(|t| is_lost(t.as_str().unwrap()))
    });
}

#[track_caller]
fn check(name: &str, tokenizer: &Tokenizer, encoder: &FastEncoder, text: &str) -> usize {
    let mut ids = Vec::new();
    encoder.encode_into(text, &mut ids).unwrap();
    let expected = tokenizer.encode(text).unwrap();
    assert_eq!(ids, expected, "{name}: {text:?}");
    ids.len()
}

#[test]
fn known_tokenizers_take_the_fast_path() {
    for (name, tokenizer) in known_tokenizers() {
        let encoder = FastEncoder::from_tokenizer(&tokenizer);
        assert_eq!(encoder.path(), EncodingPath::Fast, "{name}");
    }
}

#[test]
fn other_tokenizers_are_left_to_the_crate_and_say_why() {
    let gpt2 = train(WordSplit::Gpt2);
    let set = |pointer: &str, value: Value| {
        edited(&gpt2, |json| *json.pointer_mut(pointer).unwrap() = value)
    };
    let unigram = TokenizerTraining::new(TokenizerModel::Unigram, 400);
    let word_piece = TokenizerTraining::new(TokenizerModel::WordPiece, 400);
    let digits_last = json!({"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        {"type": "Digits", "individual_digits": true},
    ]});
    for (tokenizer, reason) in [
        (
            unigram.train(TRAINING_TEXTS).unwrap(),
            "the model is Unigram, expected BPE",
        ),
        (
            word_piece.train(TRAINING_TEXTS).unwrap(),
            "the pre-tokenizer is BertPreTokenizer, expected ByteLevel, Digits and ByteLevel, a known Split and ByteLevel, each also behind a Split of Han characters, Metaspace, or none",
        ),
        (
            set("/normalizer", json!({"type": "NFKC"})),
            "the normalizer has NFKC, expected NFC, Prepend or Replace of a text",
        ),
        (
            set("/pre_tokenizer", digits_last),
            "the pre-tokenizer is ByteLevel, Digits, expected ByteLevel, Digits and ByteLevel, a known Split and ByteLevel, each also behind a Split of Han characters, Metaspace, or none",
        ),
    ] {
        let encoder = FastEncoder::from_tokenizer(&tokenizer);
        let EncodingPath::Fallback(found) = encoder.path() else {
            panic!("expected {reason}");
        };
        assert_eq!(found.to_string(), reason);
        for text in TRAINING_TEXTS {
            check(reason, &tokenizer, &encoder, text);
        }
    }
    let suffix = set("/model/end_of_word_suffix", json!("</w>"));
    let encoder = FastEncoder::from_tokenizer(&suffix);
    let option = "end_of_word_suffix";
    assert_eq!(
        encoder.path(),
        EncodingPath::Fallback(&FallbackReason::ModelOption { option })
    );
}
