//! Streamed pieces concatenate to the whole text.

use proptest::prelude::*;
use serde_json::json;

use crate::{Tokenizer, train_byte_level_bpe};

/// Streams ids; returns the pieces, the last one from `finish`.
fn stream(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Vec<String> {
    let mut stream = tokenizer.decode_stream(skip_special);
    let mut pieces: Vec<String> = ids.iter().filter_map(|&id| stream.push(id)).collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    pieces.push(stream.finish());
    pieces
}

fn byte_level() -> Tokenizer {
    train_byte_level_bpe(["hello world 你好"], 290, &["<|end|>"]).unwrap()
}

/// A tokenizer in the style of SentencePiece: `▁` for a blank, single bytes as a last resort.
fn byte_fallback() -> Tokenizer {
    let mut vocab = serde_json::Map::new();
    for token in ["<unk>", "</s>", "▁", "▁▁", "a", "▁b", "你", "\u{fffd}"] {
        vocab.insert(token.to_string(), vocab.len().into());
    }
    for byte in 0..=255 {
        vocab.insert(format!("<0x{byte:02X}>"), vocab.len().into());
    }
    let json = json!({
        "version": "1.0",
        "added_tokens": [{"id": 1, "content": "</s>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                  "vocab": vocab, "merges": []}
    });
    Tokenizer::from_json(json.to_string().as_bytes()).unwrap()
}

#[test]
fn a_character_comes_whole() {
    let tokenizer = train_byte_level_bpe(["x"], 257, &[]).unwrap();
    let ids = tokenizer.encode("a猫🧊").unwrap();
    assert_eq!(ids.len(), 8);
    assert_eq!(stream(&tokenizer, &ids, false), ["a", "猫", "🧊", ""]);
    assert_eq!(
        stream(&tokenizer, &ids[..6], false),
        ["a", "猫", "\u{fffd}"]
    );
}

#[test]
fn special_tokens_can_be_left_out() {
    let tokenizer = byte_level();
    let ids = tokenizer.encode("hello<|end|> world").unwrap();
    assert_eq!(stream(&tokenizer, &ids, true).concat(), "hello world");
    assert_eq!(
        stream(&tokenizer, &ids, false).concat(),
        "hello<|end|> world"
    );
}

#[test]
fn blanks_of_sentence_piece_survive() {
    let tokenizer = byte_fallback();
    for text in ["a b  a", "  a b", "", " ", "你a 😀 好", "b"] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(stream(&tokenizer, &ids, false).concat(), text);
    }
}

#[test]
fn a_stream_of_broken_bytes_stays_short() {
    let tokenizer = byte_level();
    // The first byte of a three-byte character, again and again.
    let id = tokenizer.encode("你").unwrap();
    let lead = tokenizer.token_to_id("ä").unwrap();
    let mut ids = vec![lead; 500];
    ids.extend(&id);
    let pieces = stream(&tokenizer, &ids, false);
    assert_eq!(pieces.concat(), tokenizer.decode(&ids, false));
    assert_eq!(pieces.concat(), "\u{fffd}".repeat(500) + "你");
}

proptest! {
    #[test]
    fn byte_level_pieces_make_the_text(
        ids in prop::collection::vec(0_u32..300, 0..120),
        skip_special: bool,
    ) {
        let tokenizer = byte_level();
        let pieces = stream(&tokenizer, &ids, skip_special);
        prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids, skip_special));
    }

    #[test]
    fn byte_level_pieces_of_real_text_have_no_broken_characters(text in "\\PC{0,40}") {
        let tokenizer = byte_level();
        let pieces = stream(&tokenizer, &tokenizer.encode(&text).unwrap(), false);
        prop_assert_eq!(pieces.concat(), text.clone());
        for piece in pieces {
            prop_assert!(text.contains(&piece));
        }
    }

    #[test]
    fn byte_fallback_pieces_make_the_text(
        ids in prop::collection::vec(prop_oneof![0_u32..10, 0_u32..270, 200_u32..264], 0..60),
        skip_special: bool,
    ) {
        let tokenizer = byte_fallback();
        let pieces = stream(&tokenizer, &ids, skip_special);
        prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids, skip_special));
    }
}
