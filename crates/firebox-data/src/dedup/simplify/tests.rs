use proptest::prelude::*;
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::*;

fn simplified(text: &str, config: &Simplification) -> (String, Vec<String>) {
    let simple = Simplifier::new(config).simplify(text);
    let tokens = simple
        .tokens()
        .map(|token| String::from_utf8(token.to_vec()).unwrap())
        .collect();
    (String::from_utf8(simple.bytes.clone()).unwrap(), tokens)
}

/// The definition, one step after the other, on strings.
fn reference(text: &str, config: &Simplification) -> (String, Vec<String>) {
    let mut text = text.to_owned();
    if config.unicode == UnicodeForm::Nfkc {
        text = text.nfkc().collect();
    }
    if config.lowercase {
        text = text.chars().flat_map(char::to_lowercase).collect();
    }
    if config.unicode == UnicodeForm::Unaccented {
        let mut decomposed = String::new();
        for c in text.chars() {
            decompose_canonical(c, |part| decomposed.push(part));
        }
        text = Regex::new(r"\p{Mn}")
            .unwrap()
            .replace_all(&decomposed, "")
            .into_owned();
    }
    let space = Regex::new(r"[\s\x1c-\x1f]+").unwrap();
    text = space.replace_all(&text, " ").into_owned();
    let punctuation = r"\p{P}\p{Cc}\p{Cf}$+<=>^`|~´━►∶～＋＜＝＞＾｀｜＄";
    if config.remove_punctuation {
        let class = Regex::new(&format!("[{punctuation}]")).unwrap();
        text = class.replace_all(&text, "").into_owned();
    }
    if config.merge_numbers {
        text = Regex::new(r"\p{Nd}+")
            .unwrap()
            .replace_all(&text, "0")
            .into_owned();
    }
    text = space.replace_all(&text, " ").trim_matches(' ').to_owned();
    let scripts = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}";
    let unspaced = format!(r"[[{scripts}]--[\p{{Nd}}\p{{Mn}}{punctuation}]]");
    let token = Regex::new(&format!("{unspaced}|[[^ ]--{unspaced}]+")).unwrap();
    let tokens = token
        .find_iter(&text)
        .map(|found| found.as_str().to_owned())
        .collect();
    (text, tokens)
}

#[track_caller]
fn check(text: &str, expected: &str, expected_tokens: &[&str]) {
    let (simple, tokens) = simplified(text, &Simplification::default());
    assert_eq!(simple, expected);
    assert_eq!(tokens, expected_tokens);
}

#[test]
fn english_loses_case_punctuation_and_its_numbers() {
    check(
        "  The well-known dose:\n1,250.5 mg/kg (n = 12).\t",
        "the wellknown dose 0 mgkg n 0",
        &["the", "wellknown", "dose", "0", "mgkg", "n", "0"],
    );
}

#[test]
fn accents_are_removed() {
    check(
        "Müller's Café, e\u{301}tude",
        "mullers cafe etude",
        &["mullers", "cafe", "etude"],
    );
}

#[test]
fn each_chinese_and_japanese_character_is_a_token() {
    check(
        "火是热的，DNA 25岁。",
        "火是热的dna 0岁",
        &["火", "是", "热", "的", "dna", "0", "岁"],
    );
    check("これが火", "これか火", &["こ", "れ", "か", "火"]);
}

#[test]
fn korean_is_cut_at_spaces() {
    let (_, tokens) = simplified("불은 뜨겁다", &Simplification::default());
    assert_eq!(tokens.len(), 2);
}

#[test]
fn texts_without_words_become_empty() {
    for text in ["", " \n\t ", "...", "\u{0}\u{301}", "，。"] {
        check(text, "", &[]);
    }
}

#[test]
fn exact_text_keeps_punctuation_and_numbers_but_not_the_form() {
    let config = crate::DedupConfig::default().exact_text;
    let (simple, _) = simplified("Ｆｕｌｌ  width, 5 mg ﬁre", &config);
    assert_eq!(simple, "full width, 5 mg fire");
}

#[test]
fn nothing_but_white_space_changes_as_written() {
    let config = Simplification {
        unicode: UnicodeForm::AsWritten,
        lowercase: false,
        remove_punctuation: false,
        merge_numbers: false,
    };
    let (simple, _) = simplified(" É, e\u{301}\u{2003}12  Ⅻ ", &config);
    assert_eq!(simple, "É, e\u{301} 12 Ⅻ");
}

#[test]
fn excerpts_are_the_text_between_tokens() {
    let simple = Simplifier::new(&Simplification::default()).simplify("One two 火热 three");
    assert_eq!(simple.excerpt(0, 2), "one two");
    assert_eq!(simple.excerpt(1, 4), "two 火热");
    assert_eq!(simple.excerpt(3, 5), "热 three");
    assert_eq!(simple.excerpt(2, 2), "");
}

fn any_config() -> impl Strategy<Value = Simplification> {
    let unicode = prop_oneof![
        Just(UnicodeForm::AsWritten),
        Just(UnicodeForm::Nfkc),
        Just(UnicodeForm::Unaccented)
    ];
    (unicode, any::<[bool; 3]>()).prop_map(|(unicode, flags)| Simplification {
        unicode,
        lowercase: flags[0],
        remove_punctuation: flags[1],
        merge_numbers: flags[2],
    })
}

fn any_text() -> impl Strategy<Value = String> {
    let realistic = "[ a-zA-Z0-9.,()\\-\n\u{301}\u{3099}éßİΣ火热がｶﾞกำ１２²½\u{2003}\u{85}ﬁ한국\u{1F525}\u{2F800}\u{20000}]{0,60}";
    prop_oneof![3 => realistic, 1 => any::<String>()]
}

proptest! {
    #[test]
    fn any_text_is_simplified_as_defined(text in any_text(), config in any_config()) {
        prop_assert_eq!(simplified(&text, &config), reference(&text, &config));
    }

    #[test]
    fn nfkc_in_parts_is_nfkc(text in any_text()) {
        let whole: String = text.nfkc().collect();
        prop_assert_eq!(nfkc(&text).into_owned(), whole);
    }
}
