//! A small model, its tokenizer, and requests of every kind.

use std::sync::{Arc, LazyLock};

use burn::tensor::Device;
use firebox_checkpoint::{Checkpoint, Dtype, HfWriter};
use firebox_data::{Tokenizer, train_byte_level_bpe};
use firebox_engine::{Engine, EngineConfig, Event, Request, TokenLogprobs};
use firebox_model::{
    GenerateConfig, HostAdapter, HostLlama, HostWeights, Llama, LlamaConfig, LoraConfig,
    NamedWeight, SamplingConfig, Weight,
};
use firebox_tensor::random::CounterRng;

/// Two layers, weights ten times larger than a fresh model's, so that tokens differ in their logits.
pub(crate) fn on_burn() -> Llama {
    let config = LlamaConfig {
        n_kv_heads: 2,
        max_seq_len: 640,
        eos_ids: vec![2],
        ..LlamaConfig::new(300, 24, 40, 2, 4)
    };
    let mut model = config.init(7, &Device::flex());
    model.embed_tokens = model.embed_tokens.map(|w| w.mul_scalar(10.0));
    for (_, linear) in model.linears_mut() {
        if let Weight::Dense(weight) = &mut linear.weight {
            *weight = weight.clone().map(|w| w.mul_scalar(10.0));
        }
    }
    model
}

static CHECKPOINT: LazyLock<(tempfile::TempDir, Checkpoint)> = LazyLock::new(|| {
    let model = on_burn();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let mut writer = HfWriter::create(&path).unwrap();
    writer.set_config(model.config().to_hf());
    NamedWeight::write_all(&model.named_weights(), writer, Dtype::F32).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (dir, checkpoint)
});

/// The same for the CPU.
pub(crate) fn on_host() -> HostLlama {
    HostLlama::load(&CHECKPOINT.1, HostWeights::Stored).unwrap()
}

/// Two adapters of it that change much.
pub(crate) static ADAPTERS: LazyLock<[Arc<HostAdapter>; 2]> = LazyLock::new(|| {
    let adapter = |seed: u64, targets: &[&str]| {
        let config = LoraConfig::new(4, 8.0, targets.iter().copied());
        let mut model = on_burn().attach_lora(&config, seed).unwrap();
        for (_, linear) in model.linears_mut() {
            if let Some(lora) = &mut linear.lora {
                lora.lora_b = lora.lora_b.clone().map(|b| b.add_scalar(0.5));
            }
        }
        let adapter = model.adapter("tiny").unwrap();
        Arc::new(HostAdapter::new(model.config(), &adapter).unwrap())
    };
    [
        adapter(1, &["q_proj", "v_proj", "down_proj"]),
        adapter(2, &["k_proj", "o_proj", "gate_proj", "up_proj"]),
    ]
});

pub(crate) static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| train_byte_level_bpe(["hello hello"], 258, &[]).unwrap());

pub(crate) fn engine(config: EngineConfig) -> Engine {
    Engine::start(on_host(), TOKENIZER.clone(), config).unwrap()
}

pub(crate) fn ids(seed: u64, n: usize) -> Vec<u32> {
    let mut rng = CounterRng::new(seed, 9);
    (0..n).map(|_| 3 + rng.below(253) as u32).collect()
}

pub(crate) fn greedy(max_new_tokens: usize) -> GenerateConfig {
    GenerateConfig {
        sampling: SamplingConfig::default(),
        max_new_tokens,
        eos_ids: vec![2],
        stop: vec![],
    }
}

/// Requests of every kind; half have an adapter, a third begin with the same 200 tokens, and some are
/// repetitive.
pub(crate) fn mixed_requests(n: usize) -> Vec<Request> {
    let shared = ids(99, 200);
    let request = |i: usize| {
        let mut rng = CounterRng::new(i as u64, 1);
        let mut prompt = match i % 3 {
            0 => shared.clone(),
            1 => ids(i as u64, 12).repeat(1 + rng.below(8) as usize),
            _ => ids(i as u64, 1 + rng.below(150) as usize),
        };
        let n_own = rng.below(20) as usize;
        prompt.extend(ids(1000 + i as u64, 1 + n_own));
        let mut generate = greedy(1 + rng.below(40) as usize);
        if i % 2 == 1 {
            generate.sampling = SamplingConfig {
                temperature: 0.2 + rng.uniform(),
                top_k: rng.below(3) as usize * 20,
                top_p: 0.8 + 0.2 * rng.uniform(),
                repetition_penalty: 1.0 + 0.2 * rng.uniform(),
                frequency_penalty: rng.uniform(),
                seed: i as u64,
                ..SamplingConfig::default()
            };
        }
        Request {
            adapter: ADAPTERS.get(i / 3 % 4).cloned(),
            min_tokens: i % 5,
            logprobs: i.is_multiple_of(4).then_some(2),
            prompt_logprobs: i.is_multiple_of(7).then_some(1),
            tenant: Arc::from(["a", "b", "c"][i % 3]),
            priority: (i % 2) as i32,
            ..Request::new(prompt, generate)
        }
    };
    (0..n).map(request).collect()
}

/// All that an answer says.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Answer {
    pub(crate) ids: Vec<u32>,
    pub(crate) text: String,
    pub(crate) logprobs: Vec<TokenLogprobs>,
    pub(crate) prompt: Vec<TokenLogprobs>,
    pub(crate) n_cached: usize,
    pub(crate) reason: String,
}

pub(crate) fn answer(events: impl Iterator<Item = Event>) -> Answer {
    let mut answer = Answer::default();
    for event in events {
        match event {
            Event::Prompt(logprobs) => answer.prompt = logprobs,
            Event::Token { id, text, logprobs } => {
                answer.ids.push(id);
                answer.text.push_str(&text);
                answer.logprobs.extend(logprobs);
            }
            Event::Finished(finished) => {
                answer.reason = format!("{:?}", finished.reason);
                answer.n_cached = finished.n_cached_tokens;
                assert_eq!(finished.n_new_tokens, answer.ids.len());
            }
            Event::Failed(error) => answer.reason = error.to_string(),
        }
    }
    answer
}
