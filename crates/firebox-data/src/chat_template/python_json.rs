//! `tojson`, written as Python's `json.dumps` does: spaces after separators, no HTML escapes.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Deeper values are refused: no tool description is.
const MAX_DEPTH: usize = 100;

/// The filter; takes `ensure_ascii`, `indent`, `separators` and `sort_keys` as Python does.
pub(super) fn tojson(state: &State, value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        Some(indent) if indent.is_none() => None,
        Some(indent) => Some(match indent.as_usize() {
            Some(n_spaces) => " ".repeat(n_spaces.min(64)),
            None => indent
                .as_str()
                .unwrap_or_default()
                .chars()
                .take(64)
                .collect(),
        }),
        None => None,
    };
    let mut separators = match indent {
        Some(_) => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    if let Some(given) = kwargs.get::<Option<Vec<String>>>("separators")?
        && let [item, key] = given.as_slice()
    {
        separators = (item.clone(), key.clone());
    }
    let mut writer = Writer {
        state,
        out: String::new(),
        indent,
        separators,
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    writer.write(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    out: String,
    indent: Option<String>,
    separators: (String, String),
    ensure_ascii: bool,
    sort_keys: bool,
}

impl Writer<'_, '_, '_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // A value that holds itself twice, and so on, is small in memory and endless on paper.
        self.state.consume_fuel(1)?;
        if depth > MAX_DEPTH {
            return Err(invalid(
                "cannot write a value nested more than 100 deep as JSON",
            ));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.out.push_str(&value.to_string()),
            ValueKind::Number => self.out.push_str(&float(f64::try_from(value.clone())?)),
            ValueKind::String => self.write_string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_items(('[', ']'), items.len(), depth, |writer, index| {
                    writer.write(&items[index], depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.write_items(('{', '}'), keys.len(), depth, |writer, index| {
                    let key = &keys[index];
                    let name = key.as_str().map_or_else(|| key.to_string(), str::to_string);
                    writer.write_string(&name)?;
                    writer.out.push_str(&writer.separators.1.clone());
                    writer.write(&value.get_item(key)?, depth + 1)
                })?;
            }
            other => {
                return Err(invalid(format!(
                    "cannot write a value of kind {other} as JSON"
                )));
            }
        }
        Ok(())
    }

    /// The items of a list or map, between brackets, on lines of their own if indented.
    fn write_items(
        &mut self,
        (open, close): (char, char),
        n_items: usize,
        depth: usize,
        mut write_item: impl FnMut(&mut Self, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        for index in 0..n_items {
            if index > 0 {
                self.out.push_str(&self.separators.0);
            }
            self.write_line_break(depth + 1);
            write_item(self, index)?;
        }
        if n_items > 0 {
            self.write_line_break(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn write_line_break(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn write_string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        let quoted = serde_json::Value::from(text).to_string();
        if self.ensure_ascii {
            for character in quoted.chars() {
                if character.is_ascii() {
                    self.out.push(character);
                } else {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        } else {
            self.out.push_str(&quoted);
        }
        Ok(())
    }
}

/// A float as Python's `repr` writes it: `1e-05` and `1e+16` where Rust has `1e-5` and `1e16`.
fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let plain = format!("{value:?}");
    match plain.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => plain,
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
