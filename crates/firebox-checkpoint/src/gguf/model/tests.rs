use serde_json::json;

use super::*;
use crate::{
    Checkpoint,
    gguf::test_file::{GgufBuilder, tiny_llama},
};

fn open(builder: &GgufBuilder) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes(Path::new("m.gguf"), builder.bytes())
}

/// A llama with another number under a key.
fn with_u32(key: &str, value: u32) -> GgufBuilder {
    tiny_llama().renamed(key).u32(key, value)
}

/// A llama with another text under a key.
fn with_str(key: &str, value: &str) -> GgufBuilder {
    tiny_llama().renamed(key).str(key, value)
}

fn tokenizer(builder: &GgufBuilder) -> Result<Value, CheckpointError> {
    let bytes = open(builder)?
        .tokenizer_json()?
        .expect("there is a tokenizer");
    Ok(serde_json::from_slice(&bytes).expect("it is JSON"))
}

const WIDTH: &str = "llama.embedding_length";
const HEADS: &str = "llama.attention.head_count";
const KV_HEADS: &str = "llama.attention.head_count_kv";
const EPS: &str = "llama.attention.layer_norm_rms_epsilon";
const SCALING: &str = "llama.rope.scaling.type";

/// Models that cannot be used, by what is wrong with them.
fn bad_models() -> Vec<(&'static str, GgufBuilder)> {
    vec![
        ("no architecture", GgufBuilder::new()),
        (
            "architecture",
            with_str("general.architecture", "gpt5\u{1b}"),
        ),
        ("no layers", tiny_llama().renamed("llama.block_count")),
        ("size of 0", with_u32(WIDTH, 0)),
        ("size that is a text", with_str(WIDTH, "4")),
        ("heads that do not divide", with_u32(KV_HEADS, 3)),
        ("heads that do not divide the rows", with_u32(HEADS, 4)),
        (
            "partial rotation",
            tiny_llama().u32("llama.rope.dimension_count", 1),
        ),
        ("experts", tiny_llama().u32("llama.expert_count", 8)),
        ("rope scaling", tiny_llama().str(SCALING, "longrope")),
        (
            "rope scaling without a factor",
            tiny_llama().str(SCALING, "linear"),
        ),
        (
            "rope factors",
            tiny_llama().tensor("rope_freqs.weight", &[1], &[3.0]),
        ),
        (
            "infinite epsilon",
            tiny_llama().renamed(EPS).f32(EPS, f32::INFINITY),
        ),
        (
            "stranger among the tensors",
            tiny_llama().tensor("blk.0.ssm_a", &[1], &[0.0]),
        ),
    ]
}

/// Tokenizers that cannot be used, by what is wrong with them.
fn bad_tokenizers() -> Vec<(&'static str, GgufBuilder)> {
    const PRE: &str = "tokenizer.ggml.pre";
    const TYPES: &str = "tokenizer.ggml.token_type";
    const TOKENS: &str = "tokenizer.ggml.tokens";
    let with_tokens = |tokens: &[&str]| tiny_llama().renamed(TOKENS).strs(TOKENS, tokens);
    vec![
        (
            "id past the tokens",
            tiny_llama().u32("tokenizer.ggml.padding_token_id", 6),
        ),
        (
            "kinds of tokens",
            tiny_llama().renamed(TYPES).i32s(TYPES, &[1]),
        ),
        ("token twice", with_tokens(&["a", "b", "a", "c", "d", "e"])),
        (
            "more tokens than rows",
            with_tokens(&["a", "b", "c", "d", "e", "f", "g"]),
        ),
        ("no merges", tiny_llama().renamed("tokenizer.ggml.merges")),
        ("sentencepiece", with_str("tokenizer.ggml.model", "llama")),
        ("pre-tokenizer", with_str(PRE, "default")),
        ("no pre-tokenizer", tiny_llama().renamed(PRE)),
    ]
}

