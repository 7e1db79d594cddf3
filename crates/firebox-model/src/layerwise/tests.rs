use burn::tensor::Device;
use firebox_checkpoint::Dtype;

use super::*;
use crate::linear::host_f32;
use crate::llama::tests::{saved, tiny};

/// Counts rows, and may put zeros in place of a weight.
#[derive(Default)]
struct Watcher {
    rows: Vec<[usize; 2]>,
    names: Vec<String>,
    zeroed: Option<&'static str>,
}

impl LayerVisitor for Watcher {
    type Error = ModelError;

    fn rows(&mut self, x: Tensor<2>) -> Result<(), ModelError> {
        self.rows.push(x.dims());
        Ok(())
    }

    fn weights(
        &mut self,
        _producer: Producer<'_>,
        weights: &mut [(String, &mut Linear)],
    ) -> Result<(), ModelError> {
        for (name, linear) in weights {
            self.names.push(name.clone());
            if Some(name.as_str()) == self.zeroed {
                **linear = Linear::dense(Tensor::zeros(linear.shape(), &Device::flex()), None);
            }
        }
        Ok(())
    }
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 17 + 3) % 61).collect()
}

#[test]
fn layer_by_layer_the_states_are_those_of_the_whole_model() {
    let mut windowed = tiny();
    windowed.config.sliding_window = Some(5);
    for model in [tiny(), windowed] {
        let (_dir, checkpoint) = saved(&model, Dtype::F32);
        let layerwise = LayerwiseLlama::new(&checkpoint, &Device::flex()).unwrap();
        let texts = [text(9), text(30)];
        let mut states = layerwise.embed(&texts).unwrap();
        let mut watcher = Watcher::default();
        let expected: Vec<_> = texts
            .iter()
            .map(|text| model.hidden_states(model.ids_tensor(&[text]).unwrap()))
            .collect();
        for i in 0..model.config().n_layers {
            let mut layer = layerwise.layer(i).unwrap();
            layerwise
                .visit(i, &mut layer, &mut states, &mut watcher)
                .unwrap();
            for (state, expected) in states.iter().zip(&expected) {
                assert_eq!(host_f32(state.clone()), host_f32(expected[i + 1].clone()));
            }
        }
        let linears = model.linears();
        let names: Vec<&String> = linears.iter().map(|(name, _)| name).collect();
        assert_eq!(watcher.names.iter().collect::<Vec<_>>(), names);
        // Four inputs a layer, of each text, as wide as the weights that they go into.
        let widths = [0, 3, 4, 6].map(|i| linears[i].1.shape()[1]);
        let expected = widths.iter().flat_map(|width| [[9, *width], [30, *width]]);
        assert_eq!(watcher.rows[..8], expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_changed_weight_changes_what_comes_after_it() {
    let model = tiny();
    let (_dir, checkpoint) = saved(&model, Dtype::F32);
    let layerwise = LayerwiseLlama::new(&checkpoint, &Device::flex()).unwrap();
    let mut states = layerwise.embed(&[text(12)]).unwrap();
    let before = states[0].clone();
    let mut layer = layerwise.layer(0).unwrap();
    layer.self_attn.o_proj = Linear::dense(
        Tensor::zeros(layer.self_attn.o_proj.shape(), &Device::flex()),
        None,
    );
    let mut watcher = Watcher {
        zeroed: Some("model.layers.0.mlp.down_proj"),
        ..Watcher::default()
    };
    layerwise
        .visit(0, &mut layer, &mut states, &mut watcher)
        .unwrap();
    // Neither block adds anything.
    assert_eq!(host_f32(states[0].clone()), host_f32(before));
}

#[test]
fn texts_that_cannot_be_read_are_errors() {
    let (_dir, checkpoint) = saved(&tiny(), Dtype::F32);
    let layerwise = LayerwiseLlama::new(&checkpoint, &Device::flex()).unwrap();
    assert!(matches!(
        layerwise.embed(&[vec![]]),
        Err(ModelError::Empty { .. })
    ));
    assert!(matches!(
        layerwise.embed(&[vec![61]]),
        Err(ModelError::TokenOutOfRange { .. })
    ));
    assert!(matches!(
        layerwise.embed(&[text(601)]),
        Err(ModelError::PromptTooLong { .. })
    ));
}

/// Scales what weights are multiplied with, and takes the scales back in the weights.
struct Rescaler;

impl LayerVisitor for Rescaler {
    type Error = ModelError;

    fn rows(&mut self, _x: Tensor<2>) -> Result<(), ModelError> {
        Ok(())
    }

    fn weights(
        &mut self,
        mut producer: Producer<'_>,
        weights: &mut [(String, &mut Linear)],
    ) -> Result<(), ModelError> {
        let index = producer.scale_of_input();
        let n = index.iter().max().unwrap() + 1;
        let scales: Vec<f32> = (0..n).map(|i| 0.5 + (i % 7) as f32).collect();
        let of_inputs: Vec<f32> = index.iter().map(|i| scales[*i]).collect();
        for (_, linear) in weights {
            linear.scale_columns(Tensor::from_floats(&*of_inputs, &Device::flex()));
        }
        producer.divide(Tensor::from_floats(&*scales, &Device::flex()));
        Ok(())
    }
}

#[test]
fn scales_move_from_what_makes_the_inputs_into_the_weights() {
    let model = tiny();
    assert!(model.config().n_heads > model.config().n_kv_heads);
    let (_dir, checkpoint) = saved(&model, Dtype::F32);
    let layerwise = LayerwiseLlama::new(&checkpoint, &Device::flex()).unwrap();
    let start = layerwise.embed(&[text(20)]).unwrap();
    let mut layer = layerwise.layer(1).unwrap();
    let expected = layerwise.run(&layer, &start[0]);
    let gains = host_f32(layer.input_layernorm.gamma.val());
    layerwise
        .visit(1, &mut layer, &mut start.clone(), &mut Rescaler)
        .unwrap();
    assert_ne!(host_f32(layer.input_layernorm.gamma.val()), gains);
    let found = host_f32(layerwise.run(&layer, &start[0]));
    for (found, expected) in found.iter().zip(host_f32(expected)) {
        assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0));
    }
}

#[test]
fn the_head_sees_the_last_states_and_gives_the_logits() {
    let mut untied = tiny();
    untied.lm_head = Some(burn::module::Param::from_tensor(
        untied.embed_tokens.val() * 0.5,
    ));
    untied.config.tie_embeddings = false;
    for (model, name) in [(tiny(), "model.embed_tokens"), (untied, "lm_head")] {
        let (_dir, checkpoint) = saved(&model, Dtype::F32);
        let layerwise = LayerwiseLlama::new(&checkpoint, &Device::flex()).unwrap();
        let ids = model.ids_tensor(&[text(11)]).unwrap();
        let states = model.hidden_states(ids.clone());
        let mut head = layerwise.head().unwrap();
        let logits = layerwise.logits(&head, states.last().unwrap());
        assert_eq!(host_f32(logits), host_f32(model.forward(ids)));
        let mut watcher = Watcher::default();
        let last = [states.last().unwrap().clone()];
        layerwise
            .visit_head(&mut head, &last, &mut watcher)
            .unwrap();
        assert_eq!(watcher.rows, [[11, model.config().d_model]]);
        assert_eq!(watcher.names, [name]);
    }
}
