//! Each format is found by its fields, read, and learned where it should be.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    ChatTemplate, Example, IGNORE_LABEL, Instruction, InstructionError, InstructionFormat, Message,
    Preference, Record, Tokenizer, encode_instruction, encode_preference, train_byte_level_bpe,
};

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn check(format: InstructionFormat, line: Value, expected: &[(&str, &str)]) {
    let fields = fields(line);
    assert_eq!(InstructionFormat::detect(&fields), Ok(format));
    let Instruction::Chat { messages, .. } = format.parse(&fields).unwrap() else {
        panic!("expected a conversation");
    };
    let found: Vec<(&str, &str)> = messages
        .iter()
        .map(|it| (it.role.as_str(), it.content.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn error(line: Value) -> String {
    let fields = fields(line);
    let parsed = InstructionFormat::detect(&fields).and_then(|format| format.parse(&fields));
    parsed.unwrap_err().to_string()
}

#[test]
fn messages_are_read() {
    let parts = json!([{"type": "text", "text": "Yes"}, {"type": "text", "text": "."}]);
    check(
        InstructionFormat::Messages,
        json!({"id": 7, "prompt": "Hot?", "messages": [
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": "Hot?"},
            {"role": "assistant", "content": parts},
        ]}),
        &[
            ("developer", "Be short."),
            ("user", "Hot?"),
            ("assistant", "Yes."),
        ],
    );
}

#[test]
fn share_gpt_is_read() {
    check(
        InstructionFormat::ShareGpt,
        json!({"system": "Be short.", "conversations": [
            {"from": "human", "value": "Hot?"},
            {"from": "gpt", "value": "Yes.", "weight": null},
            {"role": "user", "content": "Cold?"},
            {"from": "assistant", "value": "No."},
        ]}),
        &[
            ("system", "Be short."),
            ("user", "Hot?"),
            ("assistant", "Yes."),
            ("user", "Cold?"),
            ("assistant", "No."),
        ],
    );
}

#[test]
fn alpaca_is_read() {
    let alpaca = InstructionFormat::Alpaca;
    check(
        alpaca,
        json!({"instruction": "Translate.", "input": "feu", "output": "fire"}),
        &[("user", "Translate.\nfeu"), ("assistant", "fire")],
    );
    check(
        alpaca,
        json!({"instruction": "Hi.", "input": "", "output": "Hello.", "system": "Be kind.",
               "history": [["Hot?", "Yes."]]}),
        &[
            ("system", "Be kind."),
            ("user", "Hot?"),
            ("assistant", "Yes."),
            ("user", "Hi."),
            ("assistant", "Hello."),
        ],
    );
    check(
        alpaca,
        json!({"instruction": "Sum up.", "context": "A text.", "response": "Short.", "category": "x"}),
        &[("user", "Sum up.\nA text."), ("assistant", "Short.")],
    );
    check(
        alpaca,
        json!({"instruction": "", "input": "Only this.", "output": "Yes."}),
        &[("user", "Only this."), ("assistant", "Yes.")],
    );
}

#[test]
fn prompts_and_completions_are_read() {
    let format = InstructionFormat::PromptCompletion;
    let line = fields(json!({"prompt": "Fire is", "completion": " hot."}));
    assert_eq!(InstructionFormat::detect(&line), Ok(format));
    let expected = Instruction::Completion {
        prompt: "Fire is".into(),
        completion: " hot.".into(),
    };
    assert_eq!(format.parse(&line), Ok(expected));
    let line = fields(json!({
        "prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
        "completion": [{"role": "assistant", "content": "d"}],
    }));
    let parsed = format.parse(&line).unwrap();
    assert!(
        matches!(&parsed, Instruction::Chat { messages, n_prompt_messages: 3 } if messages.len() == 4)
    );
    assert_eq!(parsed.into_record(), None, "a record would learn `b`, too");
}

#[test]
fn preferences_are_read_however_they_are_written() {
    let expected = Preference {
        prompt: vec![Message::user("Hot?")],
        chosen: vec![Message::assistant("Yes.")],
        rejected: vec![Message::assistant("No.")],
    };
    let (user, yes, no) = (
        json!({"role": "user", "content": "Hot?"}),
        json!({"role": "assistant", "content": "Yes."}),
        json!({"from": "gpt", "value": "No."}),
    );
    for line in [
        json!({"prompt": "Hot?", "chosen": "Yes.", "rejected": "No."}),
        json!({"prompt": [user], "chosen": [yes], "rejected": [no]}),
        json!({"prompt": "Hot?", "chosen": [yes], "rejected": "No."}),
        json!({"chosen": [user, yes], "rejected": [user, no], "score_chosen": 9.0}),
        json!({"prompt": "Hot?", "chosen": [user, yes], "rejected": [user, no]}),
    ] {
        let fields = fields(line);
        assert_eq!(
            InstructionFormat::detect(&fields),
            Ok(InstructionFormat::Preference)
        );
        let parsed = InstructionFormat::Preference.parse(&fields);
        assert_eq!(parsed, Ok(Instruction::Preference(expected.clone())));
    }
    // Answers that are alike are no prompt.
    let alike = fields(json!({"prompt": "Hot?", "chosen": [user, yes], "rejected": [user, yes]}));
    let Ok(Instruction::Preference(alike)) = InstructionFormat::Preference.parse(&alike) else {
        panic!("expected a preference");
    };
    assert_eq!(
        (alike.prompt.len(), alike.chosen.len(), alike.rejected.len()),
        (1, 1, 1)
    );
}

#[test]
fn errors_say_where_and_what() {
    insta::assert_snapshot!(error(json!({"text": "x", "note": null})), @"detect the instruction format: expected the fields `messages`, `conversations`, `instruction` and `output`, `prompt` and `completion`, or `chosen` and `rejected`, found `text`, `note` (null) (hint: rename the fields)");
    insta::assert_snapshot!(error(json!({"messages": [], "conversations": []})), @"detect the instruction format: expected the fields of one, found those of `messages`, `share-gpt` in `messages`, `conversations` (hint: say which format it is)");
    insta::assert_snapshot!(error(json!({"messages": []})), @"read a line of format `messages`: expected a list of messages in `messages`, found an empty list (hint: correct or remove the line)");
    insta::assert_snapshot!(error(json!({"messages": [{"role": "user"}]})), @"read a line of format `messages`: expected a field `messages[0].content`, found `role` (hint: is it another format?)");
    insta::assert_snapshot!(error(json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]})), @"read a line of format `messages`: expected a text part in `messages[0].content[0]`, found an object with `type` (hint: correct or remove the line)");
    insta::assert_snapshot!(error(json!({"conversations": [{"from": "observation", "value": "x"}]})), @"read a line of format `share-gpt`: expected `human`, `gpt` or `system` in `conversations[0].from`, found `observation` (hint: rename it; turns of tools cannot be learned from)");
    insta::assert_snapshot!(error(json!({"instruction": 3, "output": "x"})), @"read a line of format `alpaca`: expected a text in `instruction`, found `3` (hint: correct or remove the line)");
    insta::assert_snapshot!(error(json!({"instruction": "x", "output": "y", "history": [["a"]]})), @"read a line of format `alpaca`: expected a question and an answer in `history[0]`, found a list of 1 (hint: correct or remove the line)");
    insta::assert_snapshot!(error(json!({"chosen": "a", "rejected": "b"})), @"read a line of format `preference`: expected a list of messages, as there is no `prompt`, in `chosen`, found the text `a` (hint: correct or remove the line)");
    insta::assert_snapshot!("alpacca".parse::<InstructionFormat>().unwrap_err(), @"choose an instruction format: expected one of `messages`, `share-gpt`, `alpaca`, `prompt-completion`, `preference`, found `alpacca`");
}

