//! Chat templates: from messages to the text a model was trained on.

mod generation_marks;
mod limits;
mod python_json;
mod strftime;

use std::fmt;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::{DataError, Message};

use generation_marks::GenerationMarks;

/// The ChatML format, for tokenizers that bring no template.
///
/// Source: <https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md>.
pub const CHATML_TEMPLATE: &str = "\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}";

/// A template is a page or two; the longest known are some 20 KiB.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

const TEMPLATE_NAME: &str = "chat_template";

/// A model's chat template, in Jinja as `transformers` runs it.
///
/// Templates see `messages`, `add_generation_prompt`, the special tokens (`bos_token`,
/// `eos_token`, ..), and `tools` and `documents` as none; Python's string methods,
/// `raise_exception`, `strftime_now` and `tojson` work. They come with models from strangers: they
/// can open nothing, and one that does not end, or nests without end, becomes an error.
///
/// # Examples
/// ```
/// use firebox_data::{ChatTemplate, Message};
///
/// # fn main() -> Result<(), firebox_data::DataError> {
/// let template = ChatTemplate::chatml();
/// let prompt = template.render(&[Message::user("Hello")], true)?;
/// assert_eq!(prompt, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ChatTemplate {
    source: String,
    environment: Environment<'static>,
    special_tokens: Vec<(String, String)>,
    marks_generation: bool,
    may_nest_deeply: bool,
}

impl ChatTemplate {
    /// Compiles a template; `bos` and `eos` are the texts of `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`DataError::CompileTemplate`] or [`DataError::TemplateTooLarge`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, DataError> {
        let (n_bytes, limit_bytes) = (source.len(), MAX_TEMPLATE_BYTES);
        if n_bytes > limit_bytes {
            return Err(DataError::TemplateTooLarge {
                n_bytes,
                limit_bytes,
            });
        }
        let compile_error = |error: Error| DataError::CompileTemplate {
            source: Box::new(error),
        };
        let marked = generation_marks::to_filter_blocks(source);
        let marks_generation = marked.is_some();
        let mut environment = environment().map_err(compile_error)?;
        environment
            .add_template_owned(TEMPLATE_NAME, marked.unwrap_or_else(|| source.to_string()))
            .map_err(compile_error)?;
        let special_tokens = [("bos_token", bos), ("eos_token", eos)];
        Ok(Self {
            source: source.to_string(),
            environment,
            special_tokens: special_tokens.map(|(k, v)| (k.into(), v.into())).into(),
            marks_generation,
            may_nest_deeply: limits::may_nest_deeply(source),
        })
    }

    /// ChatML, for tokenizers that bring no template.
    ///
    /// # Panics
    /// Never: the template is this crate's own.
    #[must_use]
    pub fn chatml() -> Self {
        Self::new(CHATML_TEMPLATE, "<|im_start|>", "<|im_end|>")
            .expect("this is a bug in firebox-data: its own template compiles")
    }

    /// Takes the template and the special tokens from a `tokenizer_config.json`; none if it has no
    /// template.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`DataError::NoDefaultTemplate`] for a list of templates without
    /// one named `default`.
    pub fn from_tokenizer_config(config: &serde_json::Value) -> Result<Option<Self>, DataError> {
        let source = match &config["chat_template"] {
            serde_json::Value::Null => return Ok(None),
            serde_json::Value::String(source) => source.as_str(),
            other => other
                .as_array()
                .and_then(|list| list.iter().find(|entry| entry["name"] == "default"))
                .and_then(|entry| entry["template"].as_str())
                .ok_or_else(|| DataError::NoDefaultTemplate {
                    found: name_of(other),
                })?,
        };
        let mut template = Self::new(source, "", "")?;
        for (name, token) in config.as_object().into_iter().flatten() {
            // A token is written as a string, or as an object with its flags.
            let content = token.as_str().or_else(|| token["content"].as_str());
            if let (true, Some(content)) = (name.ends_with("_token"), content) {
                template.set_special_token(name, content);
            }
        }
        Ok(Some(template))
    }

    /// Sets a special token that the template may name, such as `pad_token`.
    pub fn set_special_token(&mut self, name: &str, content: &str) {
        self.special_tokens.retain(|(known, _)| known != name);
        self.special_tokens
            .push((name.to_string(), content.to_string()));
    }

    /// Fixes what `strftime_now` takes for now, in seconds since 1970, UTC. Without it, the time
    /// of rendering: templates that print the date then give another text every day.
    pub fn set_now(&mut self, unix_seconds: i64) {
        self.environment
            .add_function("strftime_now", move |format: &str| {
                strftime::format_utc(format, unix_seconds)
            });
    }

    /// The template as it was given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template marks the assistant's words with `{% generation %}`.
    #[must_use]
    pub fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    /// Writes a conversation; with `add_generation_prompt`, up to where the assistant's next turn
    /// begins.
    ///
    /// # Errors
    /// [`DataError::RenderTemplate`], also for what the template itself refuses.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        self.render_with(messages, add_generation_prompt, None)
    }

    /// Writes a conversation, and says which byte ranges the template marks as the assistant's.
    pub(crate) fn render_marked(
        &self,
        messages: &[Message],
    ) -> Result<(String, Vec<Range<usize>>), DataError> {
        let marks = GenerationMarks::unused_in(messages);
        let text = self.render_with(messages, false, Some(&marks))?;
        Ok(marks.take_out(&text))
    }

    fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        marks: Option<&GenerationMarks>,
    ) -> Result<String, DataError> {
        let list: Vec<Value> = messages
            .iter()
            .map(|message| {
                Value::from_pairs([
                    ("role", message.role.as_str()),
                    ("content", message.content.as_str()),
                ])
            })
            .collect();
        let mut variables: Vec<(&str, Value)> = vec![
            ("messages", list.into()),
            ("add_generation_prompt", add_generation_prompt.into()),
            ("tools", ().into()),
            ("documents", ().into()),
        ];
        for (name, mark) in marks.into_iter().flat_map(GenerationMarks::variables) {
            variables.push((name, mark));
        }
        let tokens = self.special_tokens.iter();
        variables.extend(tokens.map(|(name, token)| (name.as_str(), token.as_str().into())));

        let fuel = limits::fuel_for(messages);
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let render = || {
            environment
                .get_template(TEMPLATE_NAME)
                .and_then(|template| template.render(Value::from_pairs(variables)))
                .map_err(|error| DataError::RenderTemplate {
                    n_messages: messages.len(),
                    source: Box::new(error),
                })
        };
        if !self.may_nest_deeply {
            return render();
        }
        limits::with_deep_stack(fuel, render)
            .map_err(|source| DataError::RenderThread { fuel, source })?
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("source", &self.source)
            .field("special_tokens", &self.special_tokens)
            .finish_non_exhaustive()
    }
}

/// Jinja with the settings, filters and functions of `transformers`.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", python_json::tojson);
    environment.add_filter(generation_marks::FILTER, generation_marks::mark);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |format: &str| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        strftime::format_utc(format, now.as_secs() as i64)
    });
    Ok(environment)
}

/// What kind of JSON value this is, for an error message.
fn name_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(list) => {
            let names: Vec<&str> = list
                .iter()
                .filter_map(|entry| entry["name"].as_str())
                .collect();
            format!("a list of templates named {names:?}")
        }
        serde_json::Value::Object(_) => "an object".to_string(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests;
