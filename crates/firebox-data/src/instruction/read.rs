//! Preferences from JSON Lines.

use super::{Instruction, InstructionFormat, Preference};
use crate::source::SourceError;
use crate::{BrokenCount, BrokenLimit, Place, PlaceUnit, Sources};

/// Reads preferences, one a line: `{"prompt": .., "chosen": .., "rejected": ..}`, each a text or messages.
///
/// # Errors
/// Those of the files, and [`SourceError::TooManyBroken`] with the first line that is none.
///
/// # Examples
/// ```
/// use firebox_data::{BrokenLimit, SourceOptions, Sources, read_preferences};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pairs.jsonl");
/// std::fs::write(&path, r#"{"prompt": "Is fire hot?", "chosen": "Yes.", "rejected": "No."}"#)?;
/// let sources = Sources::list([&path], SourceOptions::default())?;
/// let pairs = read_preferences(&sources, BrokenLimit::default())?;
/// assert_eq!(pairs[0].chosen[0].content, "Yes.");
/// # Ok(())
/// # }
/// ```
pub fn read_preferences(
    sources: &Sources,
    limit: BrokenLimit,
) -> Result<Vec<Preference>, SourceError> {
    let mut broken = BrokenCount::new(limit);
    let mut pairs = Vec::new();
    for block in sources.blocks() {
        let block = block?;
        let Some(lines) = block.lines() else {
            let name = block.path().display();
            let found =
                format!("`{name}`: expected JSON Lines for preferences, found another format");
            _ = broken.check::<Preference>(Err(found));
            continue;
        };
        for line in lines {
            let pair = match line {
                Ok(line) => preference(line.text).map_err(|error| {
                    let place = Place {
                        path: block.path().to_path_buf(),
                        unit: PlaceUnit::Line,
                        number: line.number,
                    };
                    format!("{place}: {error}")
                }),
                Err(broken) => Err(broken.to_string()),
            };
            pairs.extend(broken.check(pair));
        }
        broken.check_limit()?;
    }
    broken.check_at_end()?;
    Ok(pairs)
}

fn preference(line: &str) -> Result<Preference, String> {
    let fields = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let parsed = InstructionFormat::Preference.parse(&fields);
    match parsed.map_err(|error| error.to_string())? {
        Instruction::Preference(preference) => Ok(preference),
        _ => Err("expected a preference".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceOptions;

    #[test]
    fn lines_that_are_no_preference_are_counted_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let good = r#"{"prompt": "Is fire hot?", "chosen": "Yes.", "rejected": "No."}"#;
        let bad = r#"{"prompt": "Is fire hot?", "chosen": "Yes."}"#;
        std::fs::write(&path, format!("{good}\n{bad}\n{good}")).unwrap();
        let sources = Sources::list([&path], SourceOptions::default()).unwrap();
        let half = BrokenLimit {
            max_share: 0.5,
            ..BrokenLimit::default()
        };
        assert_eq!(read_preferences(&sources, half).unwrap().len(), 2);
        let error = read_preferences(&sources, BrokenLimit::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 2") && text.contains("rejected"),
            "{text}"
        );
    }
}
