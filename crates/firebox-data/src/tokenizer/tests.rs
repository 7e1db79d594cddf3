//! Text goes to ids and back unchanged.

use proptest::prelude::*;
use serde_json::json;

use crate::{DataError, Tokenizer, train_byte_level_bpe};

fn tokenizer() -> Tokenizer {
    let texts = [
        "the cat sat on the mat",
        "猫坐在垫子上",
        "été, naïve — 12345",
    ];
    train_byte_level_bpe(texts, 300, &["<|endoftext|>", "<|im_end|>"]).unwrap()
}

#[test]
fn special_tokens_in_the_text_are_recognised() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("the<|im_end|>cat").unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 1);
    assert_eq!(tokenizer.decode(&ids, false), "the<|im_end|>cat");
    assert_eq!(tokenizer.decode(&ids, true), "thecat");
    assert!(tokenizer.is_special(1) && !tokenizer.is_special(2));
    assert_eq!(tokenizer.id_to_token(1).as_deref(), Some("<|im_end|>"));
    assert_eq!(tokenizer.token_to_id("<|im_end|>"), Some(1));
}

#[test]
fn the_json_that_was_read_is_kept() {
    let tokenizer = tokenizer();
    let again = Tokenizer::from_json(tokenizer.to_json()).unwrap();
    assert_eq!(again.to_json(), tokenizer.to_json());
    assert_eq!(again.vocab_size(), tokenizer.vocab_size());
    let text = "a mat 猫 <|endoftext|> ٣";
    assert_eq!(again.encode(text).unwrap(), tokenizer.encode(text).unwrap());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, tokenizer.to_json()).unwrap();
    let from_file = Tokenizer::from_file(&path).unwrap();
    assert_eq!(
        from_file.encode(text).unwrap(),
        tokenizer.encode(text).unwrap()
    );
}

#[test]
fn truncation_padding_and_added_tokens_of_the_file_are_ignored() {
    let tokenizer = tokenizer();
    let mut json: serde_json::Value = serde_json::from_slice(tokenizer.to_json()).unwrap();
    json["truncation"] = json!({"direction": "Right", "max_length": 4,
                                "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    json["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true,
        "trim_offsets": true, "use_regex": true});
    let other = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    let text = "the cat sat  on the mat";
    assert_eq!(other.encode(text).unwrap(), tokenizer.encode(text).unwrap());
    let ranges = other.encode_with_ranges(text).unwrap().ranges;
    assert_eq!(ranges.first().map(|range| range.start), Some(0));
    assert!(
        ranges.windows(2).all(|pair| pair[0].end == pair[1].start),
        "{ranges:?}"
    );
}

#[test]
fn what_is_no_tokenizer_is_refused() {
    let error = Tokenizer::from_json(b"version https://git-lfs.github.com/spec/v1").unwrap_err();
    insta::assert_snapshot!(error, @"load the tokenizer `memory`: expected a Hugging Face tokenizer.json (hint: is the file whole, and not a Git LFS pointer?)");
    let error = Tokenizer::from_file("no/such/tokenizer.json").unwrap_err();
    assert!(matches!(error, DataError::Open { .. }));
}

#[test]
fn ids_outside_the_vocabulary_decode_to_nothing() {
    assert_eq!(tokenizer().decode(&[u32::MAX, 9_999], false), "");
}

#[test]
fn the_vocabulary_reaches_to_its_largest_id() {
    let tokenizer = tokenizer();
    let mut json: serde_json::Value = serde_json::from_slice(tokenizer.to_json()).unwrap();
    json["added_tokens"][1]["id"] = json!(500);
    json["model"]["vocab"]["<|im_end|>"] = json!(500);
    let sparse = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(sparse.vocab_size(), 501);
}

proptest! {
    #[test]
    fn any_text_survives_the_round_trip(text in "\\PC*|[\\x00-\\x7f]*|.*") {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, false), text);
        prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
    }

    #[test]
    fn any_bytes_are_a_tokenizer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(Tokenizer::from_json(&bytes).is_err());
    }
}

#[test]
fn a_document_begins_with_what_the_post_processor_puts_there() {
    let plain = crate::train_byte_level_bpe(["hello"], 260, &["<s>", "</s>"]).unwrap();
    assert_eq!(
        plain.encode_document("hello").unwrap(),
        plain.encode("hello").unwrap()
    );
    let mut json: serde_json::Value = serde_json::from_slice(plain.to_json()).unwrap();
    let piece = |id: &str| serde_json::json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let text = serde_json::json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let special = |id: &str, n: u32| serde_json::json!({ "id": id, "ids": [n], "tokens": [id] });
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [piece("<s>"), text, piece("</s>")],
        "pair": [piece("<s>"), text, piece("</s>")],
        "special_tokens": { "<s>": special("<s>", 0), "</s>": special("</s>", 1) },
    });
    let with_bos = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
    let ids = with_bos.encode("hello").unwrap();
    assert_eq!(
        ids,
        plain.encode("hello").unwrap(),
        "plain encoding adds nothing"
    );
    // The end mark would end a prompt before it is continued; only what stands before is added.
    assert_eq!(
        with_bos.encode_document("hello").unwrap(),
        [&[0], &ids[..]].concat()
    );
    assert!(
        with_bos
            .with_document_prefix(vec![])
            .encode_document("hello")
            .unwrap()
            == ids
    );
}
