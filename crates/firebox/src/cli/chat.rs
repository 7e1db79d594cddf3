//! `firebox chat`.

use std::io::{BufRead, IsTerminal};

use firebox_data::Message;
use firebox_model::{CausalLm, GenerateConfig};
use serde::Serialize;

use super::args::{ChatArgs, Globals};
use super::exit::UserError;
use super::generate::{Generated, generate, sampling};
use super::model::LoadedModel;
use super::output;

#[derive(Serialize)]
struct Answer {
    answer: String,
    #[serde(flatten)]
    generated: Generated,
}

pub(crate) fn run(globals: &Globals, args: &ChatArgs) -> anyhow::Result<()> {
    if globals.json && args.message.is_none() {
        let text = "chat with --json: expected a message, found none (hint: firebox chat --json --model M \"…\")";
        return Err(UserError(text.into()).into());
    }
    let loaded = LoadedModel::open(globals, &args.model)?;
    let mut messages = Vec::new();
    messages.extend(args.system.clone().map(|content| Message {
        role: "system".into(),
        content,
    }));
    if let Some(message) = &args.message {
        answer(globals, args, &loaded, &mut messages, message.clone())?;
        return Ok(());
    }
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        eprintln!("Talk with the model; an empty line or Ctrl-D ends.");
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if terminal {
            eprint!("> ");
        }
        match lines.next().transpose()? {
            Some(line) if !line.trim().is_empty() => {
                answer(globals, args, &loaded, &mut messages, line)?
            }
            _ => return Ok(()),
        }
    }
}

/// One turn: the user's message and the model's answer join `messages`.
fn answer(
    globals: &Globals,
    args: &ChatArgs,
    loaded: &LoadedModel,
    messages: &mut Vec<Message>,
    content: String,
) -> anyhow::Result<()> {
    messages.push(Message {
        role: "user".into(),
        content,
    });
    let prompt = fit(loaded, messages, args.max_new_tokens)?;
    let config = GenerateConfig {
        sampling: sampling(&args.sampling),
        max_new_tokens: args.max_new_tokens,
        eos_ids: loaded.files.eos_ids(),
        stop: args.sampling.stop.clone(),
    };
    let show = |piece: &str| {
        if globals.json {
            Ok(())
        } else {
            output::write(piece)
        }
    };
    let generated = generate(loaded, &prompt, config, true, show)?;
    let text = generated.text.clone();
    if globals.json {
        output::print(
            true,
            &Answer {
                answer: text.clone(),
                generated,
            },
            String::new,
        )?;
    } else {
        output::write("\n")?;
    }
    messages.push(Message {
        role: "assistant".into(),
        content: text,
    });
    Ok(())
}

/// The prompt of a conversation; its oldest turns are forgotten where it outgrows the context.
fn fit(
    loaded: &LoadedModel,
    messages: &mut Vec<Message>,
    max_new_tokens: usize,
) -> anyhow::Result<Vec<u32>> {
    let context = loaded.model.config().max_seq_len;
    loop {
        let prompt = loaded.files.encode_chat(messages)?;
        let oldest = messages
            .iter()
            .position(|message| message.role != "system")
            .unwrap_or(0);
        // A turn and its answer; the question at hand stays.
        let can_forget = messages.len() - oldest > 2;
        if prompt.len() + max_new_tokens.min(context / 2) <= context || !can_forget {
            return Ok(prompt);
        }
        messages.drain(oldest..oldest + 2);
        eprintln!(
            "note: the conversation outgrew the context of {context} tokens; its oldest turn is forgotten"
        );
    }
}
