//! `firebox tokenizer train`.

use std::time::Instant;

use firebox_data::{
    ChineseSplit, Record, TokenizerModel, TokenizerTraining, WordSplit, read_records,
};
use serde::Serialize;

use super::args::Globals;
use super::model::fetch;
use super::output::{self, bytes};
use super::tokenizer_args::{ChineseName, TokenizerKind, TokenizerTrainArgs, WordsName};

#[derive(Serialize)]
struct Trained {
    out: String,
    model: &'static str,
    vocab_size: usize,
    n_texts: u64,
    n_bytes: u64,
    seconds: f64,
}

pub(crate) fn run(globals: &Globals, args: &TokenizerTrainArgs) -> anyhow::Result<()> {
    let training = TokenizerTraining {
        chinese: match args.chinese {
            ChineseName::Bytes => ChineseSplit::Unsplit,
            ChineseName::Characters => ChineseSplit::Characters,
            ChineseName::Jieba => ChineseSplit::Jieba,
        },
        special_tokens: args.special.clone(),
        min_frequency: args.min_frequency,
        nfc: args.nfc,
        ..TokenizerTraining::new(model(args), args.vocab_size)
    };
    training.validate()?;
    if !training.splits_alike_in_use() {
        eprintln!(
            "note: jieba's words cannot be written to tokenizer.json: they keep tokens within words while it is trained, and texts are encoded without them"
        );
    }
    let start = Instant::now();
    let mut files = Vec::new();
    for data in &args.data {
        files.push(read_records(fetch(globals, data)?)?);
    }
    let (mut n_texts, mut n_bytes, mut failed) = (0, 0, None);
    let texts = files
        .into_iter()
        .flatten()
        .map_while(|record| match record {
            Ok(record) => Some(text_of(record)),
            Err(error) => {
                failed = Some(error);
                None
            }
        })
        .inspect(|text| {
            n_texts += 1;
            n_bytes += text.len() as u64;
        });
    let tokenizer = training.train(texts)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    firebox_checkpoint::write_atomic(&args.out, tokenizer.to_json())?;
    let trained = Trained {
        out: args.out.display().to_string(),
        model: training.model.name(),
        vocab_size: tokenizer.vocab_size(),
        n_texts,
        n_bytes,
        seconds: start.elapsed().as_secs_f64(),
    };
    output::print(globals.json, &trained, || {
        format!(
            "{} of {} tokens written to {}\nfrom {} texts, {}, in {:.1} s",
            trained.model,
            trained.vocab_size,
            trained.out,
            trained.n_texts,
            bytes(trained.n_bytes),
            trained.seconds
        )
    })
}

fn model(args: &TokenizerTrainArgs) -> TokenizerModel {
    match args.kind {
        TokenizerKind::ByteLevelBpe => TokenizerModel::ByteLevelBpe {
            words: match args.words {
                WordsName::Gpt2 => WordSplit::Gpt2,
                WordsName::Smollm2 => WordSplit::SmolLm2,
                WordsName::Llama3 => WordSplit::Llama3,
                WordsName::Qwen2 => WordSplit::Qwen2,
            },
        },
        TokenizerKind::Bpe => TokenizerModel::Bpe,
        TokenizerKind::WordPiece => TokenizerModel::WordPiece,
        TokenizerKind::Unigram => TokenizerModel::Unigram,
    }
}

/// What a record teaches: its text, or all that is said.
pub(super) fn text_of(record: Record) -> String {
    match record {
        Record::Text(text) => text.training_text(),
        Record::Chat(messages) => {
            let said: Vec<String> = messages
                .into_iter()
                .map(|message| message.content)
                .collect();
            said.join("\n")
        }
    }
}
