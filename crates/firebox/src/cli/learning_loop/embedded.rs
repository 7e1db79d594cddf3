//! The loop on what the binary carries: texts, questions, and a model trained here from scratch.

use std::path::PathBuf;

use firebox_checkpoint::{Checkpoint, Dtype};
use firebox_data::{
    BlockConfig, CHATML_TEMPLATE, Message, Order, PaddedConfig, Tokenizer, block_batches,
    padded_batches, train_byte_level_bpe,
};
use firebox_model::{LlamaConfig, LoraConfig};
use firebox_train::{AdamWConfig, Decay, OptimizerConfig, Schedule, TrainConfig};
use serde::Deserialize;
use serde_json::json;

use crate::loop_report::{Change, Curve, StageKind};

use super::super::args::LoopArgs;
use super::super::data::{self, Batches};
use super::super::model::ModelFiles;
use super::super::{finetune, save};
use super::round::{Question, Round};
use super::run::Run;

const CORPUS: &str = include_str!("../../../assets/corpus.jsonl");
const QUESTIONS: &str = include_str!("../../../assets/questions.jsonl");

/// Ends a document; also the padding.
const END: &str = "<|endoftext|>";
/// ChatML's marks.
const MARKS: [&str; 3] = [END, "<|im_start|>", "<|im_end|>"];
const VOCAB_SIZE: usize = 2048;
const BLOCK_LEN: usize = 128;
const PRETRAIN_STEPS: usize = 750;
const PRETRAIN_BATCH: usize = 6;
const ADAPT_STEPS: usize = 600;
const ADAPT_BATCH: usize = 8;
/// One paragraph in this many is held out of pretraining.
const HELD_OUT_EVERY: usize = 20;

#[derive(Deserialize)]
struct Paragraph {
    text: String,
}

#[derive(Deserialize)]
struct QuestionLine {
    split: String,
    messages: Vec<Message>,
}

/// The paragraphs, apart.
struct Corpus {
    training: Vec<String>,
    held_out: Vec<String>,
}

impl Corpus {
    fn new(paragraphs: Vec<Paragraph>) -> Self {
        let (mut training, mut held_out) = (Vec::new(), Vec::new());
        for (i, paragraph) in paragraphs.into_iter().enumerate() {
            let side = if i % HELD_OUT_EVERY == 0 {
                &mut held_out
            } else {
                &mut training
            };
            side.push(paragraph.text);
        }
        Self { training, held_out }
    }
}

/// Trains a tokenizer and a base model, and prepares the round on the questions.
pub(super) fn prepare(args: &LoopArgs, run: &mut Run<'_>) -> anyhow::Result<Round> {
    let corpus = Corpus::new(lines(CORPUS)?);
    let questions: Vec<QuestionLine> = lines(QUESTIONS)?;
    let (train, test): (Vec<_>, Vec<_>) = questions
        .into_iter()
        .partition(|line| line.split == "train");
    let tokenizer = run.stage(StageKind::Tokenizer, "tokenizer", |_| {
        let asked = train
            .iter()
            .flat_map(|line| line.messages.iter().map(|m| m.content.as_str()));
        let texts = corpus.training.iter().map(String::as_str).chain(asked);
        Ok(train_byte_level_bpe(texts, VOCAB_SIZE, &MARKS)?)
    })?;
    let base = pretrain(&tokenizer, &corpus, args.training.seed, run)?;
    round(base, &train, &test, args)
}

fn lines<T: serde::de::DeserializeOwned>(jsonl: &str) -> anyhow::Result<Vec<T>> {
    jsonl
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn sizes(tokenizer: &Tokenizer) -> LlamaConfig {
    let ends = ["<|im_end|>", END]
        .iter()
        .filter_map(|mark| tokenizer.token_to_id(mark));
    LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 512,
        eos_ids: ends.collect(),
        ..LlamaConfig::new(tokenizer.vocab_size(), 128, 384, 4, 4)
    }
}

