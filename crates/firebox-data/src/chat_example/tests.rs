//! Loss falls on exactly the assistant's words and the end mark.

use proptest::prelude::*;

use crate::{
    ChatTemplate, DataError, Example, IGNORE_LABEL, Message, Order, PackedBatches, PackedConfig,
    Record, TextRecord, Tokenizer, Truncation, encode_chat, encode_chat_after, encode_record,
    packed_batches, train_byte_level_bpe,
};

const SPECIAL_TOKENS: [&str; 8] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|endoftext|>",
];

const LLAMA2: &str = include_str!("../../tests/golden/chat/llama2.jinja");
const LLAMA3: &str = include_str!("../../tests/golden/chat/llama3.jinja");
const QWEN2: &str = include_str!("../../tests/golden/chat/qwen2.jinja");
const SMOLLM2: &str = include_str!("../../tests/golden/chat/smollm2.jinja");
const ZEPHYR: &str = include_str!("../../tests/golden/chat/zephyr.jinja");
const MARKED: &str = include_str!("../../tests/golden/chat/marked.jinja");

fn tokenizer() -> Tokenizer {
    let texts = [
        "Is fire hot? Yes, it is.\n\n\n  \n",
        "assistant\n user\n  冷的。冰呢？",
    ];
    train_byte_level_bpe(texts, 340, &SPECIAL_TOKENS).unwrap()
}

fn conversation() -> [Message; 4] {
    [
        Message::user("Is fire hot?"),
        Message::assistant("Yes, it is."),
        Message::user("冰呢？"),
        Message::assistant("冷的 🧊。"),
    ]
}

/// The text of each run of tokens with loss.
fn learned(tokenizer: &Tokenizer, example: &Example) -> Vec<String> {
    assert_eq!(example.input_ids.len(), example.labels.len());
    let pairs: Vec<_> = example.input_ids.iter().zip(&example.labels).collect();
    let is_learned = |(&id, &label): (&u32, &i64)| {
        assert!(
            label == IGNORE_LABEL || label == i64::from(id),
            "a label is its own token"
        );
        label != IGNORE_LABEL
    };
    pairs
        .chunk_by(|&a, &b| is_learned(a) == is_learned(b))
        .filter(|run| is_learned(run[0]))
        .map(|run| tokenizer.decode(&run.iter().map(|pair| *pair.0).collect::<Vec<_>>(), false))
        .collect()
}

#[track_caller]
fn check(source: &str, messages: &[Message], expected: &[&str]) {
    let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
    let tokenizer = tokenizer();
    let example = encode_chat(&tokenizer, &template, messages).unwrap();
    assert_eq!(learned(&tokenizer, &example), expected);
    let text = template.render(messages, false).unwrap();
    assert_eq!(tokenizer.decode(&example.input_ids, false), text);
    assert_eq!(example.input_ids, tokenizer.encode(&text).unwrap());
}

#[test]
fn loss_is_on_the_assistant_and_its_end_mark() {
    let messages = conversation();
    let chatml = ["Yes, it is.<|im_end|>", "冷的 🧊。<|im_end|>"];
    check(crate::CHATML_TEMPLATE, &messages, &chatml);
    check(SMOLLM2, &messages, &chatml);
    check(QWEN2, &messages, &chatml);
    check(MARKED, &messages, &chatml);
    check(ZEPHYR, &messages, &["Yes, it is.</s>", "冷的 🧊。</s>"]);
    check(
        LLAMA3,
        &messages,
        &["Yes, it is.<|eot_id|>", "冷的 🧊。<|eot_id|>"],
    );
    // The blank after `[/INST]` is the model's to write: its prompt ends before it.
    check(LLAMA2, &messages, &[" Yes, it is. </s>", " 冷的 🧊。 </s>"]);
}

#[test]
fn a_conversation_may_begin_with_the_assistant() {
    let messages = [Message::assistant("Hello."), Message::user("Hello?")];
    check(crate::CHATML_TEMPLATE, &messages, &["Hello.<|im_end|>"]);
    check(QWEN2, &messages, &["Hello.<|im_end|>"]);
    check(MARKED, &messages, &["Hello.<|im_end|>"]);
    check(ZEPHYR, &messages, &["Hello.</s>"]);
    check(LLAMA3, &messages, &["Hello.<|eot_id|>"]);
}

#[test]
fn a_header_without_generation_prompt_has_no_loss() {
    let source = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\n\n' }}{% endfor %}";
    // The line breaks end the turn here: there is no other mark.
    check(
        source,
        &conversation(),
        &[" Yes, it is.\n\n", " 冷的 🧊。\n\n"],
    );
}

