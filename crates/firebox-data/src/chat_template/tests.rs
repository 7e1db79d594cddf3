//! Templates render as transformers renders them, and hostile ones end.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{CHATML_TEMPLATE, ChatTemplate};
use crate::{DataError, Message};

#[derive(Deserialize)]
struct Golden {
    now: i64,
    bos_token: String,
    eos_token: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    text: Option<String>,
    generated: Option<Vec<String>>,
    error: Option<String>,
}

const TEMPLATES: [(&str, &str); 7] = [
    (
        "llama2.jinja",
        include_str!("../../tests/golden/chat/llama2.jinja"),
    ),
    (
        "llama3.jinja",
        include_str!("../../tests/golden/chat/llama3.jinja"),
    ),
    (
        "qwen2.jinja",
        include_str!("../../tests/golden/chat/qwen2.jinja"),
    ),
    (
        "smollm2.jinja",
        include_str!("../../tests/golden/chat/smollm2.jinja"),
    ),
    (
        "zephyr.jinja",
        include_str!("../../tests/golden/chat/zephyr.jinja"),
    ),
    (
        "marked.jinja",
        include_str!("../../tests/golden/chat/marked.jinja"),
    ),
    (
        "python_features.jinja",
        include_str!("../../tests/golden/chat/python_features.jinja"),
    ),
];

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>", "</s>").unwrap()
}

/// The message of the template engine under a render error.
fn cause(error: &DataError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[track_caller]
fn check_refused(source: &str) {
    let messages = [Message::user("hello"), Message::assistant("hello")];
    let result = template(source).render(&messages, false);
    let error = result.expect_err("a hostile template must end in an error");
    assert!(
        matches!(error, DataError::RenderTemplate { n_messages: 2, .. }),
        "{error}"
    );
}

#[test]
fn renderings_equal_those_of_transformers() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../tests/golden/chat_templates.json")).unwrap();
    assert_eq!(golden.cases.len(), 56);
    for case in golden.cases {
        let name = format!(
            "{}, {}, prompt {}",
            case.template, case.conversation, case.add_generation_prompt
        );
        let (_, source) = TEMPLATES
            .iter()
            .find(|(name, _)| *name == case.template)
            .unwrap();
        let mut template = ChatTemplate::new(source, &golden.bos_token, &golden.eos_token).unwrap();
        template.set_now(golden.now);
        let result = template.render(&case.messages, case.add_generation_prompt);
        match (case.text, case.error, result) {
            (Some(expected), _, Ok(found)) => assert_eq!(found, expected, "{name}"),
            (_, Some(expected), Err(found)) => {
                assert!(cause(&found).contains(&expected), "{name}: {found:?}");
            }
            (expected, _, found) => panic!("{name}: expected {expected:?}, found {found:?}"),
        }
        if template.marks_generation() && !case.add_generation_prompt {
            let (text, spans) = template.render_marked(&case.messages).unwrap();
            let words: Vec<&str> = spans.into_iter().map(|span| &text[span]).collect();
            assert_eq!(words, case.generated.unwrap_or_default(), "{name}");
        }
    }
}

#[test]
fn chatml_writes_turns_between_marks() {
    let messages = [
        Message::system("Be kind."),
        Message::user("嗨"),
        Message::assistant("Hi!"),
    ];
    let text = ChatTemplate::chatml().render(&messages, false).unwrap();
    let expected = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n嗨<|im_end|>\n\
                    <|im_start|>assistant\nHi!<|im_end|>\n";
    assert_eq!(text, expected);
    assert_eq!(ChatTemplate::chatml().source(), CHATML_TEMPLATE);
}

#[test]
fn tokenizer_config_gives_template_and_special_tokens() {
    let source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}";
    let tokens = json!({"bos_token": {"content": "<b>", "lstrip": false}, "eos_token": "<e>",
                        "pad_token": "<p>", "model_max_length": 8});
    let with_template = |template: serde_json::Value| {
        let mut config = tokens.clone();
        config["chat_template"] = template;
        ChatTemplate::from_tokenizer_config(&config)
    };
    let render = |template: Option<ChatTemplate>| {
        template
            .unwrap()
            .render(&[Message::user("x")], false)
            .unwrap()
    };
    assert!(
        ChatTemplate::from_tokenizer_config(&tokens)
            .unwrap()
            .is_none()
    );
    assert_eq!(render(with_template(json!(source)).unwrap()), "<b>x<e><p>");
    let list =
        json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": source}]);
    assert_eq!(render(with_template(list).unwrap()), "<b>x<e><p>");
    insta::assert_snapshot!(
        with_template(json!([{"name": "rag", "template": ""}])).unwrap_err(),
        @r#"read `chat_template`: expected a string or a list with a template named `default`, found a list of templates named ["rag"] (hint: pass a template of your own)"#
    );
}

