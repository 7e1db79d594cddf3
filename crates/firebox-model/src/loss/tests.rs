use burn::module::Module;
use burn::tensor::activation::log_softmax;

use super::*;
use crate::llama::tests::{tiny, tiny_config};

/// The loss with every logit in memory, by burn's own operations.
fn plain_loss(model: &Llama, ids: &[Vec<u32>], labels: &[Vec<i64>]) -> Tensor<1> {
    let seq = ids[0].len();
    let starts: Vec<usize> = (0..ids.len()).map(|row| row * seq).collect();
    let (rows, targets) = model.labelled_rows(labels, seq, &starts).unwrap();
    let logits = model.forward(model.ids_tensor(ids).unwrap());
    let logits = logits.reshape([ids.len() * seq, model.config().vocab_size]);
    let device = model.device();
    let logits = logits.select(0, int_tensor(&rows, &device));
    let targets = int_tensor(&targets, &device).reshape([rows.len(), 1]);
    log_softmax(logits, 1).gather(1, targets).mean().neg()
}

fn batch() -> (Vec<Vec<u32>>, Vec<Vec<i64>>) {
    let row = |start: u32| (0..90).map(|i| (start + i * 7) % 61).collect::<Vec<u32>>();
    let ids = vec![row(1), row(5)];
    let mut labels: Vec<Vec<i64>> = ids
        .iter()
        .map(|r| r.iter().map(|&id| i64::from(id)).collect())
        .collect();
    labels[1][..20].fill(IGNORE);
    (ids, labels)
}

#[test]
fn chunked_loss_and_gradients_match_the_plain_ones() {
    for tied in [true, false] {
        let mut config = tiny_config();
        config.tie_embeddings = tied;
        let model = if tied {
            tiny()
        } else {
            config.init(3, &burn::tensor::Device::flex())
        };
        let model = model.train();
        let (ids, labels) = batch(); // 159 labelled rows: two chunks
        let loss = model.loss(&ids, &labels).unwrap();
        let plain = plain_loss(&model, &ids, &labels);
        assert_eq!(loss.n_tokens, 89 + 70);
        assert!((loss.mean - f64::from(plain.clone().into_scalar::<f32>())).abs() < 1e-5);
        let (fast, slow) = (loss.surrogate.backward(), plain.backward());
        let embed = model.embed_tokens.val();
        let q = match &model.layers[0].self_attn.q_proj.weight {
            crate::Weight::Dense(weight) => weight.val(),
            _ => unreachable!(),
        };
        for weight in [embed, q, model.lm_head_weight()] {
            let (fast, slow) = (weight.grad(&fast).unwrap(), weight.grad(&slow).unwrap());
            let difference = (fast - slow.clone()).abs().max().into_scalar::<f32>();
            let scale = slow.abs().max().into_scalar::<f32>();
            // Sums in another order, relative to the largest entry.
            assert!(
                difference <= 2e-5 * scale.max(1e-3),
                "{difference} of {scale}"
            );
        }
    }
}

/// Of the tokens that are no target, and so of the softmax alone.
fn head_weights_gradient(hidden: TensorData, precision: MatmulPrecision) -> Tensor<2> {
    let device = burn::tensor::Device::flex().autodiff();
    let tracked = |data| Tensor::<2>::from_data(data, &device).require_grad();
    let targets = vec![0; hidden.shape()[0]];
    let weight = tracked(columns_of_8(700 * 8, 5, 1.0));
    let head = head_loss(tracked(hidden), weight, &targets, precision);
    head.d_weight.unwrap().narrow(0, 1, 699)
}

fn columns_of_8(n: usize, step: usize, scale: f32) -> TensorData {
    let value = |i: usize| ((i * step % 23) as f32 / 23.0 - 0.5) * scale;
    TensorData::new((0..n).map(value).collect::<Vec<_>>(), [n / 8, 8])
}

