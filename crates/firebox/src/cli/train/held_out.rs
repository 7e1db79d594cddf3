//! Scores on held-out records, and texts that the model writes while it trains.

use firebox_data::Example;
use firebox_model::{GenerateConfig, Llama, SamplingConfig};
use firebox_train::{Evaluation, Evaluator, LossError, Sample};

use super::inputs::RunFiles;
use super::settings::SampleSettings;

pub(super) struct HeldOut<'a> {
    files: &'a RunFiles,
    /// Ids and labels.
    rows: Vec<(Vec<u32>, Vec<i64>)>,
    samples: Option<&'a SampleSettings>,
}

impl<'a> HeldOut<'a> {
    pub(super) fn new(
        files: &'a RunFiles,
        rows: &'a [Example],
        samples: Option<&'a SampleSettings>,
    ) -> Self {
        Self {
            files,
            rows: rows
                .iter()
                .map(|row| (row.input_ids.clone(), row.labels.clone()))
                .collect(),
            samples,
        }
    }

    fn sample(
        &self,
        model: &Llama,
        prompt: &str,
        max_new_tokens: usize,
    ) -> Result<Sample, LossError> {
        let ids = self.files.tokenizer.encode(prompt)?;
        let config = GenerateConfig {
            max_new_tokens,
            sampling: SamplingConfig::default(), // greedy
            eos_ids: model.config().eos_ids.clone(),
            stop: Vec::new(),
        };
        let decode = self.files.tokenizer.decoder(true);
        let tokens = model.generate(&ids, config, decode)?;
        Ok(Sample {
            prompt: prompt.to_owned(),
            text: tokens.map(|token| token.text).collect(),
        })
    }
}

impl Evaluator<Llama> for HeldOut<'_> {
    fn evaluate(&mut self, model: &Llama, _step: usize) -> Result<Evaluation, LossError> {
        let report = firebox_eval::nll_of_labels(model, &self.rows, |_| ())?;
        let mut samples = Vec::new();
        if let Some(settings) = self.samples {
            for prompt in &settings.prompts {
                samples.push(self.sample(model, prompt, settings.max_new_tokens)?);
            }
        }
        Ok(Evaluation {
            loss: report.nll,
            scores: [("perplexity".to_owned(), report.perplexity)].into(),
            samples,
        })
    }
}
