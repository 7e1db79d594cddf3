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
