//! A decoder whose last layer is a new head: classes, labels or numbers instead of tokens.

mod files;

use burn::module::{Module, Param};
use burn::tensor::activation::{log_sigmoid, log_softmax, sigmoid, softmax};
use burn::tensor::{Int, Tensor, TensorData};
use firebox_tensor::random::CounterRng;
use serde::{Deserialize, Serialize};

use crate::attention::Positions;
use crate::error::ModelError;
use crate::linear::host_f32;
use crate::llama::Llama;
use crate::lora::LoraConfig;
use crate::loss::Loss;

/// What a head's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadTask {
    /// One of several classes; the loss is the cross-entropy.
    #[default]
    Classification,
    /// Any number of labels; the loss is the binary cross-entropy of each.
    MultiLabel,
    /// Numbers; the loss is the mean squared error.
    Regression,
}

/// Which weights of a model with a new head train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainedPart {
    /// The head alone.
    Head,
    /// The head, the final norm and the last so many layers.
    LastLayers(usize),
    /// Everything.
    #[default]
    All,
}

/// What a head is to say of some documents.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadTargets {
    /// The class of each document: for [`HeadTask::Classification`].
    Classes(Vec<usize>),
    /// A number for each output of each document, `[documents, outputs]`: 0 or 1 for
    /// [`HeadTask::MultiLabel`], any for [`HeadTask::Regression`].
    Values(Vec<Vec<f32>>),
}

impl HeadTargets {
    /// How many documents they are of.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoder with a linear head on the hidden state of each document's last token, as Hugging Face's
/// `LlamaForSequenceClassification` has it: the last token has seen all others.
///
/// # Examples
/// ```
/// use burn::{module::Module, tensor::Device};
/// use firebox_model::{HeadTask, HeadTargets, LlamaConfig, SequenceClassifier};
///
/// let decoder = LlamaConfig::new(50, 16, 32, 2, 2).init(0, &Device::flex());
/// let labels = ["Liver", "Kidney"].map(String::from).to_vec();
/// let model = SequenceClassifier::new(decoder, HeadTask::Classification, labels, 0)?;
/// let documents = [vec![1, 2, 3], vec![4, 5]];
/// let probabilities = model.predict(&documents)?;
/// assert_eq!((probabilities.len(), probabilities[0].len()), (2, 2));
/// let loss = model.loss(&documents, &HeadTargets::Classes(vec![0, 1]))?;
/// assert!(loss.mean > 0.0);
/// # Ok::<(), firebox_model::ModelError>(())
/// ```
#[derive(Module, Debug)]
pub struct SequenceClassifier {
    /// The decoder; its own head is not used.
    pub decoder: Llama,
    /// The head's weight, `[outputs, d_model]`.
    pub score: Param<Tensor<2>>,
    #[module(skip)]
    task: HeadTask,
    #[module(skip)]
    labels: Vec<String>,
}

impl SequenceClassifier {
    /// Puts a new head on a decoder, an output for each label; its values are normal with deviation
    /// 0.02, drawn from `seed`.
    ///
    /// # Errors
    /// [`ModelError::Head`] without labels, or with the same one twice.
    pub fn new(
        decoder: Llama,
        task: HeadTask,
        labels: Vec<String>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        check_labels(task, &labels)?;
        let shape = [labels.len(), decoder.config().d_model];
        // Decoders draw from the first streams.
        let mut rng = CounterRng::new(seed, u64::MAX);
        let values = (0..shape[0] * shape[1]).map(|_| rng.normal() * 0.02);
        let values = TensorData::new(values.collect::<Vec<f32>>(), shape);
        let score = Tensor::from_data(values, &decoder.device());
        Ok(Self {
            decoder,
            score: Param::from_tensor(score),
            task,
            labels,
        })
    }

    /// What the outputs are.
    pub fn task(&self) -> HeadTask {
        self.task
    }

