//! The fast encoder gives the ids of the `tokenizers` crate on the real vocabulary.

use firebox_data::{EncodingPath, FastEncoder, Tokenizer};

use crate::fixtures::smollm2;

/// Prose, code, Chinese, emoji, numbers, and text that looks like the special tokens.
const TEXTS: [&str; 8] = [
    "The left ventricle pumps oxygenated blood; it doesn't rest, and it's never late.",
    "心脏把血液输送到全身。春江潮水连海平，海上明月共潮生。",
    "fn main() {\n\tlet x = vec![1, 20, 300];\r\n    println!(\"{:?}\", x);\n}\n\n\n",
    "👍🏽 👩‍👩‍👧‍👦 🎉🎉 e\u{301} ½ ² Ⅷ ٣٤",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n <|endoftext|>",
    "<|im_start <|endoftext| >",
    "   \u{a0}\u{3000} \t \r\n \u{85} x",
    "дом, καρδιά, قلب, हृदय, 심장, こころ",
];

#[test]
fn ids_of_the_real_vocabulary_are_those_of_the_crate() {
    let tokenizer = Tokenizer::from_file(smollm2().join("tokenizer.json")).unwrap();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    assert_eq!(encoder.path(), EncodingPath::Fast);
    // Neighbours differ from copy to copy, so that words meet at each other's ends.
    let mut texts: Vec<String> = TEXTS.map(str::to_owned).to_vec();
    for step in 1..TEXTS.len() {
        texts.extend(
            (0..TEXTS.len())
                .map(|first| TEXTS[first].to_owned() + TEXTS[(first + step) % TEXTS.len()]),
        );
    }
    texts.push(texts.concat().repeat(20));
    let encoding = encoder.encode_flat(&texts).unwrap();
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(
            encoding.text(index),
            tokenizer.encode(text).unwrap(),
            "{text:?}"
        );
    }
}

/// `FIREBOX_CORPUS` names text files, separated by `:`; each line is a document.
#[test]
fn ids_of_whole_corpora_are_those_of_the_crate() {
    let Some(files) = std::env::var_os("FIREBOX_CORPUS") else {
        eprintln!("skipped: FIREBOX_CORPUS names no text files");
        return;
    };
    let tokenizer = Tokenizer::from_file(smollm2().join("tokenizer.json")).unwrap();
    let encoder = FastEncoder::from_tokenizer(&tokenizer);
    for path in std::env::split_paths(&files) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        let encoding = encoder.encode_flat(&lines).unwrap();
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(
                encoding.text(index),
                tokenizer.encode(line).unwrap(),
                "{line:?}"
            );
        }
    }
}
