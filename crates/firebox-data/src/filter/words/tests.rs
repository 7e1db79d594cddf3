use super::super::statistics::Statistics;
use super::{Segmenter, WordCounting, split_words};

fn words(text: &str, counting: WordCounting) -> Vec<&str> {
    let segmenter = Segmenter::new(counting).unwrap();
    let words = split_words(text, &segmenter);
    words
        .iter()
        .map(|word| &text[word.start..word.start + word.n_bytes])
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = words(text, WordCounting::Characters);
    assert_eq!(found, expected.split(' ').collect::<Vec<_>>());
}

#[test]
fn punctuation_is_cut_off_words() {
    check("Hello, world!", "Hello , world !");
    check("(see [12].)", "( see [ 12 ] . )");
    check("\"It's hot,\" he said...", "\" It 's hot , \" he said ...");
    check("Wait... what?!", "Wait ... what ? !");
    check("e.g. 2.5 U.S. DNA.", "e.g. 2.5 U.S. DNA .");
}

#[test]
fn contractions_hyphens_and_units_are_cut() {
    check("don't we'd they've", "do n't we 'd they 've");
    check(
        "well-known 21-79 and/or his/her",
        "well - known 21 - 79 and/or his / her",
    );
    check("5-year a--b cannot", "5 - year a -- b can not");
    check("5mg 35% $12 10km/h", "5 mg 35 % $ 12 10 km/h");
    check("https://example.org/a-b?c=d", "https://example.org/a-b?c=d");
}

#[test]
fn chinese_is_cut_by_characters_and_latin_words_in_it_stay_whole() {
    check("使用Python编写程序。", "使 用 Python 编 写 程 序 。");
    check("おはよう", "お は よ う");
    check("한국어 문장", "한국어 문장");
    assert_eq!(words("你好，世界", WordCounting::Spaces).len(), 1);
}

#[cfg(feature = "jieba")]
#[test]
fn jieba_cuts_chinese_into_words_and_leaves_the_rest() {
    let found = words("我们每天测量两次血压 twice, 世界", WordCounting::Jieba);
    assert_eq!(found.concat(), "我们每天测量两次血压twice,世界");
    assert!(found.contains(&"血压") && found.contains(&"每天") && found.contains(&"世界"));
    assert_eq!(found.iter().filter(|word| word.is_ascii()).count(), 2);
}

#[cfg(not(feature = "jieba"))]
#[test]
fn jieba_is_refused_by_a_build_without_it() {
    let error = Segmenter::new(WordCounting::Jieba).unwrap_err();
    assert!(error.to_string().contains("feature `jieba`"));
}

#[track_caller]
fn check_n_words(text: &str, counting: WordCounting, expected: usize) {
    let segmenter = Segmenter::new(counting).unwrap();
    assert_eq!(
        Statistics::new(text, segmenter).n_words(),
        expected,
        "{text}"
    );
}

#[test]
fn a_word_processors_words_lie_between_spaces_or_are_chinese_characters() {
    check_n_words("a well-known word, again", WordCounting::Characters, 4);
    check_n_words("结果：Table 2。好", WordCounting::Characters, 5);
    check_n_words("结果：Table 2。好", WordCounting::Spaces, 2);
    check_n_words("", WordCounting::Characters, 0);
}
