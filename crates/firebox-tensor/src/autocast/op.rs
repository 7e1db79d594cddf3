//! PyTorch's lists of what autocast does to which operation.

/// What autocast does to the inputs of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpClass {
    /// They are rounded to the half precision.
    Lower,
    /// They are widened to f32.
    F32,
    /// They are widened to the widest of them.
    Widest,
    /// Nothing, where they have one dtype; where they do not, the widest, as ordinary type promotion.
    Unlisted,
}

/// Whose lists are followed: PyTorch has one set for processors and one for GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpLists {
    /// `torch.autocast("cpu")`.
    Cpu,
    /// `torch.autocast("cuda")`.
    Gpu,
}

/// Declares [`Op`] with PyTorch's name of each operation and its class on the CPU and on the GPU.
macro_rules! ops {
    ($($variant:ident $name:literal $cpu:ident $gpu:ident;)*) => {
        /// An operation as the lists know it. Those not here are [`Op::Other`]: autocast leaves them alone.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Op {
            $(#[doc = concat!("PyTorch's `", $name, "`.")] $variant,)*
            /// Any operation that is on no list, such as `add`, `relu` or `embedding`.
            Other,
        }

        impl Op {
            /// The operations that a list names.
            pub const LISTED: &[Self] = &[$(Self::$variant),*];

            /// PyTorch's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "other",
                }
            }

            /// What autocast does to its inputs.
            pub fn class(self, lists: OpLists) -> OpClass {
                match (self, lists) {
                    $(
                        (Self::$variant, OpLists::Cpu) => OpClass::$cpu,
                        (Self::$variant, OpLists::Gpu) => OpClass::$gpu,
                    )*
                    (Self::Other, _) => OpClass::Unlisted,
                }
            }
        }
    };
}

ops! {
    Matmul "matmul" Lower Lower;
    Linear "linear" Lower Lower;
    Conv1d "conv1d" Lower Lower;
    Conv2d "conv2d" Lower Lower;
    Conv3d "conv3d" Lower Lower;
    ConvTranspose1d "conv_transpose1d" Lower Lower;
    ConvTranspose2d "conv_transpose2d" Lower Lower;
    ConvTranspose3d "conv_transpose3d" Lower Lower;
    Attention "scaled_dot_product_attention" Lower Lower;
    Prelu "prelu" Lower Lower;
    Softmax "softmax" Unlisted F32;
    LogSoftmax "log_softmax" Unlisted F32;
    Softmin "softmin" Unlisted F32;
    Softplus "softplus" Unlisted F32;
    LayerNorm "layer_norm" Unlisted F32;
    GroupNorm "group_norm" Unlisted F32;
    NllLoss "nll_loss" F32 F32;
    MseLoss "mse_loss" F32 F32;
    L1Loss "l1_loss" F32 F32;
    SmoothL1Loss "smooth_l1_loss" F32 F32;
    HuberLoss "huber_loss" F32 F32;
    KlDiv "kl_div" F32 F32;
    BinaryCrossEntropy "binary_cross_entropy_with_logits" F32 F32;
    PoissonNllLoss "poisson_nll_loss" F32 F32;
    CosineEmbeddingLoss "cosine_embedding_loss" F32 F32;
    CtcLoss "ctc_loss" F32 Unlisted;
    CosineSimilarity "cosine_similarity" Unlisted F32;
    Cdist "cdist" F32 F32;
    Exp "exp" Unlisted F32;
    Expm1 "expm1" Unlisted F32;
    Log "log" Unlisted F32;
    Log1p "log1p" Unlisted F32;
    Log2 "log2" Unlisted F32;
    Log10 "log10" Unlisted F32;
    Pow "pow" Unlisted F32;
    Reciprocal "reciprocal" Unlisted F32;
    Rsqrt "rsqrt" Unlisted F32;
    Sinh "sinh" Unlisted F32;
    Cosh "cosh" Unlisted F32;
    Tan "tan" Unlisted F32;
    Asin "asin" Unlisted F32;
    Acos "acos" Unlisted F32;
    Sum "sum" Unlisted F32;
    Prod "prod" F32 F32;
    Cumsum "cumsum" Unlisted F32;
    Cumprod "cumprod" Unlisted F32;
    Norm "norm" Unlisted F32;
    Quantile "quantile" F32 Unlisted;
    Trace "trace" F32 F32;
    GridSample "grid_sample" F32 Widest;
    Cat "cat" Widest Widest;
    Stack "stack" Widest Widest;
    IndexPut "index_put" Unlisted Widest;
    ScatterAdd "scatter_add" Unlisted Widest;
    Addcmul "addcmul" Unlisted Widest;
    Addcdiv "addcdiv" Unlisted Widest;
    Atan2 "atan2" Unlisted Widest;
    Cross "cross" Unlisted Widest;
    Dot "dot" Unlisted Widest;
}
