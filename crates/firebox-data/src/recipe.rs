//! Recipes: what happens to a corpus, written down in TOML.

mod error;
mod files;
mod near_miss;
mod table;

use serde::Serialize;
use toml::{Table, Value};

use crate::decontaminate::DecontaminateConfig;
use crate::dedup::DedupConfig;
use crate::filter::{FilterError, RuleConfig, RuleProblem, Rules, WordCounting};

pub use error::RecipeError;
pub use files::{InputConfig, OutputConfig};
use near_miss::suggest;
use table::{read_rule, read_value};

/// The version of the recipe format that is read.
pub const RECIPE_VERSION: i64 = 1;

/// A recipe.
///
/// ```
/// use firebox_data::Recipe;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let recipe = Recipe::from_toml(
///     r#"
///     version = 1
///
///     [[rule]]
///     kind = "nfkc"
///
///     [[rule]]
///     kind = "min-words"
///     min = 51
///     "#,
/// )?;
/// assert_eq!(recipe.build_rules()?.kinds(), ["nfkc", "min-words"]);
/// # Ok(())
/// # }
/// ```
///
/// The stages are run by [`clean`](crate::clean): rules, then decontamination, then deduplication.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Recipe {
    /// The version of the format, [`RECIPE_VERSION`].
    pub version: i64,
    /// How words are counted in scripts without spaces.
    pub words: WordCounting,
    /// The rules, in the order in which they are applied.
    #[serde(rename = "rule")]
    pub rules: Vec<RuleConfig>,
    /// What is read.
    pub input: InputConfig,
    /// What is written.
    pub output: OutputConfig,
    /// What is left out, or reported, for being in evaluation sets.
    pub decontaminate: Option<DecontaminateConfig>,
    /// How duplicates are found, if they are.
    pub dedup: Option<DedupConfig>,
}

/// The names at the top of a recipe.
const SECTIONS: [&str; 7] = [
    "version",
    "words",
    "rule",
    "input",
    "output",
    "decontaminate",
    "dedup",
];

/// One that changes nothing.
impl Default for Recipe {
    fn default() -> Self {
        Self {
            version: RECIPE_VERSION,
            words: WordCounting::default(),
            rules: Vec::new(),
            input: InputConfig::default(),
            output: OutputConfig::default(),
            decontaminate: None,
            dedup: None,
        }
    }
}

impl Recipe {
    /// Reads a recipe and checks everything in it.
    ///
    /// # Errors
    ///
    /// If the text is no TOML; or if anything in it is not known or makes no sense: every such thing is in
    /// the one error, with the names that may have been meant.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        let table: Table = text
            .parse()
            .map_err(|source| RecipeError::Toml { source })?;
        let mut problems = Vec::new();
        let mut recipe = Self::default();
        if !table.contains_key("version") {
            problems.push(problem(
                "`version`",
                format!("expected {RECIPE_VERSION}, found none"),
            ));
        }
        for (name, value) in table {
            match name.as_str() {
                "version" => check_version(&value, &mut problems),
                "words" => {
                    recipe.words = read_value("`words`", value, &mut problems).unwrap_or_default()
                }
                "rule" => recipe.rules = read_rules(text, value, &mut problems),
                "input" => {
                    recipe.input =
                        read_value("`[input]`", value, &mut problems).unwrap_or_default();
                    recipe.input.check(&mut problems);
                }
                "output" => {
                    recipe.output =
                        read_value("`[output]`", value, &mut problems).unwrap_or_default();
                }
                "decontaminate" => {
                    let place = "`[decontaminate]`";
                    let config: Option<DecontaminateConfig> =
                        read_value(place, value, &mut problems);
                    let wrong = config.as_ref().and_then(|config| config.validate().err());
                    problems.extend(wrong.map(|error| problem(place, error.to_string())));
                    recipe.decontaminate = config;
                }
                "dedup" => {
                    let config: Option<DedupConfig> = read_value("`[dedup]`", value, &mut problems);
                    let wrong = config.as_ref().and_then(|config| config.validate().err());
                    problems.extend(wrong.map(|error| problem("`[dedup]`", error.to_string())));
                    recipe.dedup = config;
                }
                _ => problems.push(problem(
                    &format!("`{name}`"),
                    format!(
                        "expected one of {}{}",
                        SECTIONS.join(", "),
                        suggest(&name, &SECTIONS)
                    ),
                )),
            }
        }
        if problems.is_empty() {
            Ok(recipe)
        } else {
            Err(RecipeError::Invalid { problems })
        }
    }

    /// Makes its rules.
    ///
    /// # Errors
    ///
    /// As [`Rules::new`].
    pub fn build_rules(&self) -> Result<Rules, FilterError> {
        Rules::new(&self.rules, self.words)
    }
}

fn check_version(value: &Value, problems: &mut Vec<RuleProblem>) {
    if value.as_integer() != Some(RECIPE_VERSION) {
        let text = format!(
            "expected {RECIPE_VERSION}, found {value} (hint: a recipe for another release?)"
        );
        problems.push(problem("`version`", text));
    }
}

fn read_rules(text: &str, value: Value, problems: &mut Vec<RuleProblem>) -> Vec<RuleConfig> {
    let Value::Array(rules) = value else {
        let found = value.type_str();
        let expected = format!("expected tables headed `[[rule]]`, found {found}");
        problems.push(problem("`rule`", expected));
        return Vec::new();
    };
    let lines = lines_of_rules(text);
    let mut read = Vec::with_capacity(rules.len());
    for (at, rule) in rules.into_iter().enumerate() {
        let line = lines
            .get(at)
            .map_or(String::new(), |line| format!(", line {line}"));
        let place = format!("rule {}{line}", at + 1);
        read.extend(read_rule(&place, rule, problems));
    }
    read
}

/// The lines, from 1, on which the tables of rules start.
fn lines_of_rules(text: &str) -> Vec<usize> {
    let is_header = |line: &str| line.replace([' ', '\t'], "").starts_with("[[rule]]");
    let headers = text.lines().enumerate().filter(|(_, line)| is_header(line));
    headers.map(|(at, _)| at + 1).collect()
}

fn problem(place: &str, text: String) -> RuleProblem {
    RuleProblem {
        place: place.to_owned(),
        text,
    }
}

#[cfg(test)]
mod tests;
