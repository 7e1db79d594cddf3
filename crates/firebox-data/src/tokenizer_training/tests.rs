//! Trained tokenizers are complete, always the same, and split as they were told.

use serde_json::Value;

use super::{N_BYTES, TokenizerTrainingError};
use crate::{ChineseSplit, Tokenizer, TokenizerModel, TokenizerTraining, WordSplit};

const TEXTS: [&str; 8] = [
    "The heart pumps blood through the body. The blood carries oxygen.",
    "The lungs take oxygen from the air, and the heart carries it on.",
    "心脏把血液输送到全身。血液带着氧气。",
    "肺从空气中吸收氧气，心脏把氧气输送到全身。",
    "In 2024 there were 366 days; in 2023 there were 365.",
    "fn main() {\n    println!(\"hello\");\n}\n",
    "research shows that hearts and lungs work together",
    "研究表明心脏和肺一起工作，研究生命起源的科学家这样说。",
];

const MODELS: [TokenizerModel; 7] = [
    TokenizerModel::ByteLevelBpe {
        words: WordSplit::Gpt2,
    },
    TokenizerModel::ByteLevelBpe {
        words: WordSplit::SmolLm2,
    },
    TokenizerModel::ByteLevelBpe {
        words: WordSplit::Llama3,
    },
    TokenizerModel::ByteLevelBpe {
        words: WordSplit::Qwen2,
    },
    TokenizerModel::Bpe,
    TokenizerModel::WordPiece,
    TokenizerModel::Unigram,
];

fn training(model: TokenizerModel, chinese: ChineseSplit) -> TokenizerTraining {
    TokenizerTraining {
        chinese,
        special_tokens: vec!["<|end|>".into(), "<|pad|>".into()],
        ..TokenizerTraining::new(model, 420)
    }
}

fn splits() -> Vec<ChineseSplit> {
    let mut splits = vec![ChineseSplit::Unsplit, ChineseSplit::Characters];
    if cfg!(feature = "jieba") {
        splits.push(ChineseSplit::Jieba);
    }
    splits
}

fn each_training() -> impl Iterator<Item = TokenizerTraining> {
    let all = MODELS.into_iter().flat_map(|model| {
        let with = move |chinese| training(model, chinese);
        splits().into_iter().map(with)
    });
    all.filter(|training| training.validate().is_ok())
}

/// The texts of all tokens.
fn tokens(tokenizer: &Tokenizer) -> Vec<String> {
    (0..tokenizer.vocab_size() as u32)
        .filter_map(|id| tokenizer.id_to_token(id))
        .collect()
}

/// A token's own characters: those of its bytes, without what marks it as the start or rest of a word.
fn text_of(tokenizer: &Tokenizer, id: u32) -> String {
    let text = tokenizer.decode(&[id], false);
    text.trim_start_matches("##").to_owned()
}

#[test]
fn the_same_texts_give_the_same_bytes_in_any_order_and_on_any_number_of_threads() {
    for training in each_training() {
        let first = training.train(TEXTS).unwrap();
        for n_threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            let again = pool.install(|| training.train(TEXTS.into_iter().rev()).unwrap());
            assert!(again.to_json() == first.to_json(), "{training:?}");
        }
    }
}

#[test]
fn ids_start_with_the_special_tokens() {
    for training in each_training() {
        let tokenizer = training.train(TEXTS).unwrap();
        assert_eq!(tokenizer.token_to_id("<|end|>"), Some(0), "{training:?}");
        assert_eq!(tokenizer.token_to_id("<|pad|>"), Some(1));
        assert!(tokenizer.is_special(0) && tokenizer.is_special(1) && !tokenizer.is_special(3));
        assert_eq!(
            tokenizer.unknown_token_id(),
            training.model.unknown_token().map(|_| 2)
        );
        assert!(
            tokenizer.vocab_size() <= 420,
            "{training:?}: {}",
            tokenizer.vocab_size()
        );
        let ids = tokenizer.encode("a<|pad|>b").unwrap();
        assert!(ids.contains(&1), "{training:?}");
    }
}

#[test]
fn texts_come_back_but_for_the_spaces_of_wordpiece() {
    for training in each_training() {
        let tokenizer = training.train(TEXTS).unwrap();
        for text in TEXTS {
            let back = tokenizer.decode(&tokenizer.encode(text).unwrap(), false);
            if training.model == TokenizerModel::WordPiece {
                let letters = |text: &str| text.split_whitespace().collect::<String>();
                assert_eq!(letters(&back), letters(text), "{training:?}");
            } else {
                assert_eq!(back, text, "{training:?}");
            }
        }
    }
}