#[test]
fn words_that_look_like_the_template_do_not_confuse_it() {
    let messages = [Message::user("assistant"), Message::assistant("assistant")];
    check(crate::CHATML_TEMPLATE, &messages, &["assistant<|im_end|>"]);
    check(LLAMA2, &messages, &[" assistant </s>"]);
    let messages = [Message::user("s"), Message::assistant("")];
    check(crate::CHATML_TEMPLATE, &messages, &["<|im_end|>"]);
}

#[test]
fn a_token_across_the_bound_is_encoded_apart() {
    let tokenizer = tokenizer();
    let words = "\n\nYes";
    let across = tokenizer.encode(&format!("assistant\n{words}")).unwrap();
    let prompt = tokenizer.encode("assistant\n").unwrap();
    assert!(
        !across.starts_with(&prompt),
        "the tokenizer must join the line breaks"
    );

    let messages = [Message::user("x"), Message::assistant(words)];
    let template = ChatTemplate::chatml();
    let example = encode_chat(&tokenizer, &template, &messages).unwrap();
    assert_eq!(learned(&tokenizer, &example), ["\n\nYes<|im_end|>"]);
    let prompt = tokenizer
        .encode(&template.render(&messages[..1], true).unwrap())
        .unwrap();
    assert!(example.input_ids.starts_with(&prompt));
}

#[test]
fn a_template_that_rewrites_history_is_refused() {
    // Drops what earlier assistants thought, as reasoning models' templates do.
    let source = "{% for m in messages %}{{ m.role ~ ': ' }}\
                  {{ m.content if loop.last else m.content.split('</think>')[-1] }}\n{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let messages = [
        Message::user("x"),
        Message::assistant("<think>hm</think>y"),
        Message::user("z"),
        Message::assistant("w"),
    ];
    let error = encode_chat(&tokenizer(), &template, &messages).unwrap_err();
    insta::assert_snapshot!(error, @"find the assistant's words in message 1: expected the template to render a conversation as the start of a longer one, found different text (hint: mark the words with {% generation %} .. {% endgeneration %} in the template)");
    assert!(encode_chat(&tokenizer(), &template, &messages[..2]).is_ok());
}

#[test]
fn a_conversation_without_assistant_is_refused() {
    for source in [crate::CHATML_TEMPLATE, MARKED] {
        let template = ChatTemplate::new(source, "", "").unwrap();
        let error = encode_chat(&tokenizer(), &template, &[Message::user("x")]).unwrap_err();
        assert!(
            matches!(error, DataError::NoAssistantTurn { n_messages: 1 }),
            "{error}"
        );
    }
}

#[test]
fn a_record_is_encoded_by_its_kind() {
    let tokenizer = tokenizer();
    let text = TextRecord {
        title: Some("T".into()),
        text: "x y".into(),
        ..TextRecord::default()
    };
    let example = encode_record(&tokenizer, None, &Record::Text(text)).unwrap();
    assert_eq!(tokenizer.decode(&example.input_ids, false), "T\nx y");
    assert_eq!(learned(&tokenizer, &example), ["T\nx y"]);
    assert_eq!(example.n_loss_tokens(), example.input_ids.len() - 1);

    let chat = Record::Chat(conversation().to_vec());
    assert!(matches!(
        encode_record(&tokenizer, None, &chat),
        Err(DataError::NoTemplate)
    ));
    let template = ChatTemplate::chatml();
    assert!(encode_record(&tokenizer, Some(&template), &chat).is_ok());
}

/// A conversation of three turns behind a system prompt, and what each real template makes of the
/// assistant's words: their end mark, and the blank that Llama 2's model writes before them.
fn real_templates() -> [(&'static str, [&'static str; 3]); 7] {
    let chatml = [
        "Yes, it is.<|im_end|>",
        "冷的 🧊。<|im_end|>",
        "No.\n\nNone.<|im_end|>",
    ];
    let llama3 = [
        "Yes, it is.<|eot_id|>",
        "冷的 🧊。<|eot_id|>",
        "No.\n\nNone.<|eot_id|>",
    ];
    let llama2 = [" Yes, it is. </s>", " 冷的 🧊。 </s>", " No.\n\nNone. </s>"];
    let zephyr = ["Yes, it is.</s>", "冷的 🧊。</s>", "No.\n\nNone.</s>"];
    [
        (crate::CHATML_TEMPLATE, chatml),
        (SMOLLM2, chatml),
        (QWEN2, chatml),
        (MARKED, chatml),
        (LLAMA3, llama3),
        (LLAMA2, llama2),
        (ZEPHYR, zephyr),
    ]
}

