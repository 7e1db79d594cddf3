use super::{Recipe, RecipeError};
use crate::DedupConfig;
use crate::filter::{RuleConfig, WordCounting};

fn error(text: &str) -> String {
    Recipe::from_toml(text).unwrap_err().to_string()
}

#[test]
fn rules_are_read_in_order_with_their_defaults() {
    let recipe = Recipe::from_toml(
        "version = 1\nwords = \"spaces\"\n[[rule]]\nkind = \"min-words\"\n\
         [[rule]]\nkind = \"gopher-repetition\"\ntop_n_grams = [[2, 0.5]]\ndup_line_frac = 1\n",
    )
    .unwrap();
    assert_eq!(recipe.words, WordCounting::Spaces);
    let [
        RuleConfig::MinWords(words),
        RuleConfig::GopherRepetition(repetition),
    ] = &recipe.rules[..]
    else {
        panic!("{recipe:?}");
    };
    assert_eq!(words.min, 51);
    assert_eq!(repetition.top_n_grams, [(2, 0.5)]);
    assert_eq!(
        (repetition.dup_line_frac, repetition.dup_para_frac),
        (1.0, 0.3)
    );
}

#[test]
fn everything_wrong_is_in_one_error_with_its_place() {
    let text = r#"
version = 2
word = "spaces"

[[rule]]
kind = "min-wrods"

[[rule]]
kind = "min-words"
mni = 3
min = "three"

[[rule]]
min = 3

[[ rule ]]
kind = "symbol-ratio"
max = 25.0

[[rule]]
kind = "nfkc"
form = "KC"
"#;
    let error = error(text);
    for part in [
        "`version`: expected 1, found 2",
        "`word`: expected one of version, words, rule, input, output, decontaminate, dedup, found `word` (hint: did you mean `words`?)",
        "rule 1, line 5, `kind`: expected one of whitespace,",
        "found `min-wrods` (hint: did you mean `min-words`?)",
        "rule 2, line 8 (`min-words`), `mni`: expected one of min, found `mni` (hint: did you mean `min`?)",
        "rule 2, line 8 (`min-words`), `min`: expected another value, found `\"three\"`: invalid type",
        "rule 3, line 13: expected `kind`, one of",
        "rule 4, line 16 (`symbol-ratio`), `max`: expected a share from 0 to 1, found 25",
        "rule 5, line 20 (`nfkc`), `form`: expected no parameters, found `form`",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
    assert_eq!(error.lines().count(), 9, "{error}");
}

#[test]
fn a_version_is_demanded() {
    assert!(error("").contains("`version`: expected 1, found none"));
    assert!(
        error("version = 1\nrule = 3").contains("expected tables headed `[[rule]]`, found integer")
    );
    assert!(error("version = 1\nwords = \"syllables\"").contains("unknown variant `syllables`"));
}

#[test]
fn text_that_is_no_toml_is_an_error_with_its_place() {
    let error = Recipe::from_toml("version = ").unwrap_err();
    assert!(matches!(error, RecipeError::Toml { .. }));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("line 1"), "{source}");
}

#[test]
fn a_recipe_written_out_reads_back() {
    let kinds = RuleConfig::KINDS
        .iter()
        .filter(|kind| **kind != "mesh-terms");
    let recipe = Recipe {
        version: 1,
        words: WordCounting::Jieba,
        rules: kinds
            .map(|kind| RuleConfig::with_defaults(kind).unwrap())
            .collect(),
        dedup: Some(DedupConfig::default()),
        ..Recipe::default()
    };
    let text = toml::to_string(&recipe).unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
}

#[test]
fn the_recipes_of_the_repository_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/data");
    let mut n_recipes = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let recipe =
            Recipe::from_toml(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let rules = recipe.build_rules();
        if recipe.words != WordCounting::Jieba || cfg!(feature = "jieba") {
            assert_eq!(rules.unwrap().kinds().len(), recipe.rules.len());
        }
        n_recipes += 1;
    }
    assert!(n_recipes >= 3);
}