fn pretrain(
    tokenizer: &Tokenizer,
    corpus: &Corpus,
    seed: u64,
    run: &mut Run<'_>,
) -> anyhow::Result<PathBuf> {
    let (device, path) = (run.device, run.folder.path().join("base"));
    let mut losses = Vec::new();
    run.stage(StageKind::Pretrain, "train from scratch", |stage| {
        let encode = |texts: &[String]| -> anyhow::Result<Vec<Vec<u32>>> {
            texts
                .iter()
                .map(|text| Ok(tokenizer.encode(text)?))
                .collect()
        };
        let separator_id = tokenizer.token_to_id(END).unwrap_or(0);
        let order = Order::Shuffled { seed };
        let blocks = BlockConfig {
            separator_id,
            block_len: BLOCK_LEN,
            batch_size: PRETRAIN_BATCH,
            order,
        };
        let blocks = block_batches(encode(&corpus.training)?, &blocks)?;
        let mut batches = Batches::new(blocks, corpus.training.len());
        let held_out = encode(&corpus.held_out)?;
        let model = sizes(tokenizer).init(seed, device);
        let before = firebox_eval::nll(&model, &held_out, |_| ())?.nll;
        let schedule = Schedule {
            peak: 2e-3,
            n_warmup_steps: 20,
            decay: Decay::Cosine { floor: 0.05 },
        };
        let adamw = AdamWConfig {
            // Gradients of so small a corpus change fast: 0.999 learns half as much in the same time.
            beta_2: 0.99,
            weight_decay: 0.1,
            ..AdamWConfig::default()
        };
        let config = TrainConfig {
            optimizer: OptimizerConfig::AdamW(adamw),
            max_grad_norm: Some(1.0),
            ..TrainConfig::new(PRETRAIN_STEPS, schedule)
        };
        let (model, summary) = finetune::train_all(model, &mut batches, &config)?;
        losses = summary.steps.iter().map(|step| step.loss).collect();
        stage.loss = Some(Change::new(
            before,
            firebox_eval::nll(&model, &held_out, |_| ())?.nll,
        ));
        stage.tokens_per_s = Some(summary.tokens_per_s);
        save::new_model(&model, &side_files(tokenizer)?, &path, Dtype::F32)?;
        stage.size_bytes = Some(Change::only(Checkpoint::open(&path)?.size_bytes()));
        Ok(())
    })?;
    run.curves.push(Curve::train_loss(
        "Training from scratch: loss on the corpus",
        &losses,
    ));
    Ok(path)
}

/// What lies beside the weights.
fn side_files(tokenizer: &Tokenizer) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHATML_TEMPLATE,
        "eos_token": "<|im_end|>",
        "pad_token": END,
        "clean_up_tokenization_spaces": false,
    });
    Ok(vec![
        ("tokenizer.json", tokenizer.to_json().to_vec()),
        ("tokenizer_config.json", serde_json::to_vec_pretty(&config)?),
    ])
}

fn round(
    base: PathBuf,
    train: &[QuestionLine],
    test: &[QuestionLine],
    args: &LoopArgs,
) -> anyhow::Result<Round> {
    let files = ModelFiles::from_path(&base)?;
    let encode = |lines: &[QuestionLine]| {
        let chats: Vec<_> = lines.iter().map(|line| line.messages.clone()).collect();
        data::encode_chats(&files.tokenizer, files.chat_template.as_ref(), &chats)
    };
    let padding = PaddedConfig {
        batch_size: ADAPT_BATCH,
        max_len: BLOCK_LEN,
        pad_id: data::separator(&files),
        order: Order::Shuffled {
            seed: args.training.seed,
        },
    };
    let batches = padded_batches(encode(train)?, &padding)?;
    let schedule = Schedule {
        peak: 6e-3,
        n_warmup_steps: 10,
        decay: Decay::Cosine { floor: 0.05 },
    };
    Ok(Round {
        title: "The embedded default".into(),
        base_name: base.display().to_string(),
        base,
        batches: Batches::new(batches, train.len()),
        training: TrainConfig {
            max_grad_norm: Some(1.0),
            ..TrainConfig::new(ADAPT_STEPS, schedule)
        },
        lora: LoraConfig::new(16, 32.0, ["*_proj"]),
        seed: args.training.seed,
        scored: encode(test)?,
        scored_what: format!(
            "answers to {} questions in words that were not trained on",
            test.len()
        ),
        questions: test
            .iter()
            .step_by(test.len().div_ceil(6))
            .filter_map(question)
            .collect(),
    })
}

/// The user's message, and the answer that the data gives.
fn question(line: &QuestionLine) -> Option<Question> {
    let (answer, asked) = line.messages.split_last()?;
    Some(Question {
        messages: asked.to_vec(),
        expected: Some(answer.content.clone()),
        max_new_tokens: 48,
    })
}
