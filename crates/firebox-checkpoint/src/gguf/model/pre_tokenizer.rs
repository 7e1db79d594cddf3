//! How text is cut before byte-pair encoding, by llama.cpp's name for it.

use serde_json::{Value, json};

/// A pre-tokenizer, and what goes with it in a `tokenizer.json`.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// The names in `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    cut: Cut,
    /// A token that is in the vocabulary is taken whole, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Texts are brought to Unicode's composed form first.
    pub(super) composes: bool,
}

#[derive(Debug)]
enum Cut {
    /// The pattern of GPT-2, which the `tokenizers` library has built in.
    Gpt2,
    /// Every digit by itself, then GPT-2's pattern.
    DigitsThenGpt2,
    /// A pattern of its own.
    Pattern(&'static str),
}

const KNOWN: [PreTokenizer; 4] = [
    PreTokenizer {
        names: &["smollm", "starcoder", "refact"],
        cut: Cut::DigitsThenGpt2,
        ignore_merges: false,
        composes: false,
    },
    PreTokenizer {
        names: &["gpt-2", "phi-2"],
        cut: Cut::Gpt2,
        ignore_merges: false,
        composes: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cut: Cut::Pattern(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        ignore_merges: true,
        composes: false,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        cut: Cut::Pattern(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        ignore_merges: false,
        composes: true,
    },
];

impl PreTokenizer {
    /// The pre-tokenizer of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.names.contains(&name))
    }

    /// llama.cpp's name for the `pre_tokenizer` of a `tokenizer.json`, if it knows one that cuts so.
    pub(super) fn of_json(
        found: &Value,
        composes: bool,
        ignores_merges: bool,
    ) -> Option<&'static str> {
        let found = cuts(found);
        let known = KNOWN.iter().find(|known| {
            (known.composes, known.ignore_merges) == (composes, ignores_merges)
                && cuts(&known.to_json(false)) == found
        });
        known.map(|known| known.names[0])
    }

    /// Every name that is known.
    pub(super) fn known_names() -> String {
        let names: Vec<String> = KNOWN
            .iter()
            .flat_map(|known| known.names)
            .map(|name| format!("`{name}`"))
            .collect();
        names.join(", ")
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(super) fn to_json(&self, add_prefix_space: bool) -> Value {
        match self.cut {
            Cut::Gpt2 => byte_level(add_prefix_space, true),
            Cut::DigitsThenGpt2 => json!({"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true},
                byte_level(add_prefix_space, true),
            ]}),
            Cut::Pattern(pattern) => json!({"type": "Sequence", "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": "Isolated",
                    "invert": false,
                },
                byte_level(add_prefix_space, false),
            ]}),
        }
    }
}

/// A `pre_tokenizer` without what does not change the cuts.
fn cuts(value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let mut fields = fields.clone();
    fields.remove("trim_offsets");
    if fields.get("type") == Some(&json!("ByteLevel")) {
        fields.entry("use_regex").or_insert(json!(true));
    }
    if let Some(Value::Array(parts)) = fields.get_mut("pretokenizers") {
        for part in parts {
            *part = cuts(part);
        }
    }
    Value::Object(fields)
}

/// Bytes as printable characters, and GPT-2's pattern if `use_regex`.
pub(super) fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}
