use burn::module::Module;
use firebox_checkpoint::{AdapterConfig, HostTensor};

use super::*;
use crate::llama::tests::tiny;

fn config(targets: &[&str]) -> LoraConfig {
    LoraConfig::new(3, 6.0, targets.iter().copied())
}

fn logits(model: &Llama) -> Tensor<3> {
    model
        .forward(model.ids_tensor(&[[1, 5, 9, 33]]).unwrap())
        .inner()
}

/// A model whose adapter changes something.
fn adapted() -> Llama {
    let mut model = tiny()
        .attach_lora(&config(&["q_proj", "model.layers.*.mlp.*"]), 3)
        .unwrap();
    for (_, linear) in model.linears_mut() {
        if let Some(lora) = &mut linear.lora {
            lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.1));
        }
    }
    model
}

fn difference(a: &Llama, b: &Llama) -> f32 {
    (logits(a) - logits(b)).abs().max().into_scalar()
}

#[test]
fn lora_with_zero_b_is_identity() {
    let model = tiny()
        .attach_lora(&config(&["q_proj", "v_proj"]), 3)
        .unwrap();
    assert_eq!(difference(&model, &tiny()), 0.0);
}

#[test]
fn merged_equals_unmerged_and_unmerging_is_exact() {
    let side_path = adapted();
    let mut merged = side_path.clone();
    merged.merge().unwrap();
    assert!(
        difference(&side_path, &tiny()) > 0.1,
        "the adapter changes nothing"
    );
    assert!(difference(&side_path, &merged) < 1e-3);
    merged.unmerge();
    assert_eq!(difference(&side_path, &merged), 0.0);
    let forgotten = side_path.clone().into_merged().unwrap();
    assert!(difference(&side_path, &forgotten) < 1e-3);
    assert!(forgotten.adapter("x").is_none());
}

#[test]
fn a_saved_adapter_loads_again_under_pefts_names() {
    let model = adapted();
    let adapter = model.adapter("base").unwrap();
    assert_eq!((adapter.config.r, adapter.config.lora_alpha), (3, 6.0));
    assert_eq!(adapter.tensors.len(), 2 * 2 * 4);
    let name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";
    assert_eq!(adapter.tensors[name].shape, [3, 24]);
    let loaded = tiny().load_adapter(&adapter).unwrap();
    assert_eq!(difference(&model, &loaded), 0.0);
}

