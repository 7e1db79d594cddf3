//! One document as one line of JSON.

use std::borrow::Cow;

use serde::Serialize;
use sonic_rs::{JsonValueTrait, LazyValue};

use super::WriteError;
use crate::Document;

/// What is written of a document that has no JSON source.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    year: Option<u16>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mesh_terms: &'a [Cow<'a, str>],
}

/// Appends the line of a document, with its end.
///
/// A document from JSON Lines keeps its source: byte for byte if its text is what it was, else with
/// the value of `text_field` replaced.
///
/// # Errors
/// [`WriteError::NoTextField`] or [`WriteError::Serialize`]; a part of the line may then be there.
pub fn append_json_line(
    document: &Document<'_>,
    text_field: &str,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    match document.source {
        Some(source) => append_source(document, source, text_field, out)?,
        None => {
            let row = Row {
                id: document.id.as_deref(),
                title: document.title.as_deref(),
                text: &document.text,
                year: document.year,
                mesh_terms: &document.mesh_terms,
            };
            serialize(&row, document.number, out)?;
        }
    }
    out.push(b'\n');
    Ok(())
}

fn append_source(
    document: &Document<'_>,
    source: &str,
    text_field: &str,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    if let Cow::Borrowed(text) = document.text
        && is_within(text, source)
    {
        out.extend_from_slice(source.as_bytes());
        return Ok(());
    }
    let (value, start) = text_value(source, text_field).ok_or_else(|| WriteError::NoTextField {
        number: document.number,
        field: text_field.to_string(),
        found: source.chars().take(64).collect(),
    })?;
    if value.as_str() == Some(&*document.text) {
        out.extend_from_slice(source.as_bytes());
        return Ok(());
    }
    let end = start + value.as_raw_str().len();
    out.extend_from_slice(&source.as_bytes()[..start]);
    serialize(&*document.text, document.number, out)?;
    out.extend_from_slice(&source.as_bytes()[end..]);
    Ok(())
}

/// Whether a text is a whole JSON string of the source, without quotes: then it was not changed.
fn is_within(text: &str, source: &str) -> bool {
    let Some(start) = offset_in(text, source) else {
        return false;
    };
    let bytes = source.as_bytes();
    start > 0 && bytes[start - 1] == b'"' && bytes.get(start + text.len()) == Some(&b'"')
}

/// Where `part` starts in `whole`, if it is a part of its memory.
fn offset_in(part: &str, whole: &str) -> Option<usize> {
    let (part_range, whole_range) = (
        part.as_bytes().as_ptr_range(),
        whole.as_bytes().as_ptr_range(),
    );
    let is_part = part_range.start >= whole_range.start && part_range.end <= whole_range.end;
    is_part.then(|| part_range.start.addr() - whole_range.start.addr())
}

/// The value of the text's field, and where it starts in the source.
fn text_value<'a>(source: &'a str, text_field: &str) -> Option<(LazyValue<'a>, usize)> {
    let mut found = None;
    for entry in sonic_rs::to_object_iter(source) {
        let (key, value) = entry.ok()?;
        if key == text_field {
            found = Some(value);
            break;
        }
    }
    let value = found.filter(|value| value.is_str())?;
    let start = value
        .as_raw_str()
        .as_ptr()
        .addr()
        .checked_sub(source.as_ptr().addr())?;
    (start < source.len()).then_some((value, start))
}

fn serialize(
    value: &(impl Serialize + ?Sized),
    number: u64,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    sonic_rs::to_writer(out, value).map_err(|source| WriteError::Serialize { number, source })
}
