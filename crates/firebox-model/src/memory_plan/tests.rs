use super::*;
use crate::{LlamaConfig, LoraConfig, TrainedPart};

fn shape(trained: TrainedWeights) -> TrainingShape {
    TrainingShape {
        config: LlamaConfig {
            n_kv_heads: 3,
            ..LlamaConfig::new(49_152, 576, 1536, 30, 9)
        },
        trained,
        n_tokens: 1024,
        seq_len: 256,
        n_accum_steps: 1,
        optimizer_bytes: 8.0,
        averages: false,
        several_ranks: false,
        activation_checkpointing: false,
        rounds_to_f16: false,
        linear_bits: 32.0,
        predicts_tokens: true,
    }
}

fn full() -> TrainingShape {
    shape(TrainedWeights::Part(TrainedPart::All))
}

fn lora() -> TrainingShape {
    shape(TrainedWeights::Adapter(LoraConfig::new(
        8,
        16.0,
        ["q_proj", "v_proj"],
    )))
}

fn total(shape: &TrainingShape) -> u64 {
    MemoryPlan::of(shape).total_bytes()
}

fn item(shape: &TrainingShape, name: &str) -> u64 {
    let plan = MemoryPlan::of(shape);
    let found = plan.items.iter().find(|item| item.name == name);
    found.map_or(0, |item| item.bytes)
}

#[test]
fn weights_and_optimizer_state_are_counted_exactly() {
    assert_eq!(item(&full(), "weights"), 4 * 134_515_008);
    assert_eq!(item(&full(), "optimizer state"), 8 * 134_515_008);
    // 30 layers of q (576 × 576) and v (192 × 576).
    let n_adapter = 30 * 8 * (576 + 576 + 576 + 192);
    assert_eq!(lora().n_trained(), n_adapter);
    assert_eq!(item(&lora(), "weights"), 4 * (134_515_008 + n_adapter));
    let part = shape(TrainedWeights::Part(TrainedPart::LastLayers(12)));
    assert_eq!(part.n_trained(), 42_487_488 - 10 * 576); // the head of ten classes apart
    let four_bit = TrainingShape {
        linear_bits: 4.5,
        ..lora()
    };
    let linears = 30 * (576 * (2 * 576 + 2 * 192) + 3 * 576 * 1536);
    let saved = item(&lora(), "weights") - item(&four_bit, "weights");
    assert_eq!(saved, linears * 4 - linears * 45 / 80);
}

#[test]
fn less_is_held_for_less() {
    let of = |change: fn(&mut TrainingShape)| {
        let mut shape = full();
        change(&mut shape);
        total(&shape)
    };
    let base = total(&full());
    assert!(of(|shape| shape.activation_checkpointing = true) < base);
    assert!(of(|shape| shape.n_tokens = 256) < base);
    assert!(of(|shape| shape.optimizer_bytes = 2.1) < base);
    assert!(of(|shape| shape.averages = true) > base);
    assert!(of(|shape| shape.several_ranks = true) > base);
    assert!(of(|shape| shape.n_accum_steps = 2) > base);
    assert!(of(|shape| shape.n_tokens = 4096) > base);
    assert!(total(&lora()) < base);
    let head = shape(TrainedWeights::Part(TrainedPart::Head));
    assert!(total(&head) < total(&lora()));
}

#[test]
fn changes_are_named_with_what_they_leave() {
    for shape in [full(), lora()] {
        let changes = shape.smaller();
        let total = total(&shape);
        assert!(!changes.is_empty());
        assert!(changes.iter().all(|(_, bytes)| *bytes < total));
        assert!(changes.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }
    let names: Vec<String> = lora().smaller().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"rank 8 → 4".to_owned()), "{names:?}");
    assert!(
        names.contains(&"activation checkpointing".to_owned()),
        "{names:?}"
    );
}

#[test]
fn six_flops_a_weight_and_token_when_all_train() {
    // 6 N, and attention: three times 2 · seq · width a layer; the embedding is a lookup, the head not.
    let linears = 30.0 * f64::from(576 * (2 * 576 + 2 * 192) + 3 * 576 * 1536);
    let head = f64::from(49_152 * 576);
    let attention = 30.0 * 3.0 * 2.0 * 256.0 * 576.0;
    let expected = 6.0 * (linears + head) + attention;
    assert!((full().flops_per_token() / expected - 1.0).abs() < 1e-12);
    assert!(lora().flops_per_token() < 0.75 * expected);
    let checkpointed = TrainingShape {
        activation_checkpointing: true,
        ..full()
    };
    assert_eq!(checkpointed.flops_per_token(), full().flops_per_token());
}

#[test]
fn inputs_are_counted_where_something_reads_them_to_train() {
    let adapted = |targets: &[&str]| {
        let lora = LoraConfig::new(8, 16.0, targets.iter().copied());
        shape(TrainedWeights::Adapter(lora))
    };
    let activations = |targets: &[&str]| item(&adapted(targets), "activations");
    // The norm's output is kept once for all that read it; down_proj reads what is wider.
    let [q, qv, down] = [&["q_proj"][..], &["q_proj", "v_proj"], &["down_proj"]].map(activations);
    assert_eq!(qv - q, 31 * 1024 * 8 * 4);
    assert_eq!(down - q, 31 * 1024 * (1536 - 576) * 4);
    // From layer 15 on: nothing is kept below it.
    let upper: Vec<String> = (15..30)
        .map(|i| format!("model.layers.{i}.self_attn.q_proj"))
        .collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    assert!(activations(&upper) < q * 11 / 20);
    // With a vocabulary that trains, all layers keep what their norms and attention need.
    let mut whole = adapted(&upper);
    let TrainedWeights::Adapter(lora) = &mut whole.trained else {
        unreachable!()
    };
    lora.modules_to_save = vec!["embed_tokens".to_owned()];
    assert!(item(&whole, "activations") > q * 9 / 10);
}
