use encoding_rs::{Encoding, GBK, MACINTOSH, WINDOWS_1251, WINDOWS_1252};
use proptest::prelude::*;

use super::repair;

/// Sentences in many languages.
fn sentences() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../../tests/golden/short_sentences.tsv").lines();
    lines.map(|line| line.split_once('\t').unwrap())
}

/// The text's UTF-8 read as another encoding; none if that loses bytes.
fn misread(text: &str, encoding: &'static Encoding) -> Option<String> {
    let (read, has_errors) = encoding.decode_without_bom_handling(text.as_bytes());
    (!has_errors).then(|| read.into_owned())
}

fn misread_as_latin_1(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[track_caller]
fn check(broken: &str, expected: &str) {
    assert_eq!(repair(broken).as_deref().unwrap_or(broken), expected);
}

#[test]
fn common_mojibake_is_repaired() {
    check("cafÃ©", "café");
    check("donâ€™t", "don’t");
    check("temperature â‰¥ 37 Â°C", "temperature ≥ 37 °C");
    check("MÃ¼ller and PaweÅ‚", "Müller and Paweł");
    check("ðŸ˜€ ok", "😀 ok");
    check("ÃƒÂ©tÃƒÂ©", "été");
    check("\u{93}quoted\u{94}", "“quoted”");
    check("РџСЂРёРІРµС‚", "Привет");
    check("caf√© and don‚Äôt", "café and don’t");
    check("浣犲ソ鍚梐", "你好吗a");
    check(
        "ä½ å¥½ä¸–ç•Œ",
        "ä½ å¥½ä¸–ç•Œ".replace("å¥½ä¸–ç•Œ", "好世界").as_str(),
    );
}

#[test]
fn what_a_writer_may_have_meant_stays() {
    for text in [
        "a surface of 5 Å² and 2.0 Å±0.1 Å",
        "«CAFÉ» and “ROMÔ",
        "2√π r, √±1",
        "è”–",
        "à « la carte »",
        "×² and ±½",
        "Рік і Сі",
        "Ã alone, and Â too",
        "naïve Übergröße São João",
        "你好，世界。",
        "μg/mL ≥ 10⁻³",
        "°C · m²",
    ] {
        check(text, text);
    }
}

#[test]
fn clean_sentences_stay_as_they_are() {
    for (_, sentence) in sentences() {
        check(sentence, sentence);
    }
}

#[test]
fn sentences_read_as_latin_1_come_back() {
    for (_, sentence) in sentences() {
        check(&misread_as_latin_1(sentence), sentence);
    }
}

#[test]
fn sentences_read_as_latin_1_twice_come_back() {
    let comes_back = |sentence: &str| {
        let broken = misread_as_latin_1(&misread_as_latin_1(sentence));
        repair(&broken).as_deref().unwrap_or(&broken) == sentence
    };
    // A Russian and a Vietnamese letter that stand alone look as if they were meant.
    assert_eq!(
        sentences()
            .filter(|(_, sentence)| !comes_back(sentence))
            .count(),
        2
    );
}

#[test]
fn sentences_read_as_windows_1252_come_back() {
    let mut n_broken = 0;
    let mut n_repaired = 0;
    for (_, sentence) in sentences() {
        let broken = misread(sentence, WINDOWS_1252).unwrap();
        n_broken += usize::from(broken != sentence);
        n_repaired +=
            usize::from(broken != sentence && repair(&broken).as_deref() == Some(sentence));
    }
    assert!(n_broken > 100);
    assert_eq!(n_repaired, n_broken);
}

#[test]
fn russian_read_as_windows_1251_comes_back() {
    for (_, sentence) in sentences().filter(|(language, _)| *language == "ru") {
        check(&misread(sentence, WINDOWS_1251).unwrap(), sentence);
    }
}

#[test]
fn french_read_as_mac_roman_comes_back() {
    for (_, sentence) in sentences().filter(|(language, _)| *language == "fr") {
        // Two letters of one word are one run; a capital at the start has no small letter before it.
        check(&misread(sentence, MACINTOSH).unwrap(), sentence);
    }
}

#[test]
fn chinese_read_as_gbk_comes_back_where_no_byte_was_lost() {
    let mut n_whole = 0;
    let mut n_repaired = 0;
    for (_, sentence) in sentences().filter(|(language, _)| *language == "zh") {
        let characters: Vec<char> = sentence
            .chars()
            .filter(|character| !character.is_ascii())
            .collect();
        for clause in [2, 4, 6, 8].into_iter().flat_map(|n| characters.windows(n)) {
            let clause: String = clause.iter().collect();
            let Some(broken) = misread(&clause, GBK) else {
                continue;
            };
            n_whole += 1;
            n_repaired += usize::from(repair(&broken) == Some(clause));
        }
    }
    // Traditional characters are all outside the level that counts as common.
    assert!(
        n_whole > 100 && n_repaired * 100 >= n_whole * 95,
        "{n_repaired} of {n_whole}"
    );
}

proptest! {
    #[test]
    fn words_of_one_script_stay(text in "([a-zA-Zéèàüöäßñçêôî]{1,8}|[а-яА-Я]{1,8}|[α-ω]{1,8}|[你好世界中文火水大小人的是在]{1,8}|[あ-ん]{1,8}|[0-9]{1,4}|[±≥≤°µ–—“”’…€£])( ([a-z]{1,6}|[«»]))?") {
        prop_assert_eq!(repair(&text), None);
    }

    #[test]
    fn planted_latin_words_come_back(before in "[a-z ]{0,10}", word in "[a-z]{1,4}[éèàüöäñçêôîßåøæ][a-z]{1,4}", after in " [a-z ]{0,10}") {
        let text = format!("{before}{word}{after}");
        let broken = format!("{before}{}{after}", misread(&word, WINDOWS_1252).unwrap());
        prop_assert_eq!(repair(&broken), Some(text));
    }

    #[test]
    fn repairing_never_panics_and_ends(text in "[ÃÂÐÑâ€™˜ðŸ\u{80}-\u{ff}а-яРС浣犲ソ鍚\\PC]{0,20}") {
        if let Some(repaired) = repair(&text) {
            prop_assert!(repaired != text && repaired.chars().count() <= text.chars().count() + 1);
        }
    }
}
