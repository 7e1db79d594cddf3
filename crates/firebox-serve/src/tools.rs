//! Functions that a model may call: told to it in words, and its calls made to parse by a grammar.
//!
//! What chat templates write for functions differs from model to model, and many write nothing. Here
//! every model reads the same instructions and writes a call between `<tool_call>` and `</tool_call>`,
//! as Hermes and Qwen models are trained to.
//!
//! Source: <https://github.com/NousResearch/Hermes-Function-Calling>.

use firebox_engine::Grammar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    error::{ApiError, clipped},
    sampling::wrong,
};

/// What a call begins with.
pub(crate) const OPEN: &str = "<tool_call>\n";
/// What it ends with. Behind it JSON has no such end: a string has no line break.
pub(crate) const CLOSE: &str = "\n</tool_call>";

/// OpenAI's bounds.
const MAX_TOOLS: usize = 128;
const MAX_NAME_BYTES: usize = 64;

/// What can be called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    #[serde(rename = "type")]
    _kind: Kind,
    function: Function,
}

/// The only kind of tool there is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ToolKind)]
pub(crate) enum Kind {
    Function,
}

/// A function as the model is told of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    /// A name that no other function of the request has.
    #[schema(pattern = "^[a-zA-Z0-9_-]{1,64}$")]
    name: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// JSON schema of its arguments; any object unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Every schema is followed strictly here.
    #[serde(skip_serializing)]
    #[expect(dead_code, reason = "it changes nothing")]
    strict: Option<bool>,
}

/// Whether functions are called, or which one is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected `none`, `auto`, `required` or `{\"type\":\"function\",\"function\":{\"name\":…}}`"
)]
pub(crate) enum ToolChoice {
    Mode(Mode),
    Named(NamedTool),
}

/// No function, the model's choice, or at least one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ToolMode)]
pub(crate) enum Mode {
    None,
    Auto,
    Required,
}

/// A function that is to be called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedTool {
    #[serde(rename = "type")]
    _kind: Kind,
    function: FunctionName,
}

/// Its name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionName {
    /// One of `tools` has it.
    name: String,
}

/// One call, as a model wrote it or as a client sends it back.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

impl Call {
    pub(crate) fn text(&self) -> String {
        format!("{OPEN}{}{CLOSE}", json!(self))
    }
}

/// The functions that may be called in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    functions: Vec<Function>,
    is_required: bool,
    /// Whether an answer may have several calls.
    parallel: bool,
}

impl Tools {
    /// None where nothing may be called.
    pub(crate) fn new(
        tools: Vec<Tool>,
        choice: Option<ToolChoice>,
        parallel: Option<bool>,
    ) -> Result<Option<Self>, ApiError> {
        let mut functions: Vec<Function> = Vec::new();
        for Tool { function, .. } in tools {
            check(&function, &functions)?;
            functions.push(function);
        }
        if functions.len() > MAX_TOOLS {
            let expected = format!("at most {MAX_TOOLS} functions");
            return Err(wrong("tools", &expected, &functions.len().to_string()));
        }
        let mut mode = Mode::Auto;
        match choice {
            None => {}
            Some(ToolChoice::Mode(chosen)) => mode = chosen,
            Some(ToolChoice::Named(NamedTool { function, .. })) => {
                functions.retain(|one| one.name == function.name);
                mode = Mode::Required;
            }
        }
        match (mode, functions.is_empty()) {
            (Mode::None, _) | (Mode::Auto, true) => Ok(None),
            (Mode::Required, true) => {
                let expected = "a function that is among `tools`";
                Err(wrong("tool_choice", expected, "none of that name"))
            }
            (mode, false) => Ok(Some(Self {
                functions,
                is_required: mode == Mode::Required,
                parallel: parallel.unwrap_or(true),
            })),
        }
    }

    /// What the model is told.
    pub(crate) fn instructions(&self) -> String {
        let listed = self.functions.iter().map(|one| json!(one).to_string());
        let listed = listed.collect::<Vec<_>>().join("\n");
        let when = match self.is_required {
            true => "Answer with a call of one of them",
            false => "Where one of them helps, answer with a call of it",
        };
        let example = r#"{"name": "…", "arguments": {…}}"#;
        format!(
            "You can call functions:\n{listed}\n{when}, and nothing else:\n{OPEN}{example}{CLOSE}"
        )
    }

    /// Calls that parse and whose arguments their schemas allow; or, unless one is required, any text
    /// that does not begin like a call.
    pub(crate) fn grammar(&self) -> Grammar {
        let of_function = |one: &Function| {
            let any = || json!({"type": "object"});
            json!({
                "type": "object",
                "properties": {
                    "name": {"const": one.name},
                    "arguments": one.parameters.clone().unwrap_or_else(any),
                },
                "required": ["name", "arguments"],
                "additionalProperties": false,
            })
        };
        let rules = (0..).zip(&self.functions).map(|(i, one)| {
            let mut schema = of_function(one);
            schema["x-guidance"] = json!({"whitespace_flexible": false});
            format!("body_{i}: %json {schema}")
        });
        let bodies = (0..self.functions.len()).map(|i| format!("body_{i}"));
        let [open, close] = [OPEN, CLOSE].map(|text| json!(text).to_string());
        let start = match self.is_required {
            true => "start: calls",
            false => "start: calls | TEXT",
        };
        let calls = match self.parallel {
            true => r#"calls: call ("\n" call)*"#,
            false => "calls: call",
        };
        let lark = [
            start.to_owned(),
            calls.to_owned(),
            format!("call: {open} body {close}"),
            format!("body: {}", bodies.collect::<Vec<_>>().join(" | ")),
            rules.collect::<Vec<_>>().join("\n"),
            r"TEXT: /([^<]|<[^t])(.|\n)*/".to_owned(),
        ];
        Grammar::Lark(lark.join("\n"))
    }
}

fn check(function: &Function, before: &[Function]) -> Result<(), ApiError> {
    let name = &function.name;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
    if !is_name || before.iter().any(|one| one.name == *name) {
        let expected = "names of their own, of at most 64 letters, digits, `_` and `-`";
        return Err(wrong("tools", expected, &format!("`{}`", clipped(name))));
    }
    match &function.parameters {
        None | Some(Value::Object(_)) => Ok(()),
        Some(_) => Err(wrong(
            "tools",
            "a JSON schema as `parameters`",
            "something else",
        )),
    }
}
