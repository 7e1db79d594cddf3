//! Reading tables one key at a time, so that everything wrong in one is found.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::filter::{RuleConfig, RuleProblem};

use super::near_miss::suggest;
use super::problem;

/// Reads one value; notes what is wrong with it.
pub(super) fn read_value<T: DeserializeOwned>(
    place: &str,
    value: Value,
    problems: &mut Vec<RuleProblem>,
) -> Option<T> {
    match T::deserialize(value) {
        Ok(read) => Some(read),
        Err(error) => {
            problems.push(problem(
                place,
                format!("expected another value: {}", one_line(&error)),
            ));
            None
        }
    }
}

/// Reads a rule at `place`; notes everything that is wrong with it.
pub(super) fn read_rule(
    place: &str,
    value: Value,
    problems: &mut Vec<RuleProblem>,
) -> Option<RuleConfig> {
    let Value::Table(mut table) = value else {
        let text = format!("expected a table, found {}", value.type_str());
        problems.push(problem(place, text));
        return None;
    };
    let kinds = RuleConfig::KINDS;
    let kind = match table.remove("kind") {
        Some(Value::String(kind)) => kind,
        Some(other) => {
            let text = format!("expected the name of a rule, found {}", other.type_str());
            problems.push(problem(&format!("{place}, `kind`"), text));
            return None;
        }
        None => {
            let text = format!("expected `kind`, one of {}, found none", kinds.join(", "));
            problems.push(problem(place, text));
            return None;
        }
    };
    let Some(default) = RuleConfig::with_defaults(&kind) else {
        let text = format!(
            "expected one of {}{}",
            kinds.join(", "),
            suggest(&kind, kinds)
        );
        problems.push(problem(&format!("{place}, `kind`"), text));
        return None;
    };
    let place = format!("{place} (`{kind}`)");
    let n_problems = problems.len();
    check_parameters(&place, &default, &table, problems);
    if problems.len() > n_problems {
        return None;
    }
    table.insert("kind".into(), Value::String(kind));
    let rule: RuleConfig = read_value(&place, Value::Table(table), problems)?;
    rule.check(&place, problems);
    Some(rule)
}

/// Notes parameters that the rule does not have, and values of the wrong type.
fn check_parameters(
    place: &str,
    rule: &RuleConfig,
    table: &Table,
    problems: &mut Vec<RuleProblem>,
) {
    let names = rule.parameters();
    for (name, value) in table {
        let place = format!("{place}, `{name}`");
        if !names.contains(&name.as_str()) {
            let expected = match names {
                [] => "expected no parameters".to_owned(),
                _ => format!("expected one of {}", names.join(", ")),
            };
            problems.push(problem(&place, expected + &suggest(name, names)));
            continue;
        }
        let mut alone = Table::new();
        alone.insert("kind".into(), Value::String(rule.kind().into()));
        alone.insert(name.clone(), value.clone());
        if let Err(error) = RuleConfig::deserialize(Value::Table(alone)) {
            let text = format!(
                "expected another value, found `{value}`: {}",
                one_line(&error)
            );
            problems.push(problem(&place, text));
        }
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
