//! Texts with what they are labelled with: what a classifier learns from.

use serde_json::Value;

use crate::reader::record_of_document;
use crate::source::SourceError;
use crate::{BrokenCount, BrokenLimit, Document, Sources, TextRecord};

/// The field that names MeSH headings, in MEDLINE as in JSON Lines.
const MESH_TERMS: &str = "mesh_terms";

/// A text and the values of its label field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// The text.
    pub record: TextRecord,
    /// Its labels, as they are written; none where the field is missing.
    pub labels: Vec<String>,
}

/// Reads texts with their labels: `mesh_terms` of MEDLINE, or any field of JSON Lines that holds a text, a
/// number, a truth value, or a list of them.
///
/// # Errors
/// Those of the files, and [`SourceError::TooManyBroken`].
///
/// # Examples
/// ```
/// use firebox_data::{BrokenLimit, SourceOptions, Sources, read_labelled};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.jsonl");
/// std::fs::write(&path, r#"{"text": "Bile is made in it.", "organ": "liver"}"#)?;
/// let sources = Sources::list([&path], SourceOptions::default())?;
/// let texts = read_labelled(&sources, "organ", BrokenLimit::default())?;
/// assert_eq!(texts[0].labels, ["liver"]);
/// # Ok(())
/// # }
/// ```
pub fn read_labelled(
    sources: &Sources,
    field: &str,
    limit: BrokenLimit,
) -> Result<Vec<LabelledText>, SourceError> {
    let mut broken = BrokenCount::new(limit);
    let mut texts = Vec::new();
    for block in sources.blocks() {
        let block = block?;
        let whole = block
            .documents()
            .filter_map(|document| broken.check(document));
        texts.extend(whole.map(|document| LabelledText {
            labels: labels(&document, field),
            record: record_of_document(document),
        }));
        broken.check_limit()?;
    }
    broken.check_at_end()?;
    Ok(texts)
}

fn labels(document: &Document<'_>, field: &str) -> Vec<String> {
    if field == MESH_TERMS {
        return document
            .mesh_terms
            .iter()
            .map(ToString::to_string)
            .collect();
    }
    let object = document
        .source
        .and_then(|json| serde_json::from_str::<Value>(json).ok());
    match object.as_ref().and_then(|object| object.get(field)) {
        Some(Value::Array(values)) => values.iter().filter_map(label).collect(),
        value => value.and_then(label).into_iter().collect(),
    }
}

fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceOptions;

    #[test]
    fn labels_are_texts_numbers_truth_values_and_lists_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let lines = [
            r#"{"text": "a", "y": "liver"}"#,
            r#"{"text": "b", "y": 3}"#,
            r#"{"text": "c", "y": 0.5}"#,
            r#"{"text": "d", "y": true}"#,
            r#"{"text": "e", "y": ["x", 2, null, {"z": 1}]}"#,
            r#"{"text": "f", "y": {"z": 1}}"#,
            r#"{"text": "g"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let sources = Sources::list([&path], SourceOptions::default()).unwrap();
        let texts = read_labelled(&sources, "y", BrokenLimit::default()).unwrap();
        let found: Vec<Vec<String>> = texts.into_iter().map(|text| text.labels).collect();
        let expected: [&[&str]; 7] = [
            &["liver"],
            &["3"],
            &["0.5"],
            &["true"],
            &["x", "2"],
            &[],
            &[],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn too_many_broken_records_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n{\"te").unwrap();
        let sources = Sources::list([&path], SourceOptions::default()).unwrap();
        let error = read_labelled(&sources, "y", BrokenLimit::default()).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
