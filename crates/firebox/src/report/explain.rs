//! What each stage means, and what to try next.

use super::escape::escape;
use crate::loop_report::{LoopReport, StageKind};

/// The explanation of one kind of stage.
struct Explanation {
    title: &'static str,
    /// What is done, and why.
    what: &'static str,
    /// How to read its figures.
    figures: &'static str,
    /// What to change in the next turn.
    next: &'static str,
}

/// One entry for each kind of stage that the run had, in the run's order.
pub(crate) fn section(report: &LoopReport) -> String {
    let mut kinds: Vec<StageKind> = Vec::new();
    for stage in &report.stages {
        if !kinds.contains(&stage.kind) {
            kinds.push(stage.kind);
        }
    }
    let entries: String = kinds.into_iter().map(|kind| entry(report, kind)).collect();
    format!(
        r#"<section>
<h2>The loop, stage by stage</h2>
<ol class="explained">
{entries}</ol>
<p class="again">And round again: look at the answers above, change <em>one</em> thing, run the loop once more, and compare the two reports.</p>
</section>
"#
    )
}

fn entry(report: &LoopReport, kind: StageKind) -> String {
    let explanation = explanation(kind);
    let command = command(report, kind)
        .map(|command| format!("<pre><code>{}</code></pre>\n", flags(&command)));
    format!(
        "<li>\n<h3>{title}</h3>\n<p>{what}</p>\n<p><b>The figures.</b> {figures}</p>\n\
         <p><b>Try next.</b> {next}</p>\n{command}</li>\n",
        title = explanation.title,
        what = explanation.what,
        figures = explanation.figures,
        next = explanation.next,
        command = command.unwrap_or_default(),
    )
}

/// Escapes a command, and keeps each of its flags together where the line must be broken.
fn flags(command: &str) -> String {
    let part = |part: &str| format!("<span>{}</span>", escape(part));
    let mut parts = command.split(" --");
    let first = parts.next().map(part).unwrap_or_default();
    let rest = parts.map(|flag| format!(" {}", part(&format!("--{flag}"))));
    first + &rest.collect::<String>()
}

/// A command that goes on from what the run left behind.
fn command(report: &LoopReport, kind: StageKind) -> Option<String> {
    let artifacts = &report.artifacts;
    let model = quoted(artifacts.model.as_deref()?);
    match kind {
        StageKind::Load | StageKind::Pretrain => Some(format!(
            "firebox generate --model {model} --prompt \"Once\""
        )),
        StageKind::Tokenizer => Some(format!(
            "firebox tokenizer encode --model {model} --prompt \"some words of yours\""
        )),
        StageKind::Finetune => Some(format!(
            "firebox finetune --model {model} --data YOUR.jsonl --rank 16 --out my-adapter"
        )),
        StageKind::Merge => {
            let adapter = quoted(artifacts.adapter.as_deref()?);
            Some(format!(
                "firebox merge --model {model} --adapter {adapter} --out merged"
            ))
        }
        StageKind::Quantize => Some(format!(
            "firebox quantize --model {model} --format nf4-dq --out smaller"
        )),
        StageKind::Evaluate => Some(format!(
            "firebox eval perplexity --model {model} --text YOUR.txt"
        )),
        StageKind::Serve => {
            let smallest = artifacts.quantized.as_deref().map(quoted);
            let served = smallest.unwrap_or(model);
            Some(format!("firebox serve --model {served}"))
        }
        StageKind::Data => None,
    }
}

/// In quotes where a shell would split it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:+@".contains(c);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

fn explanation(kind: StageKind) -> Explanation {
    match kind {
        StageKind::Load => LOAD,
        StageKind::Data => DATA,
        StageKind::Tokenizer => TOKENIZER,
        StageKind::Pretrain => PRETRAIN,
        StageKind::Finetune => FINETUNE,
        StageKind::Merge => MERGE,
        StageKind::Quantize => QUANTIZE,
        StageKind::Evaluate => EVALUATE,
        StageKind::Serve => SERVE,
    }
}

const LOAD: Explanation = Explanation {
    title: "Load a model",
    what: "A checkpoint is a file of numbers, the weights, and a description of how they fit together. Both are read and checked; the weights stay on disk until they are needed.",
    figures: "The size is that of the files. In memory the model is larger when it is computed in a wider number format than it is stored in.",
    next: "Ask the model something before you change it: you will want to know what it could do already.",
};