fn long_conversation() -> Vec<Message> {
    let mut messages = vec![Message::system("Say yes or no.")];
    messages.extend(conversation());
    messages.extend([
        Message::user("Is ice hot?\nassistant"),
        Message::assistant("No.\n\nNone."),
    ]);
    messages
}

#[test]
fn a_system_prompt_has_no_loss_in_any_real_template() {
    for (source, expected) in real_templates() {
        check(source, &long_conversation(), &expected);
        // Turns that are given are not learned.
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        let tokenizer = tokenizer();
        for (n_prompt, n_given) in [(2, 0), (3, 1), (4, 1), (6, 2)] {
            let messages = long_conversation();
            let example = encode_chat_after(&tokenizer, &template, &messages, n_prompt).unwrap();
            assert_eq!(learned(&tokenizer, &example), expected[n_given..]);
        }
        let error = encode_chat_after(&tokenizer, &template, &long_conversation(), 7);
        assert!(matches!(error, Err(DataError::NoAssistantTurn { .. })));
    }
}

#[test]
fn masks_survive_packing_and_truncation() {
    let tokenizer = tokenizer();
    let mut examples = Vec::new();
    let mut expected = Vec::new();
    for (source, words) in real_templates() {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        examples.push(encode_chat(&tokenizer, &template, &long_conversation()).unwrap());
        expected.extend(words);
    }
    let longest = examples.iter().map(|it| it.input_ids.len()).max().unwrap();
    let n_loss_tokens: usize = examples.iter().map(Example::n_loss_tokens).sum();
    let config = |seq_len, truncation| PackedConfig {
        seq_len,
        batch_size: 2,
        pad_id: 0,
        truncation,
        order: Order::Shuffled { seed: 1 },
    };
    let learned_rows = |batches: &PackedBatches| -> Vec<String> {
        let steps = 0..batches.n_batches() as u64;
        let batches = steps.map(|step| batches.batch(step));
        let row = |(input_ids, labels)| learned(&tokenizer, &Example { input_ids, labels });
        batches
            .flat_map(|it| it.input_ids.into_iter().zip(it.labels))
            .flat_map(row)
            .collect()
    };

    // Whole conversations, several a row: the same words as before.
    let whole = packed_batches(examples.clone(), &config(2 * longest, Truncation::Drop)).unwrap();
    assert!(whole.n_rows() < examples.len());
    let mut found = learned_rows(&whole);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(whole.statistics().n_loss_tokens, n_loss_tokens);

    // Split into windows that overlap: each token with loss still has it once.
    let windows = Truncation::Windows { overlap_tokens: 4 };
    let split = packed_batches(examples.clone(), &config(40, windows)).unwrap();
    let steps = 0..split.n_batches() as u64;
    let learned_ids = |labels: Vec<i64>| labels.into_iter().filter(|&label| label != IGNORE_LABEL);
    let mut found: Vec<i64> = steps
        .flat_map(|step| learned_ids(split.batch(step).labels.concat()))
        .collect();
    let mut all: Vec<i64> = examples
        .iter()
        .flat_map(|example| learned_ids(example.labels.clone()))
        .collect();
    found.sort_unstable();
    all.sort_unstable();
    assert_eq!(found, all);

    // Cut at either end: what is left is a part of the assistant's words, or all of them.
    for truncation in [Truncation::KeepStart, Truncation::KeepEnd] {
        let cut = packed_batches(examples.clone(), &config(60, truncation)).unwrap();
        assert!(cut.truncation().n_lost_loss_tokens > 0);
        for words in learned_rows(&cut) {
            let words = words.trim_matches('\u{fffd}'); // A cut character.
            assert!(
                expected.iter().any(|whole| whole.contains(words)),
                "{words:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_words_are_learned_whole(
        contents in prop::collection::vec("[\\PC \n\t]{0,12}", 1..5),
        is_marked: bool,
    ) {
        let messages: Vec<Message> = contents
            .iter()
            .enumerate()
            .map(|(index, content)| match index % 2 {
                0 => Message::assistant(content),
                _ => Message::user(content),
            })
            .collect();
        let tokenizer = tokenizer();
        let source = if is_marked { MARKED } else { crate::CHATML_TEMPLATE };
        let template = ChatTemplate::new(source, "", "").unwrap();
        let example = encode_chat(&tokenizer, &template, &messages).unwrap();
        let expected: Vec<String> =
            contents.iter().step_by(2).map(|words| format!("{words}<|im_end|>")).collect();
        prop_assert_eq!(learned(&tokenizer, &example), expected);
        let text = template.render(&messages, false).unwrap();
        prop_assert_eq!(tokenizer.decode(&example.input_ids, false), text);
    }
}