#[test]
fn only_the_factors_train() {
    let model = adapted().train();
    let loss = model
        .loss(&[vec![1, 2, 3, 4]], &[vec![1, 2, 3, 4]])
        .unwrap();
    let grads = loss.surrogate.backward();
    assert!(model.embed_tokens.val().grad(&grads).is_none());
    for (name, linear) in model.linears() {
        let Weight::Dense(weight) = &linear.weight else {
            unreachable!()
        };
        assert!(weight.val().grad(&grads).is_none(), "{name}");
        if let Some(lora) = &linear.lora {
            assert!(lora.lora_a.val().grad(&grads).is_some(), "{name}");
            assert!(lora.lora_b.val().grad(&grads).is_some(), "{name}");
        }
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let message = |result: Result<Llama, ModelError>| result.unwrap_err().to_string();
    let text = message(tiny().attach_lora(&config(&["query"]), 0));
    assert_eq!(
        text,
        "attach LoRA: target `query` names no linear layer (hint: the layers are `down_proj`, `gate_proj`, \
         `k_proj`, `o_proj`, `q_proj`, `up_proj`, `v_proj`)"
    );
    assert!(message(adapted().attach_lora(&config(&["q_proj"]), 0)).contains("attached already"));
    let mut zero = config(&["q_proj"]);
    zero.rank = 0;
    assert!(message(tiny().attach_lora(&zero, 0)).contains("rank ≥ 1"));

    let whole = adapted().adapter("base").unwrap();
    let mut half = whole.clone();
    half.tensors
        .retain(|name, _| !name.contains("layers.0.self_attn.q_proj.lora_B"));
    assert!(message(tiny().load_adapter(&half)).contains("found only one of them"));
    let mut stray = whole.clone();
    stray.tensors.insert(
        "base_model.model.model.layers.9.x.lora_A.weight".into(),
        HostTensor {
            shape: vec![1],
            data: vec![0.0],
        },
    );
    assert!(message(tiny().load_adapter(&stray)).contains("layers.9.x"));
    let mut narrow = whole;
    narrow.tensors.values_mut().next().unwrap().shape = vec![3, 7];
    assert!(message(tiny().load_adapter(&narrow)).contains("expected lora_A"));
}

#[test]
fn patterns_match_whole_names() {
    let name = "model.layers.12.mlp.up_proj";
    for yes in [
        "up_proj",
        "mlp.up_proj",
        "*.mlp.*",
        "model.layers.1*.mlp.up_proj",
        "*up*",
    ] {
        assert!(matches(yes, name), "{yes}");
    }
    for no in [
        "p_proj",
        "model.layers.2*.mlp.*",
        "*.down_proj",
        "model.*.attn",
        "*mlp",
    ] {
        assert!(!matches(no, name), "{no}");
    }
}

#[test]
fn a_second_adapter_is_refused() {
    let adapter = adapted().adapter("base").unwrap();
    let twice = tiny()
        .load_adapter(&adapter)
        .unwrap()
        .load_adapter(&adapter);
    assert!(twice.unwrap_err().to_string().contains("attached already"));
    let mut merged = adapted();
    merged.merge().unwrap();
    assert!(
        merged
            .load_adapter(&adapter)
            .unwrap_err()
            .to_string()
            .contains("attached already")
    );
}

#[test]
fn alphas_of_single_layers_and_rslora_scale_as_in_peft() {
    let mut adapter = adapted().adapter("base").unwrap();
    let q = "model.layers.0.self_attn.q_proj";
    adapter
        .config
        .alpha_pattern
        .insert("layers.0.self_attn.q_proj".into(), 12.0);
    let model = tiny().load_adapter(&adapter).unwrap();
    for (name, linear) in model.linears() {
        if let Some(lora) = &linear.lora {
            assert_eq!(lora.scaling, if name == q { 4.0 } else { 2.0 }, "{name}");
        }
    }
    // What differs is written layer by layer and read back the same.
    let again = tiny()
        .load_adapter(&model.adapter("base").unwrap())
        .unwrap();
    assert_eq!(difference(&model, &again), 0.0);
    adapter.config.use_rslora = true;
    let model = tiny().load_adapter(&adapter).unwrap();
    let up = &model.linears()[5].1.lora.as_ref().unwrap().scaling;
    assert!((up - 6.0 / 3_f64.sqrt()).abs() < 1e-12);
}

#[test]
fn adapters_that_are_more_than_lora_are_refused() {
    let refused = |change: &dyn Fn(&mut AdapterConfig)| {
        let mut adapter = adapted().adapter("base").unwrap();
        change(&mut adapter.config);
        tiny()
            .load_adapter(&adapter)
            .err()
            .map(|error| error.to_string())
    };
    assert!(refused(&|_| ()).is_none());
    // An adapter that says it has sizes must have them.
    let without = refused(&|c| c.use_dora = true).unwrap();
    assert!(without.contains("lora_magnitude_vector"), "{without}");
    let foreign = refused(&|c| c.modules_to_save = Some(vec!["score".into()])).unwrap();
    assert!(foreign.contains("`score`"), "{foreign}");
    assert!(
        refused(&|c| drop(
            c.others
                .insert("init_lora_weights".into(), "pissa_niter_4".into())
        ))
        .is_some()
    );
    assert!(refused(&|c| drop(c.others.insert("init_lora_weights".into(), true.into()))).is_none());
    assert!(refused(&|c| drop(c.others.insert("use_qalora".into(), true.into()))).is_some());
    assert!(refused(&|c| c.alpha_pattern = [("(q|v)_proj".into(), 4.0)].into()).is_some());
}
