//! Added tokens with all their flags, and the marks of post-processors.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::tokenizer::Tokenizer as HfTokenizer;

use super::texts::any_text;
use super::{check, edited, llama2, train};
use crate::{EncodingPath, FastEncoder, Tokenizer, WordSplit};

/// Tokens that overlap, that hold spaces, that only NFC makes, and that stand in each other's way.
const TOKENS: [&str; 9] = [
    "the",
    "<|im",
    "the blood",
    " blood",
    "é",
    "血液",
    "<x>",
    "\n",
    "e\u{301}x",
];

/// A token of white space takes none before it: where an earlier token has taken it already, the crate
/// panics.
fn possible(token: &str, flags: u8) -> u8 {
    if token.starts_with(char::is_whitespace) {
        flags & !2
    } else {
        flags
    }
}

fn with_added_tokens(tokenizer: &Tokenizer, flags: &[u8]) -> Tokenizer {
    edited(tokenizer, |json| {
        let first = 5000;
        let added = json["added_tokens"].as_array_mut().unwrap();
        for (index, (token, flags)) in TOKENS.iter().zip(flags).enumerate() {
            added.push(json!({
                "id": first + index, "content": token, "special": flags & 16 != 0,
                "single_word": flags & 1 != 0, "lstrip": flags & 2 != 0, "rstrip": flags & 4 != 0,
                "normalized": flags & 8 != 0,
            }));
        }
    })
}

fn text_with_tokens() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => prop::sample::select(TOKENS.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(vec![" ", "  ", "\n", "a", "_", "<", "blood", "血"]).prop_map(str::to_owned),
        1 => any_text(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn added_tokens_are_found_as_their_flags_say(
        flags in prop::collection::vec(0..32u8, TOKENS.len()),
        texts in prop::collection::vec(text_with_tokens(), 12),
    ) {
        for tokenizer in [composing(), llama2(), train(WordSplit::SmolLm2)] {
            let flags: Vec<u8> = TOKENS.iter().zip(&flags).map(|(t, f)| possible(t, *f)).collect();
            let tokenizer = with_added_tokens(&tokenizer, &flags);
            let encoder = FastEncoder::from_tokenizer(&tokenizer);
            prop_assert_eq!(encoder.path(), EncodingPath::Fast);
            for text in &texts {
                check("added tokens", &tokenizer, &encoder, text);
            }
        }
    }
}

#[test]
fn what_the_crate_panics_on_is_encoded() {
    let mut flags = [0; TOKENS.len()];
    (flags[6], flags[7]) = (4, 2); // `<x>` takes what is behind it, a line end what is before it.
    let tokenizer = with_added_tokens(&train(WordSplit::SmolLm2), &flags);
    let id = tokenizer.token_to_id("<x>").unwrap();
    let mut ids = Vec::new();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    encoder.encode_into("<x>\n\n  the", &mut ids).unwrap();
    assert_eq!(ids[0], id);
}

fn composing() -> Tokenizer {
    edited(&train(WordSplit::Qwen2), |json| {
        json["normalizer"] = json!({"type": "NFC"});
    })
}

#[track_caller]
fn check_marks(post_processor: Value) {
    let tokenizer = edited(&train(WordSplit::Gpt2), |json| {
        json["post_processor"] = post_processor;
    });
    let reference = HfTokenizer::from_bytes(tokenizer.to_json()).unwrap();
    let encoder = FastEncoder::from_tokenizer(&tokenizer).with_special_tokens(true);
    for text in ["the heart", "", "血液<|endoftext|>"] {
        let mut ids = Vec::new();
        encoder.encode_into(text, &mut ids).unwrap();
        assert_eq!(
            ids,
            reference.encode(text, true).unwrap().get_ids(),
            "{text:?}"
        );
        ids.clear();
        let plain = encoder.clone().with_special_tokens(false);
        plain.encode_into(text, &mut ids).unwrap();
        assert_eq!(ids, tokenizer.encode(text).unwrap(), "{text:?}");
    }
}

#[test]
fn special_tokens_are_those_of_the_post_processor() {
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let template = |single: Value| {
        json!({"type": "TemplateProcessing", "single": single,
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "<s>": {"id": "<s>", "ids": [0], "tokens": ["<|endoftext|>"]},
                "</s>": {"id": "</s>", "ids": [1, 1], "tokens": ["<|im_start|>", "<|im_start|>"]}}})
    };
    let around = template(json!([special("<s>"), text, special("</s>")]));
    check_marks(Value::Null);
    check_marks(template(json!([text, special("</s>")])));
    check_marks(template(json!([
        special("<s>"),
        text,
        special("</s>"),
        text,
        text
    ])));
    check_marks(
        json!({"type": "RobertaProcessing", "sep": ["<|im_start|>", 1],
        "cls": ["<|endoftext|>", 0], "trim_offsets": true, "add_prefix_space": false}),
    );
    check_marks(json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        around]}));
}

#[test]
fn documents_stand_behind_their_prefix() {
    let tokenizer = train(WordSplit::Llama3).with_document_prefix(vec![1, 0]);
    let texts = ["the heart", "", "血液"];
    let expected: Vec<_> = texts
        .map(|text| tokenizer.encode_document(text).unwrap())
        .into();
    assert_eq!(tokenizer.encode_documents(&texts).unwrap(), expected);
}
