//! Heads in Hugging Face's and PEFT's files.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use firebox_checkpoint::{Adapter, Checkpoint, HostTensor};
use serde_json::{Map, Value, json};

use super::{HeadTask, SequenceClassifier, check_labels};
use crate::error::ModelError;
use crate::linear::host_f32;
use crate::llama::Llama;
use crate::load::tensor_of_shape;
use crate::weights::NamedWeight;

/// The head in a checkpoint.
const SCORE: &str = "score.weight";
/// The head in an adapter's file.
const PEFT_SCORE: &str = "base_model.model.score.weight";
/// What PEFT calls an adapter beside such a head.
const SEQ_CLS: &str = "SEQ_CLS";

impl SequenceClassifier {
    /// Loads a decoder with its head from a checkpoint that has one (`LlamaForSequenceClassification`
    /// and its kin); task and labels are in its config.
    ///
    /// # Errors
    /// As [`Llama::load`]; [`ModelError::Head`] where there is no head.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, ModelError> {
        let Some(shape) = checkpoint.shape(SCORE) else {
            return Err(ModelError::Head {
                what: format!("expected a checkpoint with `{SCORE}`, found none in this one"),
                hint: "is it a model for classification? `firebox train` with `[head]` makes one",
            });
        };
        let decoder = Llama::load(checkpoint, device)?;
        let shape = [
            shape.first().copied().unwrap_or(0),
            decoder.config().d_model,
        ];
        let values = tensor_of_shape(checkpoint, SCORE, &shape, "hidden_size")?;
        let score = Tensor::from_data(TensorData::new(values, shape), device);
        let config = checkpoint.config();
        let (task, labels) = (task_of(config, shape[0]), labels_of(config, shape[0]));
        check_labels(task, &labels)?;
        Ok(Self {
            decoder,
            score: Param::from_tensor(score),
            task,
            labels,
        })
    }

    /// The weights as a checkpoint holds them: the decoder's without its own head, and the new one.
    pub fn named_weights(&self) -> Vec<NamedWeight> {
        let mut weights = self.decoder.named_weights();
        weights.retain(|weight| weight.name != "lm_head.weight");
        weights.push(NamedWeight::new(SCORE, self.score.val()));
        weights
    }

    /// The config of the decoder's checkpoint with what a head adds to it.
    pub fn config_to_hf(&self, decoder: &Value) -> Value {
        let mut config = decoder.clone();
        let architecture = decoder["architectures"][0]
            .as_str()
            .unwrap_or("LlamaForCausalLM");
        let architecture = architecture.replace("ForCausalLM", "ForSequenceClassification");
        config["architectures"] = json!([architecture]);
        let named = || self.labels.iter().enumerate();
        let id2label: Map<String, Value> = named()
            .map(|(id, label)| (id.to_string(), json!(label)))
            .collect();
        let label2id: Map<String, Value> = named()
            .map(|(id, label)| (label.clone(), json!(id)))
            .collect();
        config["id2label"] = id2label.into();
        config["label2id"] = label2id.into();
        config["problem_type"] = match self.task {
            HeadTask::Classification => "single_label_classification",
            HeadTask::MultiLabel => "multi_label_classification",
            HeadTask::Regression => "regression",
        }
        .into();
        // transformers finds a row's last token by it.
        if config["pad_token_id"].is_null() {
            let end = self.decoder.config().eos_ids.first().copied().unwrap_or(0);
            config["pad_token_id"] = end.into();
        }
        config
    }

    /// The attached adapter and the head under PEFT's names; `None` when there is no adapter.
    pub fn adapter(&self, base_model: &str) -> Option<Adapter> {
        let mut adapter = self.decoder.adapter(base_model)?;
        adapter.config.task_type = Some(SEQ_CLS.to_owned());
        let modules = adapter.config.modules_to_save.get_or_insert_default();
        modules.push("score".to_owned());
        let head = HostTensor {
            shape: self.score.dims().to_vec(),
            data: host_f32(self.score.val().inner()),
        };
        adapter.tensors.insert(PEFT_SCORE.to_owned(), head);
        Some(adapter)
    }

    /// Loads a PEFT adapter that was trained beside a head, onto its base; PEFT keeps no labels.
    ///
    /// # Errors
    /// As [`Llama::load_adapter`] and [`SequenceClassifier::new`]; [`ModelError::Head`] for an adapter
    /// without a head of as many outputs.
    pub fn load_adapter(
        decoder: Llama,
        adapter: &Adapter,
        task: HeadTask,
        labels: Vec<String>,
    ) -> Result<Self, ModelError> {
        check_labels(task, &labels)?;
        let mut adapter = adapter.clone();
        let shape = [labels.len(), decoder.config().d_model];
        let head = adapter.tensors.remove(PEFT_SCORE);
        let Some(head) = head.as_ref().filter(|head| head.shape == shape) else {
            return Err(ModelError::Head {
                what: format!(
                    "expected an adapter with a head of {shape:?}, found {:?}",
                    head.map(|head| head.shape)
                ),
                hint: "was it trained for as many labels, on this base model?",
            });
        };
        if let Some(modules) = &mut adapter.config.modules_to_save {
            modules.retain(|module| module != "score" && module != "classifier");
        }
        let values = TensorData::new(head.data.clone(), shape);
        let score = Tensor::from_data(values, &decoder.device());
        Ok(Self {
            decoder: decoder.load_adapter(&adapter)?,
            score: Param::from_tensor(score),
            task,
            labels,
        })
    }

    /// The same with the adapter, if there is one, in the decoder's weights.
    ///
    /// # Errors
    /// As [`Llama::into_merged`].
    pub fn into_merged(self) -> Result<Self, ModelError> {
        Ok(Self {
            decoder: self.decoder.into_merged()?,
            ..self
        })
    }
}

/// As transformers decides it where the config does not say: one output is a number.
fn task_of(config: &Value, n_outputs: usize) -> HeadTask {
    match config["problem_type"].as_str() {
        Some("regression") => HeadTask::Regression,
        Some("multi_label_classification") => HeadTask::MultiLabel,
        None if n_outputs == 1 => HeadTask::Regression,
        _ => HeadTask::Classification,
    }
}

fn labels_of(config: &Value, n_outputs: usize) -> Vec<String> {
    let name = |id: usize| {
        let label = config["id2label"][id.to_string()].as_str();
        label.map_or_else(|| format!("LABEL_{id}"), str::to_owned)
    };
    (0..n_outputs).map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_output_is_a_number_unless_the_config_says_otherwise() {
        let task = |problem: Option<&str>, n| task_of(&json!({ "problem_type": problem }), n);
        assert_eq!(task(None, 1), HeadTask::Regression);
        assert_eq!(task(None, 2), HeadTask::Classification);
        let said = Some("single_label_classification");
        assert_eq!(task(said, 1), HeadTask::Classification);
        assert_eq!(task(Some("regression"), 3), HeadTask::Regression);
        assert_eq!(
            task(Some("multi_label_classification"), 1),
            HeadTask::MultiLabel
        );
    }
}
