//! Builds GGUF files, sound and broken, for the tests.

/// The fields of a GGUF file, one after another.
#[derive(Debug, Clone)]
pub(crate) struct GgufBuilder {
    version: u32,
    n_tensors: u64,
    n_keys: u64,
    keys: Vec<u8>,
    tensors: Vec<u8>,
    data: Vec<u8>,
}

pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

impl GgufBuilder {
    pub(crate) fn new() -> Self {
        Self {
            version: 3,
            n_tensors: 0,
            n_keys: 0,
            keys: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }

    pub(crate) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// A key with a value of that type, as raw bytes.
    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.n_keys += 1;
        self.keys.extend(string(key));
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, 7, &[value.into()])
    }

    pub(crate) fn str(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &string(value))
    }

    pub(crate) fn strs(self, key: &str, values: &[&str]) -> Self {
        let head = [
            &8u32.to_le_bytes()[..],
            &(values.len() as u64).to_le_bytes(),
        ]
        .concat();
        let all: Vec<u8> = head
            .into_iter()
            .chain(values.iter().flat_map(string))
            .collect();
        self.raw(key, 9, &all)
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let head = [
            &5u32.to_le_bytes()[..],
            &(values.len() as u64).to_le_bytes(),
        ]
        .concat();
        let all = head
            .into_iter()
            .chain(values.iter().flat_map(|x| x.to_le_bytes()));
        self.raw(key, 9, &all.collect::<Vec<u8>>())
    }

    /// Gives a key another name, of the same length, that means nothing.
    pub(crate) fn renamed(mut self, key: &str) -> Self {
        let old = string(key);
        let at = self
            .keys
            .windows(old.len())
            .position(|window| window == old);
        let at = at.expect("the key is there");
        self.keys[at + 8..at + old.len()].fill(b'x');
        self.keys[at + 8] = b'a' + (at % 26) as u8; // Two of one length must differ.
        self.keys[at + 9] = b'a' + (at / 26 % 26) as u8;
        self
    }

    /// A tensor in the list: axes in the file's order, the fastest first.
    pub(crate) fn listed(mut self, name: &str, axes: &[u64], kind: u32, offset: u64) -> Self {
        self.n_tensors += 1;
        self.tensors.extend(string(name));
        self.tensors.extend((axes.len() as u32).to_le_bytes());
        self.tensors
            .extend(axes.iter().flat_map(|size| size.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self
    }

    /// A tensor of `F32`, and its data; row-major shape.
    pub(crate) fn tensor(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.stored(name, shape, 0, &bytes)
    }

    /// A tensor of any encoding, and its data; row-major shape.
    pub(crate) fn stored(mut self, name: &str, shape: &[usize], kind: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        let axes: Vec<u64> = shape.iter().rev().map(|size| *size as u64).collect();
        let offset = self.data.len() as u64;
        self.data.extend(bytes);
        self.listed(name, &axes, kind, offset)
    }

    pub(crate) fn data(mut self, n_bytes: usize) -> Self {
        self.data = vec![0; n_bytes];
        self
    }

    pub(crate) fn forge_counts(mut self, n_tensors: u64, n_keys: u64) -> Self {
        (self.n_tensors, self.n_keys) = (n_tensors, n_keys);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.n_tensors.to_le_bytes());
        bytes.extend(self.n_keys.to_le_bytes());
        bytes.extend(&self.keys);
        bytes.extend(&self.tensors);
        if !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(&self.data);
        }
        bytes
    }
}

/// A llama of one layer in `F32`: 4 wide, 2 heads over 1 key-value head, 6 tokens.
pub(crate) fn tiny_llama() -> GgufBuilder {
    let ramp = |n: usize| (0..n).map(|i| i as f32 / 8.0).collect::<Vec<f32>>();
    let mut builder = GgufBuilder::new()
        .str("general.architecture", "llama")
        .u32("llama.embedding_length", 4)
        .u32("llama.block_count", 1)
        .u32("llama.feed_forward_length", 6)
        .u32("llama.context_length", 16)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "gpt-2")
        .strs(
            "tokenizer.ggml.tokens",
            &["<s>", "</s>", "a", "b", "ab", "<x>"],
        )
        .i32s("tokenizer.ggml.token_type", &[3, 3, 1, 1, 1, 4])
        .strs("tokenizer.ggml.merges", &["a b"])
        .u32("tokenizer.ggml.bos_token_id", 0)
        .u32("tokenizer.ggml.eos_token_id", 1);
    let tensors: [(&str, &[usize]); 12] = [
        ("token_embd.weight", &[6, 4]),
        ("output_norm.weight", &[4]),
        ("output.weight", &[6, 4]),
        ("blk.0.attn_norm.weight", &[4]),
        ("blk.0.attn_q.weight", &[4, 4]),
        ("blk.0.attn_k.weight", &[2, 4]),
        ("blk.0.attn_v.weight", &[2, 4]),
        ("blk.0.attn_output.weight", &[4, 4]),
        ("blk.0.ffn_norm.weight", &[4]),
        ("blk.0.ffn_gate.weight", &[6, 4]),
        ("blk.0.ffn_up.weight", &[6, 4]),
        ("blk.0.ffn_down.weight", &[4, 6]),
    ];
    for (name, shape) in tensors {
        builder = builder.tensor(name, shape, &ramp(shape.iter().product()));
    }
    builder
}