    /// The outputs' names, in order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Lets a part of the weights train, and freezes the others.
    ///
    /// # Errors
    /// [`ModelError::Head`] when there are fewer layers, or packed ones among those that are to train.
    pub fn train_part(self, part: TrainedPart) -> Result<Self, ModelError> {
        let n_layers = self.decoder.layers.len();
        let n_trained = match part {
            TrainedPart::Head => 0,
            TrainedPart::LastLayers(n) => n,
            TrainedPart::All => n_layers,
        };
        if n_trained > n_layers {
            return Err(ModelError::Head {
                what: format!("expected at most {n_layers} layers to train, found {n_trained}"),
                hint: "that is all of them",
            });
        }
        if n_trained > 0 && !self.decoder.is_dense() {
            return Err(ModelError::Head {
                what: "expected dense layers to train, found packed or frozen ones".into(),
                hint: "train the head alone or an adapter; or `Llama::load` the model as it was before quantizing",
            });
        }
        let mut model = match part {
            TrainedPart::All => self.set_require_grad(true),
            _ => self.no_grad(),
        };
        let first = n_layers - n_trained;
        let layers = std::mem::take(&mut model.decoder.layers)
            .into_iter()
            .enumerate();
        model.decoder.layers = layers
            .map(|(i, layer)| match i >= first {
                true => layer.set_require_grad(true),
                false => layer,
            })
            .collect();
        if n_trained > 0 {
            model.decoder.norm = model.decoder.norm.set_require_grad(true);
        }
        // The decoder's own head has no part in the loss.
        model.decoder.lm_head = model
            .decoder
            .lm_head
            .map(|head| head.set_require_grad(false));
        model.score = model.score.set_require_grad(true);
        Ok(model)
    }

    /// Puts fresh adapters into the decoder and lets them and the head train.
    ///
    /// # Errors
    /// As [`Llama::attach_lora`].
    pub fn attach_lora(self, config: &LoraConfig, seed: u64) -> Result<Self, ModelError> {
        Ok(Self {
            decoder: self.decoder.attach_lora(config, seed)?,
            score: self.score.set_require_grad(true),
            ..self
        })
    }

    /// The outputs before softmax or sigmoid: documents of any lengths to `[documents, outputs]`.
    ///
    /// # Errors
    /// [`ModelError::Empty`] for an empty document or none, [`ModelError::PromptTooLong`],
    /// [`ModelError::TokenOutOfRange`].
    pub fn logits(&self, documents: &[Vec<u32>]) -> Result<Tensor<2>, ModelError> {
        let row = Row::of(&self.decoder, documents)?;
        let hidden = self.decoder.hidden_at(row.ids.clone(), &row.positions);
        Ok(self.score_last(hidden, &row))
    }

    /// The mean loss over the documents, in nats for classes and labels, ready to go backward;
    /// `n_tokens` counts the documents.
    ///
    /// # Errors
    /// As [`SequenceClassifier::logits`]; [`ModelError::Head`] for targets of another kind or number.
    pub fn loss(&self, documents: &[Vec<u32>], targets: &HeadTargets) -> Result<Loss, ModelError> {
        let wanted = self.wanted(documents.len(), targets)?;
        let row = Row::of(&self.decoder, documents)?;
        let loss_of = |hidden: Tensor<3>| wanted.loss(self.score_last(hidden, &row));
        let value = |loss: &Tensor<1>| loss.clone().inner().into_scalar::<f64>();
        let mut mean = 0.0;
        let surrogate = match self.decoder.goes_by_layer() {
            true => {
                let (ids, positions) = (row.ids.clone(), &row.positions);
                self.decoder
                    .surrogate_by_layer(self, ids, positions, |hidden| {
                        let loss = loss_of(hidden);
                        mean = value(&loss);
                        loss
                    })
            }
            false => {
                let loss = loss_of(self.decoder.hidden_at(row.ids.clone(), &row.positions));
                mean = value(&loss);
                loss
            }
        };
        Ok(Loss {
            mean,
            n_tokens: documents.len(),
            surrogate,
        })
    }

    /// `[1, tokens, d_model]` to the logits of each document's last token, `[documents, outputs]`.
    fn score_last(&self, hidden: Tensor<3>, row: &Row) -> Tensor<2> {
        let [_, n_tokens, d_model] = hidden.dims();
        let pooled = hidden
            .reshape([n_tokens, d_model])
            .select(0, row.last.clone());
        pooled.matmul(self.score.val().transpose())
    }

    /// The targets, checked, on the device.
    fn wanted(&self, n_documents: usize, targets: &HeadTargets) -> Result<Wanted, ModelError> {
        if targets.len() != n_documents {
            return Err(ModelError::Head {
                what: format!(
                    "expected targets for {n_documents} documents, found {}",
                    targets.len()
                ),
                hint: "give one to each",
            });
        }
        let device = self.decoder.device();
        match (self.task, targets) {
            (HeadTask::Classification, HeadTargets::Classes(classes)) => {
                let classes = TensorData::new(self.class_indices(classes)?, [n_documents, 1]);
                Ok(Wanted::Classes(Tensor::from_data(classes, &device)))
            }
            (HeadTask::MultiLabel, HeadTargets::Values(values)) => {
                let values = self.values_tensor(values)?;
                Ok(Wanted::Signs(values * 2.0 - 1.0))
            }
            (HeadTask::Regression, HeadTargets::Values(values)) => {
                Ok(Wanted::Values(self.values_tensor(values)?))
            }
            (task, _) => Err(ModelError::Head {
                what: format!("expected targets for {task:?}, found those of another task"),
                hint: "classes are for classification, values for labels and numbers",
            }),
        }
    }

