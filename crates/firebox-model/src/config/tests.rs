use serde_json::json;

use super::*;

fn smollm2() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "tie_word_embeddings": true, "eos_token_id": 2, "bos_token_id": 1, "hidden_act": "silu"
    })
}

fn message(change: impl FnOnce(&mut Value)) -> String {
    let mut config = smollm2();
    change(&mut config);
    LlamaConfig::from_hf(&config)
        .expect_err("a bad config")
        .to_string()
}

#[test]
fn smollm2_has_its_135_million_parameters() {
    let config = LlamaConfig::from_hf(&smollm2()).unwrap();
    assert_eq!(config.n_params(), 134_515_008);
    assert_eq!((config.head_dim, config.eos_ids.as_slice()), (64, &[2][..]));
}

#[test]
fn a_written_config_reads_back_the_same() {
    let mut config = LlamaConfig::from_hf(&smollm2()).unwrap();
    config.rope_scaling = Some(RopeScaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_seq_len: 8192,
    });
    assert_eq!(LlamaConfig::from_hf(&config.to_hf()).unwrap(), config);
    config.qkv_bias = true;
    assert_eq!(LlamaConfig::from_hf(&config.to_hf()).unwrap(), config);
}

#[test]
fn a_window_is_mistrals_and_shorter_than_the_context() {
    let read = |kind: &str, window: Value| {
        let mut config = smollm2();
        config["model_type"] = json!(kind);
        config["sliding_window"] = window;
        LlamaConfig::from_hf(&config).unwrap()
    };
    let config = read("mistral", json!(4096));
    assert_eq!(config.sliding_window, Some(4096));
    assert_eq!(config.to_hf()["model_type"], "mistral");
    assert_eq!(LlamaConfig::from_hf(&config.to_hf()).unwrap(), config);
    assert_eq!(read("mistral", json!(8192)).sliding_window, None);
    assert_eq!(read("mistral", json!(null)).sliding_window, None);
    assert_eq!(read("qwen2", json!(4096)).sliding_window, None);
    let biased = LlamaConfig {
        qkv_bias: true,
        ..config
    };
    assert!(biased.validate().is_err());
}

#[test]
fn kv_heads_that_do_not_divide_are_named() {
    let text = message(|c| c["num_key_value_heads"] = json!(4));
    assert_eq!(
        text,
        "read the model config: field `num_key_value_heads`: expected a divisor of num_attention_heads = 9, \
         found `4` (hint: each key and value head serves the same number of query heads)"
    );
}

#[test]
fn bad_fields_are_named() {
    assert!(message(|c| c["hidden_size"] = json!(null)).contains("`hidden_size`"));
    assert!(message(|c| c["hidden_size"] = json!(-3)).contains("found `-3`"));
    assert!(message(|c| c["num_attention_heads"] = json!(0)).contains("`num_attention_heads`"));
    assert!(message(|c| c["vocab_size"] = json!(1_u64 << 40)).contains("`vocab_size`"));
    assert!(message(|c| c["model_type"] = json!("bert")).contains("found `\"bert\"`"));
    assert!(message(|c| c["hidden_act"] = json!("gelu")).contains("SwiGLU"));
    assert!(message(|c| c["rms_norm_eps"] = json!("x")).contains("`rms_norm_eps`"));
    assert!(message(|c| c["rope_scaling"] = json!({"rope_type": "yarn"})).contains("found `yarn`"));
    let window = message(|c| {
        c["model_type"] = json!("qwen2");
        c["use_sliding_window"] = json!(true);
        c["sliding_window"] = json!(4096);
    });
    assert!(window.contains("`sliding_window`"), "{window}");
    let none = message(|c| {
        c["model_type"] = json!("mistral");
        c["sliding_window"] = json!(0);
    });
    assert!(none.contains("`sliding_window`"), "{none}");
    assert!(message(|c| c["head_dim"] = json!(63)).contains("an even number"));
}