#[test]
fn what_was_never_seen_is_unknown_but_to_bytes() {
    for training in each_training() {
        let tokenizer = training.train(TEXTS).unwrap();
        let ids = tokenizer.encode("дом").unwrap();
        match tokenizer.unknown_token_id() {
            Some(unknown) => assert!(ids.contains(&unknown), "{training:?}: {ids:?}"),
            None => assert_eq!(tokenizer.decode(&ids, false), "дом"),
        }
    }
}

#[test]
fn characters_stand_alone_if_they_are_told_to() {
    let is_han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let n_han = |text: &str| text.chars().filter(|&c| is_han(c)).count();
    for model in MODELS {
        let longest = |chinese| {
            let tokenizer = training(model, chinese).train(TEXTS).unwrap();
            let ids = 0..tokenizer.vocab_size() as u32;
            ids.map(|id| n_han(&text_of(&tokenizer, id))).max().unwrap()
        };
        assert_eq!(longest(ChineseSplit::Characters), 1, "{model:?}");
        assert!(longest(ChineseSplit::Unsplit) > 1, "{model:?}");
    }
}

#[cfg(feature = "jieba")]
#[test]
fn no_token_is_learned_across_dictionary_words() {
    let jieba = jieba_rs::Jieba::new();
    let words: Vec<String> = TEXTS
        .iter()
        .flat_map(|text| jieba.cut(text, true))
        .map(|token| token.word.to_owned())
        .collect();
    let within_a_word = |token: &str| words.iter().any(|word| word.contains(token));
    for model in MODELS {
        let training = training(model, ChineseSplit::Jieba);
        if model == TokenizerModel::WordPiece {
            insta::assert_snapshot!(training.train(TEXTS).unwrap_err(), @r#"train a WordPiece tokenizer: expected `chinese` to be `characters` or `unsplit`, found `jieba` (hint: a `##` piece is learned for its place in a word, and in use no dictionary cuts the words)"#);
            continue;
        }
        assert!(!training.splits_alike_in_use());
        let tokenizer = training.train(TEXTS).unwrap();
        let mut n_long = 0;
        for id in 3..tokenizer.vocab_size() as u32 {
            let text = text_of(&tokenizer, id);
            let is_chinese = text.chars().all(super::is_han) && text.chars().count() > 1;
            if is_chinese {
                assert!(within_a_word(&text), "{model:?}: {text}");
                n_long += 1;
            }
        }
        assert!(n_long > 0, "{model:?}: {n_long}");
    }
}

#[test]
fn rare_pairs_and_characters_are_left_out_if_asked() {
    for model in [
        TokenizerModel::Bpe,
        TokenizerModel::WordPiece,
        TokenizerModel::Unigram,
    ] {
        let all = training(model, ChineseSplit::Unsplit);
        let frequent = TokenizerTraining {
            min_frequency: 2,
            ..all.clone()
        };
        let n_tokens = |training: &TokenizerTraining| training.train(TEXTS).unwrap().vocab_size();
        assert!(n_tokens(&frequent) < n_tokens(&all), "{model:?}");

        let few = TokenizerTraining {
            max_alphabet: Some(20),
            ..all.clone()
        };
        let tokenizer = few.train(TEXTS).unwrap();
        let mut alphabet: Vec<char> = tokens(&tokenizer)[3..]
            .iter()
            .flat_map(|token| token.trim_start_matches("##").chars())
            .collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        assert!(alphabet.len() <= 20, "{model:?}: {alphabet:?}");
    }
}

#[test]
fn digits_are_kept_together_as_the_word_split_says() {
    let numbers = ["2024 2024 2024 12345678 12345678 12345678"];
    for (words, n_tokens) in [
        (WordSplit::Gpt2, 1),
        (WordSplit::SmolLm2, 4),
        (WordSplit::Llama3, 2),
        (WordSplit::Qwen2, 4),
    ] {
        let training = TokenizerTraining::new(TokenizerModel::ByteLevelBpe { words }, 400);
        let tokenizer = training.train(numbers).unwrap();
        assert_eq!(
            tokenizer.encode("2024").unwrap().len(),
            n_tokens,
            "{words:?}"
        );
    }
}

#[test]
fn nfc_is_applied_in_training_and_in_use() {
    let training = TokenizerTraining {
        nfc: true,
        ..TokenizerTraining::new(TokenizerModel::Bpe, 100)
    };
    let tokenizer = training.train(["cafe\u{301} cafe\u{301}"]).unwrap();
    assert!(tokenizer.token_to_id("é").is_some() && tokenizer.token_to_id("\u{301}").is_none());
    let ids = tokenizer.encode("cafe\u{301}").unwrap();
    assert_eq!(ids, tokenizer.encode("café").unwrap());
    assert_eq!(tokenizer.decode(&ids, false), "café");
}

#[test]
fn no_texts_give_the_least_vocabulary() {
    for model in MODELS {
        let training = TokenizerTraining {
            special_tokens: vec!["<|end|>".into()],
            ..TokenizerTraining::new(model, 1000)
        };
        let tokenizer = training.train(Vec::<String>::new()).unwrap();
        let expected = match model.unknown_token() {
            Some(_) => 2,
            None => 1 + N_BYTES,
        };
        assert_eq!(tokenizer.vocab_size(), expected, "{model:?}");
    }
}

#[test]
fn very_long_and_empty_texts_are_learned_from() {
    let long = "血液循环".repeat(600);
    for model in MODELS {
        let training = TokenizerTraining::new(model, 400);
        let tokenizer = training.train([long.as_str(), "", "\0", " "]).unwrap();
        assert!(!tokenizer.encode("血液").unwrap().is_empty(), "{model:?}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_hint() {
    let error = |training: TokenizerTraining| training.train(TEXTS).unwrap_err().to_string();
    let new = TokenizerTraining::new;
    insta::assert_snapshot!(error(new(MODELS[0], 255)), @"train a byte-level BPE tokenizer: expected a vocabulary of at least 256 (the bytes or a character, and the special tokens), found 255 (hint: raise `vocab_size`)");
    insta::assert_snapshot!(error(new(TokenizerModel::Bpe, 1)), @"train a BPE tokenizer: expected a vocabulary of at least 2 (the bytes or a character, and the special tokens), found 1 (hint: raise `vocab_size`)");
    for model in [
        TokenizerModel::Bpe,
        TokenizerModel::WordPiece,
        TokenizerModel::Unigram,
    ] {
        let too_small = error(new(model, 20));
        assert!(
            too_small.contains("which `max_alphabet` limits"),
            "{too_small}"
        );
    }
    let special = |tokens: &[&str]| TokenizerTraining {
        special_tokens: tokens.iter().map(|&token| token.into()).collect(),
        ..new(TokenizerModel::Unigram, 500)
    };
    insta::assert_snapshot!(error(special(&["<s>", "<s>"])), @"train a tokenizer: expected special tokens of different texts, found a second one `<s>` (hint: remove it from `special_tokens`)");
    insta::assert_snapshot!(error(special(&[""])), @"train a tokenizer: expected special tokens of different texts, found no text `` (hint: remove it from `special_tokens`)");
    if !cfg!(feature = "jieba") {
        let jieba = training(TokenizerModel::Bpe, ChineseSplit::Jieba).validate();
        assert!(matches!(jieba, Err(TokenizerTrainingError::JiebaNotBuilt)));
    }
}

#[test]
fn settings_are_read_from_toml() {
    let text = r#"
        vocab_size = 8192
        chinese = "bytes"
        special_tokens = ["<|endoftext|>"]
        model = { type = "byte_level_bpe", words = "qwen2" }
    "#;
    let training: TokenizerTraining = toml::from_str(text).unwrap();
    let words = WordSplit::Qwen2;
    let expected = TokenizerTraining {
        special_tokens: vec!["<|endoftext|>".into()],
        ..TokenizerTraining::new(TokenizerModel::ByteLevelBpe { words }, 8192)
    };
    assert_eq!(training, expected);
    for training in each_training() {
        let json = serde_json::to_string(&training).unwrap();
        assert_eq!(
            serde_json::from_str::<TokenizerTraining>(&json).unwrap(),
            training
        );
    }
    let unknown: Result<TokenizerTraining, _> =
        serde_json::from_value::<TokenizerTraining>(Value::from(3));
    assert!(unknown.is_err());
    assert!(toml::from_str::<TokenizerTraining>("vocab = 3").is_err());
}
