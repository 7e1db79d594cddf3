//! Counts that can be made by hand.

use crate::{
    Tokenizer, TokenizerModel, TokenizerStatistics, TokenizerTraining, WordSplit,
    tokenizer_statistics, train_byte_level_bpe,
};

fn bytes() -> Tokenizer {
    train_byte_level_bpe(["x"], 257, &["<|end|>"]).unwrap()
}

#[test]
fn bytes_alone_split_every_word_and_know_everything() {
    let texts = ["ab cd!", "血液 e"];
    let statistics = tokenizer_statistics(&bytes(), &texts).unwrap();
    let expected = TokenizerStatistics {
        n_texts: 2,
        n_chars: 10,
        n_bytes: 14,
        n_tokens: 14,
        vocab_size: 257,
        // a b c d e, the space, the mark, and the bytes of E8 A1 80 and E6 B6 B2.
        n_used_tokens: 13,
        n_unknown_tokens: 0,
        n_words: 3,
        n_split_words: 2,
        n_chinese_words: if cfg!(feature = "jieba") { 1 } else { 0 },
        n_split_chinese_words: if cfg!(feature = "jieba") { 1 } else { 0 },
        n_exact_texts: 2,
        encoding_s: None,
    };
    assert_eq!(statistics, expected);
    assert_eq!(statistics.bytes_per_token(), 1.0);
    assert_eq!(statistics.vocabulary_used(), 13.0 / 257.0);
    assert_eq!(statistics.words_split(), 2.0 / 3.0);
    assert_eq!(statistics.exact_round_trips(), 1.0);
    assert_eq!(statistics.megabytes_per_s(), None);
    let timed = TokenizerStatistics {
        encoding_s: Some(2e-6),
        ..statistics
    };
    assert_eq!(timed.megabytes_per_s(), Some(7.0));
}

#[test]
fn words_that_are_tokens_are_whole() {
    let text = "the heart, the blood: the heart. (blood)";
    let words = WordSplit::Gpt2;
    let training = TokenizerTraining::new(TokenizerModel::ByteLevelBpe { words }, 400);
    let tokenizer = training.train([text]).unwrap();
    let statistics = tokenizer_statistics(&tokenizer, &[text]).unwrap();
    assert_eq!((statistics.n_words, statistics.n_split_words), (7, 0));
    let statistics = tokenizer_statistics(&tokenizer, &["the hearth"]).unwrap();
    assert_eq!((statistics.n_words, statistics.n_split_words), (2, 1));
}

#[test]
fn unknown_characters_are_counted_and_do_not_come_back() {
    let training = TokenizerTraining::new(TokenizerModel::Bpe, 100);
    let tokenizer = training.train(["the cat"]).unwrap();
    let statistics = tokenizer_statistics(&tokenizer, &["the cat", "the дом"]).unwrap();
    assert_eq!(statistics.n_unknown_tokens, 3);
    assert_eq!((statistics.n_texts, statistics.n_exact_texts), (2, 1));
    assert_eq!(statistics.unknown_rate(), 3.0 / statistics.n_tokens as f64);
}

#[cfg(feature = "jieba")]
#[test]
fn chinese_words_are_split_by_characters_and_joined_by_phrases() {
    let text = "研究血液";
    let model = TokenizerModel::Bpe;
    use crate::ChineseSplit;
    let share = |chinese| {
        let training = TokenizerTraining {
            chinese,
            ..TokenizerTraining::new(model, 50)
        };
        let tokenizer = training.train([text]).unwrap();
        let statistics = tokenizer_statistics(&tokenizer, &[text]).unwrap();
        assert_eq!(statistics.n_chinese_words, 2);
        statistics.n_split_chinese_words
    };
    assert_eq!(share(ChineseSplit::Characters), 2);
    assert_eq!(share(ChineseSplit::Unsplit), 2, "both words are one token");
    assert_eq!(share(ChineseSplit::Jieba), 0);
}

#[test]
fn no_text_has_no_rates() {
    let none: [&str; 0] = [];
    let statistics = tokenizer_statistics(&bytes(), &none).unwrap();
    assert_eq!(statistics.chars_per_token(), 0.0);
    assert_eq!(statistics.words_split(), 0.0);
    assert_eq!(statistics.n_used_tokens, 0);
}

#[test]
fn counts_do_not_depend_on_threads_and_survive_json() {
    let tokenizer = bytes();
    let texts: Vec<String> = (0..500)
        .map(|n| format!("text {n} 血液 {}", n * n))
        .collect();
    let count = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| tokenizer_statistics(&tokenizer, &texts).unwrap())
    };
    let statistics = count(1);
    assert_eq!(count(3), statistics);
    let json = serde_json::to_string(&statistics).unwrap();
    assert_eq!(
        serde_json::from_str::<TokenizerStatistics>(&json).unwrap(),
        statistics
    );
}
