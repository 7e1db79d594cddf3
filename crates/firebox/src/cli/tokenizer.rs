//! `firebox tokenizer`.

use std::io::Read;
use std::path::Path;

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
        (None, path) => read_text(path.as_deref().unwrap_or(Path::new("-"))),
    }
}

/// A whole file as UTF-8; `-` is stdin.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path)
            .map_err(|error| UserError(format!("read text `{name}`: {error}")))?;
    }
    let invalid = |error: std::string::FromUtf8Error| {
        let at = error.utf8_error().valid_up_to();
        UserError(format!(
            "read text `{name}`: expected UTF-8, found an invalid byte at {at} (hint: convert the file to UTF-8)"
        ))
    };
    Ok(String::from_utf8(bytes).map_err(invalid)?)
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
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty());
    words
        .map(|word| word.parse().map_err(|_| wrong(word).into()))
        .collect()
}
