//! The small files of a sentence-transformers folder: what comes after the encoder.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::EmbedError;
use super::pooling::Pooling;

/// Far above the largest of these files.
const MAX_BYTES: u64 = 1 << 20;

/// Ways of pooling, as sentence-transformers names them.
const POOLINGS: [(&str, Option<Pooling>); 7] = [
    ("mean", Some(Pooling::Mean)),
    ("cls", Some(Pooling::Cls)),
    ("max", None),
    ("mean_sqrt_len", None),
    ("mean_sqrt_len_tokens", None),
    ("weightedmean", None),
    ("lasttoken", None),
];

/// A model's folder.
#[derive(Debug, PartialEq)]
pub(super) struct Folder {
    /// Where the encoder lies.
    pub(super) transformer: PathBuf,
    pub(super) pooling: Pooling,
    pub(super) normalizes: bool,
    /// Tokens of the longest text, where the folder says.
    pub(super) max_tokens: Option<usize>,
    pub(super) lowercases: bool,
}

impl Folder {
    /// Reads `modules.json` and what it names; without one, the files where they usually are.
    pub(super) fn read(path: &Path) -> Result<Self, EmbedError> {
        let mut folder = Self {
            transformer: path.to_owned(),
            pooling: Pooling::default(),
            normalizes: true,
            max_tokens: None,
            lowercases: false,
        };
        match read_json(&path.join("modules.json"))? {
            Some(modules) => folder.follow(path, &modules)?,
            None => folder.pooling = pooling(&path.join("1_Pooling"))?,
        }
        let settings = read_json(&folder.transformer.join("sentence_bert_config.json"))?;
        let settings = settings.unwrap_or_default();
        folder.lowercases = settings["do_lower_case"] == true;
        folder.max_tokens = settings["max_seq_length"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok());
        refuse_prompt(path)?;
        Ok(folder)
    }

    /// An encoder, pooling, and perhaps a norm, in this order.
    fn follow(&mut self, path: &Path, modules: &Value) -> Result<(), EmbedError> {
        let file = path.join("modules.json");
        let modules = modules.as_array().map_or(&[][..], Vec::as_slice);
        // The last part of the Python class.
        let kinds: Vec<&str> = modules
            .iter()
            .filter_map(|module| module["type"].as_str()?.rsplit('.').next())
            .collect();
        self.normalizes = match kinds[..] {
            ["Transformer", "Pooling"] => false,
            ["Transformer", "Pooling", "Normalize"] => true,
            _ => {
                return Err(EmbedError::File {
                    path: file,
                    what: format!(
                        "expected Transformer, Pooling and perhaps Normalize, found {kinds:?}"
                    ),
                    hint: "models with other layers are not supported",
                });
            }
        };
        let place = |module: &Value| path.join(module["path"].as_str().unwrap_or_default());
        self.transformer = place(&modules[0]);
        self.pooling = pooling(&place(&modules[1]))?;
        Ok(())
    }
}

/// The pooling of a folder's `config.json`; the usual one where there is none.
fn pooling(folder: &Path) -> Result<Pooling, EmbedError> {
    let path = folder.join("config.json");
    let Some(config) = read_json(&path)? else {
        return Ok(Pooling::default());
    };
    let is_chosen = |name: &str| {
        // Newer files name one, older ones have a flag for each.
        let flags = [
            format!("pooling_mode_{name}_tokens"),
            format!("pooling_mode_{name}_token"),
            format!("pooling_mode_{name}"),
        ];
        config["pooling_mode"] == name || flags.iter().any(|flag| config[flag] == true)
    };
    let chosen: Vec<_> = POOLINGS
        .iter()
        .filter(|(name, _)| is_chosen(name))
        .collect();
    match chosen[..] {
        [(_, Some(pooling))] => Ok(*pooling),
        _ => {
            let names: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
            Err(EmbedError::File {
                path,
                what: format!("expected pooling by `mean` or `cls`, found {names:?}"),
                hint: "other kinds of pooling are not supported",
            })
        }
    }
}

/// A text that stands before every other is part of the model.
fn refuse_prompt(path: &Path) -> Result<(), EmbedError> {
    let path = path.join("config_sentence_transformers.json");
    let config = read_json(&path)?.unwrap_or_default();
    match &config["default_prompt_name"] {
        Value::Null => Ok(()),
        name => Err(EmbedError::File {
            path,
            what: format!("expected no default prompt, found {name}"),
            hint: "put the prompt before the texts yourself, and take it out of this file",
        }),
    }
}

/// A JSON file that may be absent.
fn read_json(path: &Path) -> Result<Option<Value>, EmbedError> {
    let wrong = |what: String| EmbedError::File {
        path: path.to_owned(),
        what,
        hint: "fetch the model again",
    };
    if !path.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| wrong(error.to_string()))?;
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|error| wrong(error.to_string()))
}
