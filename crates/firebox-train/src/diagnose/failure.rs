//! The failures, and what to do about each.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A classic failure of training runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is described by `Failure::explanation`")]
pub enum Failure {
    VanishingGradients,
    ExplodingGradients,
    DeadActivations,
    F16Overflow,
    F16Underflow,
    LearningRateTooHigh,
    LearningRateTooLow,
    LabelsOffByOne,
    LossOnPadding,
    LossOnPrompt,
    FutureLeak,
    PaddingMaskMissing,
    WrongTokenizer,
    EmbeddingsTooSmall,
    NoShuffling,
    Overfitting,
    EvaluationOnTrainingData,
    AccumulationWeighting,
    AdapterNotAttached,
    ForgottenEvalMode,
    OutOfMemory,
    ResumedWithOtherData,
}

/// What is known of a failure.
struct Entry {
    name: &'static str,
    explanation: &'static str,
    fix: &'static str,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::VanishingGradients,
        Self::ExplodingGradients,
        Self::DeadActivations,
        Self::F16Overflow,
        Self::F16Underflow,
        Self::LearningRateTooHigh,
        Self::LearningRateTooLow,
        Self::LabelsOffByOne,
        Self::LossOnPadding,
        Self::LossOnPrompt,
        Self::FutureLeak,
        Self::PaddingMaskMissing,
        Self::WrongTokenizer,
        Self::EmbeddingsTooSmall,
        Self::NoShuffling,
        Self::Overfitting,
        Self::EvaluationOnTrainingData,
        Self::AccumulationWeighting,
        Self::AdapterNotAttached,
        Self::ForgottenEvalMode,
        Self::OutOfMemory,
        Self::ResumedWithOtherData,
    ];

    /// Its name on the command line, such as `vanishing-gradients`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What happens, and why.
    pub fn explanation(self) -> &'static str {
        self.entry().explanation
    }

    /// What to do.
    pub fn fix(self) -> &'static str {
        self.entry().fix
    }

    fn entry(self) -> Entry {
        let (name, explanation, fix) = match self {
            Self::VanishingGradients
            | Self::ExplodingGradients
            | Self::DeadActivations
            | Self::F16Overflow
            | Self::F16Underflow
            | Self::LearningRateTooHigh
            | Self::LearningRateTooLow => self.numbers(),
            Self::LabelsOffByOne
            | Self::LossOnPadding
            | Self::LossOnPrompt
            | Self::FutureLeak
            | Self::PaddingMaskMissing
            | Self::WrongTokenizer
            | Self::EmbeddingsTooSmall => self.tokens(),
            _ => self.procedure(),
        };
        Entry {
            name,
            explanation,
            fix,
        }
    }

    /// Failures of the arithmetic.
    fn numbers(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::VanishingGradients => (
                "vanishing-gradients",
                "Each layer multiplies the gradient by less than one on its way back, so that the \
                 first layers hardly learn while the last ones do. Saturating activations (sigmoid, \
                 tanh) in a deep stack do this.",
                "Use ReLU or SwiGLU, residual connections and normalization, and initialize by the \
                 layer's width.",
            ),
            Self::ExplodingGradients => (
                "exploding-gradients",
                "Each layer multiplies the gradient by more than one on its way back; one step then \
                 throws the weights far away, and the loss becomes huge or NaN.",
                "Initialize by the layer's width (standard deviation 1/sqrt(inputs)), normalize, and \
                 clip the gradient's global norm (`max_grad_norm = 1.0`).",
            ),
            Self::DeadActivations => (
                "dead-activations",
                "Units whose input is negative for every example give zero through ReLU and get no \
                 gradient: they never come back. One step that was too large, or a bias far below \
                 zero, kills them.",
                "Start biases at zero, lower the learning rate or warm it up, or use an activation \
                 with a slope on both sides (GELU, leaky ReLU).",
            ),
            Self::F16Overflow => (
                "f16-overflow",
                "Half precision ends at 65504. A larger value becomes infinite, and infinity minus \
                 infinity, or times zero, is NaN: the loss is NaN within the step.",
                "Compute in bf16, which has the range of f32, or keep the layers that grow (norms, \
                 softmax, loss) in f32 and lower the loss scale.",
            ),
            Self::F16Underflow => (
                "f16-underflow",
                "Half precision has nothing between zero and 6e-8. Gradients below that become zero, \
                 and the weights stop moving although the loss is far from its minimum.",
                "Scale the loss before the backward pass (`loss_scaling`, first by 65536), or compute in \
                 bf16.",
            ),
            Self::LearningRateTooHigh => (
                "learning-rate-too-high",
                "Every step overshoots: the loss goes up instead of down, or jumps about above its \
                 start.",
                "Divide the rate by ten, and warm it up over the first steps.",
            ),
            _ => (
                "learning-rate-too-low",
                "The weights change by a millionth a step: the loss goes down so slowly that the run \
                 would take months.",
                "Multiply the rate by ten until the loss falls within a few dozen steps; 1e-3 to 1e-5 \
                 of a weight's size a step is usual.",
            ),
        }
    }

    /// Failures of what the model reads and predicts.
    fn tokens(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::LabelsOffByOne => (
                "labels-off-by-one",
                "The loss shifts the labels by itself: label i belongs to token i. Labels that were \
                 shifted before are shifted twice, and the model learns to predict the token after \
                 the next.",
                "Give the labels as a copy of the input ids, and let the loss shift them.",
            ),
            Self::LossOnPadding => (
                "loss-on-padding",
                "The rows are filled up with padding, and the loss counts it: the loss falls quickly, \
                 because padding is easy to predict, while the text is hardly learned.",
                "Label padding with -100, which the loss leaves out.",
            ),
            Self::LossOnPrompt => (
                "loss-on-prompt",
                "In conversations the loss is taken on the user's words, too: the model learns to ask \
                 instead of to answer, and the questions' tokens drown the answers'.",
                "Label all but the assistant's turns with -100.",
            ),
            Self::FutureLeak => (
                "future-leak",
                "A position sees tokens that come after it: the model copies the answer instead of \
                 predicting it. The training loss falls towards zero; generation is nonsense.",
                "Apply the causal mask before the softmax: scores of later positions are minus \
                 infinity.",
            ),
            Self::PaddingMaskMissing => (
                "padding-mask-missing",
                "Attention looks at padding: a row's result depends on how long the others of its \
                 batch are, and on what the padding token means.",
                "Mask keys that are padding before the softmax.",
            ),
            Self::WrongTokenizer => (
                "wrong-tokenizer",
                "A model that has learned something starts with the loss of one that guesses: its \
                 tokens mean other words to it than to the tokenizer.",
                "Take the tokenizer.json of the same checkpoint.",
            ),
            _ => (
                "embeddings-too-small",
                "The tokenizer gives ids that the embedding has no row for: the first text with such \
                 a token ends the run, or reads another token's row.",
                "Take the checkpoint's own tokenizer, or enlarge embedding and head to the \
                 vocabulary's size.",
            ),
        }
    }

    /// Failures of how the run is made.
    fn procedure(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::NoShuffling => (
                "no-shuffling",
                "Batches beside each other are alike, because the data are sorted: the model learns \
                 one topic and forgets the one before.",
                "Shuffle with a seed (`shuffle = true`).",
            ),
            Self::Overfitting => (
                "overfitting",
                "The training loss falls while the held-out loss rises: the model learns the training \
                 texts by heart.",
                "Stop early, train fewer epochs, use more data, a lower rank, dropout or weight decay.",
            ),
            Self::EvaluationOnTrainingData => (
                "evaluation-on-training-data",
                "Held-out rows are among the training rows: the score says how well the model \
                 remembers, not how well it does on new texts.",
                "Split by document before anything else, and remove duplicates across the split.",
            ),
            Self::AccumulationWeighting => (
                "accumulation-weighting",
                "The loss says that it is the mean over another number of tokens than the batch has \
                 labels: when batches of different lengths are accumulated, short texts weigh too \
                 much.",
                "Weight every batch by the tokens that its mean is over: the result is the large \
                 batch's.",
            ),
            Self::AdapterNotAttached => (
                "adapter-not-attached",
                "An adapter was asked for and none trains: its targets name no layer, or it was put on \
                 another copy of the model. The file that is written changes nothing.",
                "Attach the adapter to the model that is trained, and check its targets against the \
                 layers' names.",
            ),
            Self::ForgottenEvalMode => (
                "forgotten-eval-mode",
                "Two evaluations of the same weights on the same texts differ: dropout is still \
                 drawing.",
                "Evaluate the model in inference mode (`model.valid()`).",
            ),
            Self::OutOfMemory => (
                "out-of-memory",
                "Weights, gradients, optimizer state and activations together need more memory than \
                 there is; the system ends the process, usually at the first backward pass.",
                "Smaller batches with accumulation, activation checkpointing, an adapter or 8-bit \
                 moments: the memory plan says what each saves.",
            ),
            _ => (
                "resumed-with-other-data",
                "The batch that the run had seen last is another one now: seed, files or order have \
                 changed, so that some texts are seen twice and others never.",
                "Resume with the seed, the files and the settings of the run's folder.",
            ),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A name that is no [`Failure`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a failure's name, found `{found}` (hint: one of {})",
    names()
)]
pub struct UnknownFailure {
    /// The name that was given.
    pub found: String,
}

fn names() -> String {
    Failure::ALL.map(Failure::name).join(", ")
}

impl FromStr for Failure {
    type Err = UnknownFailure;

    fn from_str(name: &str) -> Result<Self, UnknownFailure> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownFailure {
            found: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files_and_each_is_its_own() {
        for failure in Failure::ALL {
            assert_eq!(failure.name().parse(), Ok(failure));
            let json = serde_json::to_string(&failure).unwrap();
            assert_eq!(json, format!("\"{failure}\""));
            assert!(failure.explanation().len() > 40 && failure.fix().len() > 20);
        }
    }
}