#[test]
fn the_heads_gradient_in_f16_is_neither_too_small_nor_too_large() {
    // Over 4096 rows and 700 tokens a factor is below 3e-7, a few of the smallest steps of f16. A
    // channel of 300 that all rows share would sum up to more than 65504 within a chunk.
    let mut shared = columns_of_8(4096 * 8, 8, 1.0);
    for (i, value) in shared.as_mut_slice::<f32>().unwrap().iter_mut().enumerate() {
        *value = [300.0, -0.5][usize::from(i % 8 > 0)];
    }
    for hidden in [columns_of_8(4096 * 8, 7, 1.0), shared] {
        let [f16, f32] = [MatmulPrecision::F16, MatmulPrecision::F32]
            .map(|precision| head_weights_gradient(hidden.clone(), precision));
        let difference = (f16 - f32.clone()).abs().max().into_scalar::<f32>();
        let scale = f32.abs().max().into_scalar::<f32>();
        // Factors and the sums of 256 rows are off by 2^-11 each.
        assert!(difference < 2e-3 * scale, "{difference} of {scale}");
    }
}

#[test]
fn token_nll_agrees_with_the_loss() {
    let model = tiny();
    let (ids, _) = batch();
    let nll = model.token_nll(&ids[0]).unwrap();
    let labels: Vec<i64> = ids[0].iter().map(|&id| i64::from(id)).collect();
    let loss = model.loss(&ids[..1], &[labels]).unwrap();
    assert_eq!(nll.len(), 89);
    assert!((mean(&nll) - loss.mean).abs() < 1e-6);
}

#[test]
fn a_packed_batch_has_the_loss_and_gradients_of_its_documents() {
    let model = tiny().train();
    let (ids, labels) = batch();
    let cu_seqlens = [0, 70, 73, 90, 91, 180];
    let packed = model.loss_packed(&ids, &labels, &cu_seqlens).unwrap();
    let weight = match &model.layers[0].self_attn.k_proj.weight {
        crate::Weight::Dense(weight) => weight.val(),
        _ => unreachable!(),
    };
    let (flat_ids, flat_labels) = (ids.concat(), labels.concat());
    let (mut sum, mut n_tokens) = (0.0, 0);
    let mut gradient = weight.clone().inner().zeros_like();
    for ends in cu_seqlens.windows(2) {
        let rows = ends[0]..ends[1];
        let ids = model.ids_tensor(&[&flat_ids[rows.clone()]]).unwrap();
        let hidden = model.hidden(ids.clone()).inner();
        let packed_hidden = model.hidden_packed(model.ids_tensor(&batch().0).unwrap(), &cu_seqlens);
        let packed_hidden =
            packed_hidden
                .inner()
                .reshape([1, 180, 24])
                .narrow(1, rows.start, rows.len());
        let difference = (hidden - packed_hidden).abs().max().into_scalar::<f32>();
        // A linear layer sums few rows in another order than many.
        assert!(difference < 1e-4, "{rows:?}: {difference}");
        let (ids, labels) = (
            [flat_ids[rows.clone()].to_vec()],
            [flat_labels[rows].to_vec()],
        );
        match model.loss(&ids, &labels) {
            Ok(alone) => {
                let n = alone.n_tokens as f64;
                sum += alone.mean * n;
                n_tokens += alone.n_tokens;
                gradient = gradient
                    + weight
                        .grad(&alone.surrogate.backward())
                        .unwrap()
                        .mul_scalar(n);
            }
            Err(error) => assert!(matches!(error, ModelError::NoLabels), "{error}"),
        }
    }
    assert_eq!(packed.n_tokens, n_tokens);
    assert!((packed.mean - sum / n_tokens as f64).abs() < 1e-5);
    let expected = gradient.div_scalar(n_tokens as f64);
    let found = weight.grad(&packed.surrogate.backward()).unwrap();
    let difference = (found - expected.clone()).abs().max().into_scalar::<f32>();
    // Sums in another order, relative to the largest entry.
    assert!(
        difference <= 2e-5 * expected.abs().max().into_scalar::<f32>(),
        "{difference}"
    );
}

#[test]
fn a_batch_without_labels_is_refused() {
    let model = tiny();
    let error = model
        .loss(&[vec![1, 2]], &[vec![5, IGNORE]])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "compute the loss: expected at least one token with a label, found none (hint: were all answers cut off or masked?)"
    );
    let error = model
        .loss(&[vec![1, 2]], &[vec![0, 99]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("token id 99"), "{error}");
}
