//! `firebox tokenizer`.

use serde::Serialize;
use serde_json::Value;

use super::args::{Globals, InputArgs, TextArgs};
use super::exit::UserError;
use super::model::ModelFiles;
use super::output;

#[derive(Serialize)]
struct Encoded {
    ids: Vec<u32>,
}

#[derive(Serialize)]
struct Decoded {
    text: String,
}

pub(crate) fn encode(globals: &Globals, args: &TextArgs) -> anyhow::Result<()> {
    let text = read_input(&args.input)?;
    let files = ModelFiles::open(globals, &args.model)?;
    let encoded = Encoded {
        ids: files.tokenizer.encode(&text)?,
    };
    output::print(globals.json, &encoded, || {
        encoded
            .ids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    })
}

pub(crate) fn decode(globals: &Globals, args: &TextArgs) -> anyhow::Result<()> {
    let ids = parse_ids(&read_input(&args.input)?)?;
    let files = ModelFiles::open(globals, &args.model)?;
    let n_tokens = files.tokenizer.vocab_size() as u32;
    if let Some(id) = ids.iter().find(|id| **id >= n_tokens) {
        let text = format!(
            "decode ids: expected ids below {n_tokens}, found `{id}` (hint: is this the tokenizer that made them?)"
        );
        return Err(UserError(text).into());
    }
    let decoded = Decoded {
        text: files.tokenizer.decode(&ids, false),
    };
    output::print(globals.json, &decoded, || decoded.text.clone())
}

/// The text that the options name; stdin when they name none.
pub(crate) fn read_input(input: &InputArgs) -> anyhow::Result<String> {
    match (&input.prompt, &input.file) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(path)) if path.as_os_str() != "-" => read_text(path),
        _ => Ok(std::io::read_to_string(std::io::stdin())?),
    }
}

/// A whole file as UTF-8.
pub(crate) fn read_text(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return Ok(std::io::read_to_string(std::io::stdin())?);
    }
    let bytes = std::fs::read(path)
        .map_err(|error| UserError(format!("read text `{}`: {error}", path.display())))?;
    let found = |error: std::string::FromUtf8Error| {
        let at = error.utf8_error().valid_up_to();
        UserError(format!(
            "read text `{}`: expected UTF-8, found an invalid byte at {at} (hint: convert the file to UTF-8)",
            path.display()
        ))
    };
    Ok(String::from_utf8(bytes).map_err(found)?)
}

/// Numbers between spaces or commas, or JSON: `[1,2]` or `{"ids":[1,2]}`.
fn parse_ids(text: &str) -> anyhow::Result<Vec<u32>> {
    let wrong = |found: &str| {
        UserError(format!(
            "read token ids: expected whole numbers, or JSON with `ids`, found `{found}`"
        ))
    };
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && !value.is_number()
    {
        let list = value.get("ids").unwrap_or(&value);
        return Ok(serde_json::from_value(list.clone()).map_err(|_| wrong(&list.to_string()))?);
    }
    let words = text
        .split([' ', '\n', '\t', ','])
        .filter(|word| !word.is_empty());
    words
        .map(|word| word.parse().map_err(|_| wrong(word).into()))
        .collect()
}
