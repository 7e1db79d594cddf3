//! Packed weights against bitsandbytes and gguf. The files are made by `golden/make_packed.py`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, path::Path};

use firebox_tensor::packed::{
    FP4_CODEBOOK, NF4_CODEBOOK, PackedFormat, PackedMatrix, dequantize_q4_0, dequantize_q4_1,
    dequantize_q5_0, dequantize_q5_1, dequantize_q8_0, dynamic_codebook, quantize_q4_0,
    quantize_q4_1, quantize_q5_0, quantize_q5_1, quantize_q8_0,
};
use half::bf16;
use safetensors::{Dtype, SafeTensors};

#[test]
fn codebooks_equal_those_of_bitsandbytes() {
    let golden = Golden::read("packed.safetensors");
    check_values("NF4", &NF4_CODEBOOK, &golden.floats("nf4_codebook"));
    check_values(
        "dynamic",
        dynamic_codebook(),
        &golden.floats("dynamic_codebook"),
    );
    let fp4 = Golden::read("packed_fp4.safetensors").floats("codebook");
    check_values("FP4", &FP4_CODEBOOK, &fp4);
}

#[test]
fn nf4_equals_bitsandbytes_on_a_real_weight() {
    check_real(PackedFormat::Nf4, "nf4", &["codes", "absmax"]);
}

#[test]
fn int8_equals_bitsandbytes_on_a_real_weight() {
    check_real(PackedFormat::Int8Rowwise, "int8", &["codes", "absmax"]);
}

#[test]
fn q8_0_equals_gguf_on_a_real_weight() {
    check_real(PackedFormat::Q8_0, "q8_0", &["blocks"]);
}

#[test]
fn q4_0_equals_gguf_on_a_real_weight() {
    check_real(PackedFormat::Q4_0, "q4_0", &["blocks"]);
}

#[test]
fn q4_1_equals_gguf_on_a_real_weight() {
    check_real(PackedFormat::Q4_1, "q4_1", &["blocks"]);
}

#[test]
fn five_bits_equal_gguf_on_a_real_weight() {
    check_real(PackedFormat::Q5_0, "q5_0", &["blocks"]);
    check_real(PackedFormat::Q5_1, "q5_1", &["blocks"]);
}

/// A weight with the wanted `absmax` per block is made from them: one element each, the rest 0.
#[test]
fn double_quantization_equals_bitsandbytes_on_all_scales_of_a_real_weight() {
    let golden = Golden::read("packed.safetensors");
    let scales = golden.floats("whole.absmax");
    let mut weight = vec![0.0; scales.len() * 64];
    for (block, scale) in weight.chunks_exact_mut(64).zip(&scales) {
        block[0] = *scale;
    }
    let packed = pack(PackedFormat::Nf4DoubleQuant, &weight, scales.len(), 64);
    for part in ["absmax_codes", "absmax_offset", "absmax_absmax"] {
        check_bytes(
            part,
            part_bytes(&packed, part),
            golden.bytes(&format!("whole.{part}")),
        );
    }
}

#[test]
fn double_quantized_values_equal_bitsandbytes_on_a_real_weight() {
    let golden = Golden::read("packed.safetensors");
    let (n_rows, n_cols) = golden.matrix("whole.dequantized");
    let n_blocks = n_rows * n_cols / 64;
    let packed = PackedMatrix::from_parts(PackedFormat::Nf4DoubleQuant, n_rows, n_cols, |part| {
        Some(match part {
            "codes" => golden.bytes("nf4.codes")[..n_rows * n_cols / 2].to_vec(),
            "absmax_codes" => golden.bytes("whole.absmax_codes")[..n_blocks].to_vec(),
            "absmax_absmax" => golden.bytes("whole.absmax_absmax")[..4].to_vec(),
            part => golden.bytes(&format!("whole.{part}")).to_vec(),
        })
    })
    .unwrap();
    check_values(
        "nf4-dq",
        &packed.unpack(),
        &golden.floats("whole.dequantized"),
    );
}

#[test]
fn nf4_equals_bitsandbytes_on_awkward_weights() {
    let formats = [PackedFormat::Nf4, PackedFormat::Nf4DoubleQuant];
    assert_eq!(check_cases("packed_edges.safetensors", formats), 11);
}

#[test]
fn fp4_equals_bitsandbytes_on_awkward_weights() {
    let formats = [PackedFormat::Fp4, PackedFormat::Fp4DoubleQuant];
    assert_eq!(check_cases("packed_fp4.safetensors", formats), 14);
}

#[test]
fn ggml_blocks_equal_gguf_on_awkward_weights() {
    type Quantize = fn(&[f32], &mut [u8]);
    type Dequantize = fn(&[u8], &mut [f32]);
    let kinds: [(&str, Quantize, Dequantize); 5] = [
        ("q8_0", quantize_q8_0, dequantize_q8_0),
        ("q4_0", quantize_q4_0, dequantize_q4_0),
        ("q4_1", quantize_q4_1, dequantize_q4_1),
        ("q5_0", quantize_q5_0, dequantize_q5_0),
        ("q5_1", quantize_q5_1, dequantize_q5_1),
    ];
    let golden = Golden::read("packed_edges.safetensors");
    let weight = golden.floats("ggml.weight");
    for (kind, quantize, dequantize) in kinds {
        let expected = golden.bytes(&format!("ggml.{kind}.blocks"));
        let mut blocks = vec![0; expected.len()];
        quantize(&weight, &mut blocks);
        check_bytes(kind, &blocks, expected);
        let mut values = vec![0.0; weight.len()];
        dequantize(&blocks, &mut values);
        check_values(
            kind,
            &values,
            &golden.floats(&format!("ggml.{kind}.dequantized")),
        );
    }
}