    /// For each document, the probability of each class or label, or the numbers.
    ///
    /// # Errors
    /// As [`SequenceClassifier::logits`].
    pub fn predict(&self, documents: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let logits = self.logits(documents)?.inner();
        let outputs = match self.task {
            HeadTask::Classification => softmax(logits, 1),
            HeadTask::MultiLabel => sigmoid(logits),
            HeadTask::Regression => logits,
        };
        let values = host_f32(outputs);
        Ok(values
            .chunks(self.labels.len())
            .map(<[f32]>::to_vec)
            .collect())
    }

    fn class_indices(&self, classes: &[usize]) -> Result<Vec<i64>, ModelError> {
        let n_classes = self.labels.len();
        match classes.iter().find(|class| **class >= n_classes) {
            None => Ok(classes.iter().map(|class| *class as i64).collect()),
            Some(class) => Err(ModelError::Head {
                what: format!("expected a class below {n_classes}, found {class}"),
                hint: "classes are numbered from 0, in the order of the labels",
            }),
        }
    }

    /// `[documents, outputs]`.
    fn values_tensor(&self, values: &[Vec<f32>]) -> Result<Tensor<2>, ModelError> {
        let n_outputs = self.labels.len();
        if let Some(row) = values.iter().find(|row| row.len() != n_outputs) {
            return Err(ModelError::Head {
                what: format!(
                    "expected {n_outputs} values a document, found {}",
                    row.len()
                ),
                hint: "one for each output of the head",
            });
        }
        let values = TensorData::new(values.concat(), [values.len(), n_outputs]);
        Ok(Tensor::from_data(values, &self.decoder.device()))
    }
}

/// Documents side by side in one row: nothing is padded.
struct Row {
    /// `[1, tokens]`.
    ids: Tensor<2, Int>,
    positions: Positions,
    /// The place of each document's last token, `[documents]`.
    last: Tensor<1, Int>,
}

impl Row {
    fn of(decoder: &Llama, documents: &[Vec<u32>]) -> Result<Self, ModelError> {
        let mut ids = Vec::new();
        let mut ends = vec![0];
        for document in documents {
            if document.is_empty() {
                return Err(ModelError::Empty { what: "document" });
            }
            decoder.config.check_context(document.len())?;
            ids.extend_from_slice(document);
            ends.push(ids.len());
        }
        let ids = decoder.ids_tensor(&[ids])?;
        let last: Vec<i64> = ends[1..].iter().map(|end| *end as i64 - 1).collect();
        let last = TensorData::new(last, [documents.len()]);
        Ok(Self {
            positions: decoder.positions(0, &ids).packed(&ends),
            ids,
            last: Tensor::from_data(last, &decoder.device()),
        })
    }
}

/// Targets on the device, `[documents, 1]` or `[documents, outputs]`.
enum Wanted {
    Classes(Tensor<2, Int>),
    /// 1 for a label that holds, -1 for another.
    Signs(Tensor<2>),
    Values(Tensor<2>),
}

impl Wanted {
    /// The mean loss of logits `[documents, outputs]`.
    fn loss(&self, logits: Tensor<2>) -> Tensor<1> {
        // Beside tracked logits, constants are of their kind.
        let like = |x: &Tensor<2>| match logits.is_autodiff() {
            true => Tensor::from_inner(x.clone()),
            false => x.clone(),
        };
        match self {
            Self::Classes(classes) => {
                let log_p = log_softmax(logits, 1);
                log_p.gather(1, classes.clone()).mean().neg()
            }
            // -log σ(x) of a label that holds, -log (1 - σ(x)) = -log σ(-x) of another.
            Self::Signs(signs) => {
                let signs = like(signs);
                log_sigmoid(logits * signs).mean().neg()
            }
            Self::Values(values) => {
                let values = like(values);
                (logits - values).powi_scalar(2).mean()
            }
        }
    }
}

fn check_labels(task: HeadTask, labels: &[String]) -> Result<(), ModelError> {
    let least = match task {
        HeadTask::Classification => 2,
        HeadTask::MultiLabel | HeadTask::Regression => 1,
    };
    let mut sorted: Vec<&String> = labels.iter().collect();
    sorted.sort_unstable();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    match twice {
        Some(pair) => Err(ModelError::Head {
            what: format!("expected labels that differ, found `{}` twice", pair[0]),
            hint: "name each output once",
        }),
        None if labels.len() < least => Err(ModelError::Head {
            what: format!("expected at least {least} labels, found {}", labels.len()),
            hint: "a head needs something to choose from",
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