const DATA: Explanation = Explanation {
    title: "Read the text",
    what: "Texts are read, cleaned of what does not belong, and divided: most are for learning, a few are put aside and never trained on. Only those few can show whether a model understands text in general or has learned its lesson by heart.",
    figures: "A model learns from tokens, not from files: what counts is how many tokens there are, and how much they differ.",
    next: "Use your own text. A few hundred good paragraphs of one kind are enough to see a model adapt to it.",
};

const TOKENIZER: Explanation = Explanation {
    title: "Learn a vocabulary",
    what: "A model reads numbers. The tokenizer cuts text into pieces that occur often, whole words or parts of them, and gives each a number. It learns the pieces from the text itself: it starts with single bytes and joins the most frequent neighbours again and again.",
    figures: "Fewer tokens for the same text make everything after it faster. More kinds of pieces make them fewer, but each must then be learned from fewer examples.",
    next: "Look at how a sentence of yours is cut. Pieces of one or two letters mean that the tokenizer never saw such text.",
};

const PRETRAIN: Explanation = Explanation {
    title: "Train from scratch",
    what: "The weights start as random numbers, and so do the predictions. For every position in a text the model says how likely each token is to come next; the weights are then moved a little, so that the token that did come would have been likelier.",
    figures: "With random weights the loss is about the logarithm of the number of pieces, 7.6 for 2,048 of them. The first fall is the frequency of the tokens, the next the grammar, and only what remains is about facts. If the loss on held-out text rises while this one falls, the model learns by heart.",
    next: "Let it see how the text goes on from a beginning of yours, then train a larger model, or longer: which of the two helps more?",
};

const FINETUNE: Explanation = Explanation {
    title: "Adapt with LoRA",
    what: "To adapt a model to a task, not all weights need to move. LoRA freezes them and trains two thin matrices beside some of the layers, whose product is the change. That is a small part of the numbers, so it takes little memory, and the adapter is a small file that can be swapped.",
    figures: "The loss here is over the new text only, where answers are to be learned over the answers only. A large step down on few examples is easy; look at the held-out score to see whether it is worth something.",
    next: "A higher rank can express a larger change, more target layers a different one. Compare both at the same time spent.",
};

const MERGE: Explanation = Explanation {
    title: "Merge the adapter",
    what: "The product of the two thin matrices is added to the weights that it belongs to. The result is an ordinary model that answers as before, without a detour through the adapter.",
    figures: "The size is the original model's again: an adapter adds numbers to existing ones.",
    next: "Keep the adapter as well. One base model with many adapters takes less room than many merged models.",
};

const QUANTIZE: Explanation = Explanation {
    title: "Pack the weights into fewer bits",
    what: "Weights are trained in 32 bits but need fewer to be used. INT8 rounds each to one of 255 levels, scaled row by row. NF4 has sixteen levels, spaced as weights are usually distributed, and one scale for 64 weights: about four and a half bits each.",
    figures: "Writing an answer means reading all weights once for every token, so half the bytes can be up to twice the speed. The price is in the held-out score: less than 0.01 is nothing, 0.1 is visible in the answers.",
    next: "Double quantization (nf4-dq) also packs the scales. Is the score any worse?",
};

const EVALUATE: Explanation = Explanation {
    title: "Score on held-out text",
    what: "Every version of the model reads the texts that were put aside and says how likely each next token was. The mean surprise is the score. It needs no judge, it is the same every time, and it says whether a change helped.",
    figures: "The score is per token: compare only models with the same tokenizer, on the same text. On a few short texts a small difference may be chance.",
    next: "Score a text of another kind. A model that was adapted to one kind often gets worse at the others.",
};

const SERVE: Explanation = Explanation {
    title: "Serve and ask",
    what: "The model answers over HTTP, in the form that most programs already speak, so any chat client can use it. It writes one token at a time; what it computed for the text so far is kept, so that each new token costs the same.",
    figures: "Reading a prompt is fast, since its tokens are computed together. Writing is slower, since each token waits for the one before it: that is the rate in the table.",
    next: "Leave it running, point a client at it, and collect the questions that it answers badly: they are the text of the next turn.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_shell_would_split_is_quoted() {
        assert_eq!(quoted("runs/a-1/model"), "runs/a-1/model");
        assert_eq!(quoted("my runs/it's"), r"'my runs/it'\''s'");
    }
}