#[test]
fn a_template_that_raises_says_why() {
    let template = template("{{ raise_exception('Only user turns, please') }}");
    let error = template.render(&[Message::user("x")], false).unwrap_err();
    insta::assert_snapshot!(error, @"render the chat template over 1 messages (hint: roles must be those, and in the order, that this model's template allows)");
    assert!(cause(&error).contains("Only user turns, please"));
}

#[test]
fn a_template_with_a_syntax_error_does_not_compile() {
    let error = ChatTemplate::new("{% for m in messages %}", "", "").unwrap_err();
    insta::assert_snapshot!(error, @"compile the chat template (hint: `chat_template` in tokenizer_config.json must be Jinja)");
    let long = "x".repeat(2 << 20);
    assert!(matches!(
        ChatTemplate::new(&long, "", ""),
        Err(DataError::TemplateTooLarge {
            n_bytes: 2_097_152,
            ..
        })
    ));
    let deep = "{% if true %}".repeat(10_000) + &"{% endif %}".repeat(10_000);
    assert!(ChatTemplate::new(&deep, "", "").is_err());
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(ChatTemplate::new(&deep, "", "").is_err());
}

#[test]
fn hostile_templates_end_in_an_error() {
    // Time.
    check_refused("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}");
    // Memory.
    check_refused("{{ 'x' * 999999999999 }}");
    check_refused(
        "{% set ns = namespace(x='xxxxxxxx') %}\
         {% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    );
    check_refused("{{ ('x' * 999999).replace('x', 'y' * 999999) }}");
    check_refused("{{ [1] * 99999999999 }}");
    check_refused("{{ 'x'|center(99999999999) if false else range(100000000)|list }}");
    // Depth.
    check_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    check_refused(
        "{% set ns = namespace(x=[]) %}\
         {% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
    );
    check_refused(
        "{% set ns = namespace(x=[]) %}\
         {% for i in range(200) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
    );
    check_refused(
        "{% set ns = namespace(x=[]) %}\
         {% for i in range(100000) %}{% set ns.x = [[[[[[[[ns.x]]]]]]]] %}{% endfor %}",
    );
    check_refused(
        "{% macro f(x, n) %}{{ f([[[[[[[[x]]]]]]]], n - 1) if n else x }}{% endmacro %}{{ f(1, 999) }}",
    );
    check_refused("{% for x in [[1]] recursive %}{{ loop([[[[[[[[[x]]]]]]]]]) }}{% endfor %}");
    // Files.
    check_refused("{% include '/etc/hosts' %}");
}

#[test]
fn a_deep_value_in_a_plain_template_fits_the_stack() {
    let nested = "{% set x = [[[[[[[[[[[[x]]]]]]]]]]]] %}".repeat(100);
    let source = format!("{nested}{{{{ messages[0].content }}}}");
    assert!(source.len() <= 4096 && !super::limits::may_nest_deeply(&source));
    let text = template(&source)
        .render(&[Message::user("fine")], false)
        .unwrap();
    assert_eq!(text, "fine");
}

#[test]
fn long_conversations_render() {
    let messages: Vec<Message> = (0..2000)
        .map(|i| {
            if i % 2 == 0 {
                Message::user("why? ".repeat(200))
            } else {
                Message::assistant("so")
            }
        })
        .collect();
    for (name, source) in TEMPLATES {
        let text = template(source).render(&messages, true).unwrap();
        assert!(text.len() > 20_000, "{name}");
    }
}

#[test]
fn marks_survive_content_that_contains_them() {
    let template = template(TEMPLATES[5].1);
    let content = "\u{fdd0}\u{fdd1}\u{fdd0}\u{fdd0}\u{fdd2} x";
    let messages = [Message::user(content), Message::assistant(content)];
    let (text, spans) = template.render_marked(&messages).unwrap();
    assert_eq!(text, template.render(&messages, false).unwrap());
    assert_eq!(spans.len(), 1);
    assert_eq!(&text[spans[0].clone()], format!("{content}<|im_end|>"));
}

#[test]
fn a_generation_tag_in_a_comment_marks_nothing() {
    assert!(!template("{# {% generation %} #}{ {{ '{' }}").marks_generation());
    assert!(template("{%-  generation\n+%}x{% endgeneration %}").marks_generation());
}

proptest! {
    #[test]
    fn any_template_text_renders_or_fails(source in "[{}%#a-z' ()|.\\[\\]0-9~*+-]{0,60}") {
        if let Ok(template) = ChatTemplate::new(&source, "<s>", "</s>") {
            let _ = template.render(&[Message::user("x")], true);
        }
    }
}