#[test]
fn names_are_the_same_everywhere() {
    for name in [
        "messages",
        "share-gpt",
        "alpaca",
        "prompt-completion",
        "preference",
    ] {
        let format: InstructionFormat = name.parse().unwrap();
        assert_eq!(format.to_string(), name);
        assert_eq!(serde_json::to_value(format).unwrap(), name);
    }
}

fn tokenizer() -> Tokenizer {
    let special_tokens = ["<s>", "<|im_start|>", "<|im_end|>"];
    train_byte_level_bpe(["Is fire hot? Yes, it is."], 300, &special_tokens).unwrap()
}

fn learned(tokenizer: &Tokenizer, example: &Example) -> String {
    assert_eq!(example.input_ids.len(), example.labels.len());
    let ids: Vec<u32> = example
        .labels
        .iter()
        .filter_map(|&label| u32::try_from(label).ok())
        .collect();
    tokenizer.decode(&ids, false)
}

#[test]
fn only_what_follows_the_prompt_is_learned() {
    const MARKED: &str = include_str!("../../tests/golden/chat/marked.jinja");
    let tokenizer = tokenizer().with_document_prefix(vec![0]);
    let messages = vec![
        Message::user("a"),
        Message::assistant("given"),
        Message::user("c"),
        Message::assistant("learned"),
    ];
    for template in [
        ChatTemplate::chatml(),
        ChatTemplate::new(MARKED, "", "").unwrap(),
    ] {
        for (n_prompt_messages, expected) in [
            (0, "given<|im_end|>learned<|im_end|>"),
            (1, "given<|im_end|>learned<|im_end|>"),
            (2, "learned<|im_end|>"),
            (3, "learned<|im_end|>"),
        ] {
            let chat = Instruction::Chat {
                messages: messages.clone(),
                n_prompt_messages,
            };
            let example = encode_instruction(&tokenizer, Some(&template), None, &chat).unwrap();
            assert_eq!(learned(&tokenizer, &example), expected);
        }
        let preference = Preference {
            prompt: messages[..3].to_vec(),
            chosen: vec![Message::assistant("better")],
            rejected: vec![Message::assistant("worse")],
        };
        let pair = encode_preference(&tokenizer, &template, &preference).unwrap();
        assert_eq!(learned(&tokenizer, &pair.chosen), "better<|im_end|>");
        assert_eq!(learned(&tokenizer, &pair.rejected), "worse<|im_end|>");
        let chosen = Instruction::Preference(preference);
        let example = encode_instruction(&tokenizer, Some(&template), None, &chosen).unwrap();
        assert_eq!(example, pair.chosen);
    }
    let completion = Instruction::Completion {
        prompt: "Is fire".into(),
        completion: " hot?".into(),
    };
    let example = encode_instruction(&tokenizer, None, Some(2), &completion).unwrap();
    assert_eq!(learned(&tokenizer, &example), " hot?<|im_end|>");
    assert_eq!(
        tokenizer.decode(&example.input_ids, false),
        "<s>Is fire hot?<|im_end|>"
    );
    assert_eq!(example.labels[0], IGNORE_LABEL);
}