#[test]
fn what_cannot_be_used_is_named_with_its_key() {
    let texts: Vec<String> = bad_models()
        .into_iter()
        .chain(bad_tokenizers())
        .map(|(case, builder)| {
            let error = tokenizer(&builder).expect_err(case);
            format!("{case}\n    {error}")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn query_rows_are_reordered_and_value_rows_are_not() {
    let checkpoint = open(&tiny_llama()).unwrap();
    // Heads of 2 rows: nothing to interleave. One head of 4 rows: rows 0 2 1 3.
    let one_head = with_u32(HEADS, 1);
    let rows = |checkpoint: &Checkpoint| {
        let query = checkpoint
            .tensor("model.layers.0.self_attn.q_proj.weight")
            .unwrap();
        query.data.chunks(4).map(|row| row[0]).collect::<Vec<f32>>()
    };
    assert_eq!(rows(&checkpoint), [0.0, 0.5, 1.0, 1.5]);
    assert_eq!(rows(&open(&one_head).unwrap()), [0.0, 1.0, 0.5, 1.5]);
}

#[test]
fn blocks_hold_the_values_of_their_tensor_in_the_same_order() {
    for kind in GgmlType::ALL {
        let n_bytes = 4 * 256 / kind.block_len() * kind.block_bytes();
        let bytes: Vec<u8> = (0..n_bytes).map(|i| (i * i / 7 + i) as u8).collect();
        let query = "model.layers.1.self_attn.q_proj.weight";
        // One head of 4 rows, two of which change places.
        let builder = with_u32(HEADS, 1).renamed(KV_HEADS);
        let builder = builder.stored("blk.1.attn_q.weight", &[4, 256], kind.id(), &bytes);
        let checkpoint = open(&builder).unwrap();
        let blocks = checkpoint.blocks(query).unwrap();
        assert_eq!(blocks.is_some(), kind.packed_format().is_some(), "{kind}");
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        if let Some(blocks) = blocks {
            let values = checkpoint.tensor(query).unwrap().data;
            assert_eq!(bits(blocks.unpack()), bits(values), "{kind}");
        }
    }
}

#[test]
fn missing_keys_have_llama_cpps_defaults() {
    let builder = with_u32(HEADS, 1).renamed(KV_HEADS);
    let config = open(&builder).unwrap().config().clone();
    assert_eq!(config["num_key_value_heads"], json!(1));
    assert_eq!(config["rope_theta"], json!(10_000.0));
    assert_eq!(config["rope_scaling"], Value::Null);
    assert_eq!(config["vocab_size"], json!(6));
    assert_eq!(config["tie_word_embeddings"], json!(false));
}

#[test]
fn rope_scaling_of_the_metadata_is_kept() {
    let linear = tiny_llama()
        .str("llama.rope.scaling.type", "linear")
        .f32("llama.rope.scaling.factor", 2.5);
    let config = open(&linear).unwrap().config().clone();
    assert_eq!(
        config["rope_scaling"],
        json!({"rope_type": "linear", "factor": 2.5})
    );
}

#[test]
fn both_end_tokens_end_a_text() {
    let checkpoint = open(&tiny_llama().u32("tokenizer.ggml.eot_token_id", 4)).unwrap();
    let expected = json!({"bos_token_id": 0, "eos_token_id": [1, 4], "do_sample": false});
    assert_eq!(checkpoint.generation_config(), Some(&expected));
}

#[test]
fn first_token_is_added_only_if_the_file_asks() {
    assert_eq!(
        tokenizer(&tiny_llama()).unwrap()["post_processor"],
        Value::Null
    );
    let asks = tokenizer(&tiny_llama().bool("tokenizer.ggml.add_bos_token", true)).unwrap();
    assert_eq!(asks["post_processor"]["type"], "TemplateProcessing");
    assert_eq!(
        asks["post_processor"]["special_tokens"]["<s>"]["ids"],
        json!([0])
    );
}

#[test]
fn user_defined_tokens_are_added_but_not_special() {
    let added = tokenizer(&tiny_llama()).unwrap()["added_tokens"].clone();
    let special: Vec<(u64, bool)> = added
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            (
                token["id"].as_u64().unwrap(),
                token["special"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(special, [(0, true), (1, true), (5, false)]);
}

#[test]
fn file_without_a_tokenizer_has_none() {
    let bare = [
        "model",
        "tokens",
        "pre",
        "token_type",
        "merges",
        "bos_token_id",
        "eos_token_id",
    ];
    let builder = bare.iter().fold(tiny_llama(), |builder, key| {
        builder.renamed(&format!("tokenizer.ggml.{key}"))
    });
    let checkpoint = open(&builder).unwrap();
    assert_eq!(checkpoint.tokenizer_json().unwrap(), None);
    assert_eq!(checkpoint.tokenizer_config(), None);
    assert_eq!(checkpoint.chat_template(), None);
}