/// Packs every weight of a file and compares parts and rebuilt values; returns how many there are.
#[track_caller]
fn check_cases(file: &str, formats: [PackedFormat; 2]) -> usize {
    let golden = Golden::read(file);
    let mut n_cases = 0;
    for case in golden
        .names()
        .filter_map(|name| name.strip_suffix(".weight"))
    {
        if case == "ggml" {
            continue;
        }
        n_cases += 1;
        let (n_rows, n_cols) = golden.matrix(&format!("{case}.weight"));
        let weight = golden.floats(&format!("{case}.weight"));
        for format in formats {
            let packed = pack(format, &weight, n_rows, n_cols);
            for part in packed.parts() {
                let name = format!("{case}.{format}.{}", part.name);
                check_bytes(&name, part.bytes, golden.bytes(&name));
            }
            let rebuilt = format!("{case}.{format}.dequantized");
            if golden.contains(&rebuilt) {
                check_values(&rebuilt, &packed.unpack(), &golden.floats(&rebuilt));
            }
        }
    }
    n_cases
}

/// Packs the real weight and compares parts, the first rebuilt rows, and a product.
#[track_caller]
fn check_real(format: PackedFormat, prefix: &str, parts: &[&str]) {
    let golden = Golden::read("packed.safetensors");
    let (n_rows, n_cols) = golden.matrix("weight");
    let packed = pack(format, &golden.floats("weight"), n_rows, n_cols);
    for part in parts {
        check_bytes(
            part,
            part_bytes(&packed, part),
            golden.bytes(&format!("{prefix}.{part}")),
        );
    }
    let rebuilt = golden.floats(&format!("{prefix}.dequantized"));
    check_values(prefix, &packed.unpack()[..rebuilt.len()], &rebuilt);
    // The product was summed in f64. 1,536 f32 additions of terms near 0.1 stay within 1e-4.
    check_close(
        &packed.matmul(&golden.floats("x")),
        &golden.floats(&format!("{prefix}.y")),
        1e-4,
    );
}

#[track_caller]
fn pack(format: PackedFormat, weight: &[f32], n_rows: usize, n_cols: usize) -> PackedMatrix {
    PackedMatrix::pack(format, weight, n_rows, n_cols).unwrap()
}

#[track_caller]
fn part_bytes<'a>(packed: &'a PackedMatrix, name: &str) -> &'a [u8] {
    packed
        .parts()
        .into_iter()
        .find(|part| part.name == name)
        .unwrap()
        .bytes
}

#[track_caller]
fn check_bytes(what: &str, found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "{what}: length in bytes");
    let differing: Vec<usize> = (0..found.len())
        .filter(|i| found[*i] != expected[*i])
        .collect();
    if let Some(first) = differing.first() {
        panic!(
            "{what}: {} of {} bytes differ, the first at {first}: expected {:#04x}, found {:#04x}",
            differing.len(),
            found.len(),
            expected[*first],
            found[*first],
        );
    }
}

/// Bit for bit, but that -0 equals 0.
#[track_caller]
fn check_values(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let worst = worst_element(found, expected);
    assert!(found == expected, "{what}: {worst}, expected equality");
}

#[track_caller]
fn check_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let worst = worst_element(found, expected);
    let close = found
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() <= tolerance);
    assert!(close, "{worst}, tolerance {tolerance}");
}

fn worst_element(found: &[f32], expected: &[f32]) -> String {
    let error = |i: &usize| (found[*i] - expected[*i]).abs();
    match (0..found.len()).max_by(|a, b| error(a).total_cmp(&error(b))) {
        Some(i) => {
            format!(
                "worst element is {i}: expected {:e}, found {:e}",
                expected[i], found[i]
            )
        }
        None => "no elements".to_owned(),
    }
}

/// A golden file: name -> (dtype, shape, bytes).
struct Golden(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Golden {
    fn read(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(file);
        let bytes = std::fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let owned = tensors.tensors().into_iter().map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        });
        Self(owned.collect())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    #[track_caller]
    fn matrix(&self, name: &str) -> (usize, usize) {
        let [n_rows, n_cols] = self.0[name].1[..] else {
            panic!("{name} is no matrix")
        };
        (n_rows, n_cols)
    }

    #[track_caller]
    fn bytes(&self, name: &str) -> &[u8] {
        &self.0[name].2
    }

    #[track_caller]
    fn floats(&self, name: &str) -> Vec<f32> {
        let (dtype, _, bytes) = &self.0[name];
        match dtype {
            Dtype::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Dtype::BF16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect(),
            dtype => panic!("{name} has dtype {dtype:?}"),
        }
    }
}