#[test]
fn a_chat_is_also_a_record() {
    let fields = fields(json!({"messages": [{"role": "user", "content": "x"}]}));
    let parsed = InstructionFormat::Messages.parse(&fields).unwrap();
    assert_eq!(
        parsed.into_record(),
        Some(Record::Chat(vec![Message::user("x")]))
    );
}

/// Any JSON, of the names that the formats look for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        Just(Value::from("user")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop::sample::select(vec![
            "messages",
            "conversations",
            "instruction",
            "input",
            "output",
            "prompt",
            "completion",
            "chosen",
            "rejected",
            "role",
            "content",
            "from",
            "value",
            "history",
            "system",
            "text",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        let Value::Object(fields) = value else { return Ok(()) };
        if let Ok(format) = InstructionFormat::detect(&fields) {
            let parsed = format.parse(&fields);
            if let Err(InstructionError::NoFormat { .. }) = parsed {
                prop_assert!(false, "parsing detects nothing");
            }
        }
        for name in ["messages", "share-gpt", "alpaca", "prompt-completion", "preference"] {
            let format: InstructionFormat = name.parse().unwrap();
            if let Ok(Instruction::Preference(preference)) = format.parse(&fields) {
                prop_assert!(!preference.prompt.is_empty() && !preference.chosen.is_empty());
                prop_assert!(!preference.rejected.is_empty());
            }
        }
    }
}
