//! Attention against its definition, over pages of every form.

use half::f16;
use proptest::prelude::*;

use super::super::hadamard::rotate_heads;
use super::super::*;
use super::{at_each_level, normal, on_threads};

/// Attention of one sequence, each query over its last `window` keys, by definition, in f64.
fn attention_reference(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    window: usize,
    heads: [usize; 2],
    head_dim: usize,
) -> Vec<f64> {
    let [n_heads, n_kv_heads] = heads;
    let n_rows = q.len() / (n_heads * head_dim);
    let mut out = Vec::new();
    for row in 0..n_rows {
        for head in 0..n_heads {
            let tokens = (row + 1).saturating_sub(window)..row + 1;
            let q = &q[(row * n_heads + head) * head_dim..][..head_dim];
            let at = |token: usize| (token * n_kv_heads + head * n_kv_heads / n_heads) * head_dim;
            let scores: Vec<f64> = tokens
                .clone()
                .map(|token| {
                    let k = &k[at(token)..][..head_dim];
                    let dot: f64 = q
                        .iter()
                        .zip(k)
                        .map(|(q, k)| f64::from(*q) * f64::from(*k))
                        .sum();
                    dot / (head_dim as f64).sqrt()
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|x| (x - max).exp()).sum();
            for i in 0..head_dim {
                let weighted = tokens.clone().zip(&scores);
                let weighted =
                    weighted.map(|(token, x)| (x - max).exp() * f64::from(v[at(token) + i]));
                out.push(weighted.sum::<f64>() / sum);
            }
        }
    }
    out
}

fn pages(shape: &AttentionShape, k: &[f32], v: &[f32], width: usize) -> Vec<KvPage> {
    let n_tokens = k.len() / width;
    let n_pages = n_tokens.div_ceil(AttentionShape::PAGE_TOKENS);
    let mut pages: Vec<KvPage> = (0..n_pages).map(|_| KvPage::new(shape)).collect();
    for (token, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
        let (page, place) = (
            token / AttentionShape::PAGE_TOKENS,
            token % AttentionShape::PAGE_TOKENS,
        );
        pages[page].write(shape, place, k, v);
    }
    pages
}

/// All queries of one sequence, `chunk` at a time.
fn attend_in_chunks(shape: &AttentionShape, q: &[f32], pages: &[KvPage], chunk: usize) -> Vec<f32> {
    let width = shape.n_heads * shape.head_dim;
    let mut out = vec![0.0; q.len()];
    let table: Vec<u32> = (0..pages.len() as u32).collect();
    let chunks = q.chunks(chunk * width).zip(out.chunks_mut(chunk * width));
    for (i, (q, out)) in chunks.enumerate() {
        let segment = Segment {
            rows: 0..q.len() / width,
            n_past: i * chunk,
            pages,
            table: &table,
        };
        attend(shape, q, width, &[segment], out);
    }
    out
}

/// A vector in 4 bits, groups of 32 with a scale and a minimum in f16.
fn int4(vector: &[f32]) -> Vec<f32> {
    let in_half = |x: f32| f16::from_f32(x).to_f32();
    let group = |group: &[f32]| -> Vec<f32> {
        let min = in_half(group.iter().copied().fold(f32::INFINITY, f32::min));
        let max = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = in_half((max - min).max(0.0) / 15.0);
        let code = |x: &f32| match scale > 0.0 {
            true => ((x - min) / scale).round_ties_even().clamp(0.0, 15.0),
            false => 0.0,
        };
        group.iter().map(|x| code(x) * scale + min).collect()
    };
    vector.chunks(32).flat_map(group).collect()
}

/// Keys, heads of `head_dim`, as a page holds them, turned back where they are held turned.
fn rounded_keys(format: KvFormat, x: &[f32], head_dim: usize) -> Vec<f32> {
    if format != KvFormat::Int4 {
        return rounded(format, x, head_dim);
    }
    let turn = |x: &[f32]| {
        let mut turned = x.to_vec();
        rotate_heads(&mut turned, head_dim);
        turned
    };
    turn(&rounded(format, &turn(x), head_dim))
}

/// Values, heads of `head_dim`, as a page holds them.
fn rounded(format: KvFormat, x: &[f32], head_dim: usize) -> Vec<f32> {
    let int8 = |vector: &[f32]| -> Vec<f32> {
        let scale = vector.iter().fold(0.0_f32, |max, x| max.max(x.abs())) / 127.0;
        let code = |x: &f32| (x / scale).round_ties_even();
        vector.iter().map(|x| code(x) * scale).collect()
    };
    match format {
        KvFormat::F32 => x.to_vec(),
        KvFormat::F16 => x.iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
        KvFormat::Int8 => x.chunks_exact(head_dim).flat_map(int8).collect(),
        KvFormat::Int4 => x.chunks_exact(head_dim).flat_map(int4).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn attention_matches_the_reference_in_any_chunks(
        n_tokens in 1_usize..180, chunk in 1_usize..120, n_kv_heads in 1_usize..3,
        group in prop::sample::select(vec![1_usize, 2, 3, 13]),
        head_dim in prop::sample::select(vec![2_usize, 8, 30, 32, 64, 80]),
        window in prop::option::of(1_usize..150),
    ) {
        let n_heads = group * n_kv_heads;
        let (q_width, kv_width) = (n_heads * head_dim, n_kv_heads * head_dim);
        let q = normal(n_tokens * q_width, 1);
        let (k, v) = (normal(n_tokens * kv_width, 2), normal(n_tokens * kv_width, 3));
        for format in KvFormat::ALL {
            let seen = [rounded_keys(format, &k, head_dim), rounded(format, &v, head_dim)];
            let expected = attention_reference(&q, &seen[0], &seen[1], window.unwrap_or(n_tokens), [n_heads, n_kv_heads], head_dim);
            at_each_level(|level| {
                let shape = AttentionShape::new(n_heads, n_kv_heads, head_dim).with_kv_format(format).with_window(window);
                let pages = pages(&shape, &k, &v, kv_width);
                let all = |chunk| attend_in_chunks(&shape, &q, &pages, chunk);
                let whole = all(n_tokens);
                for (y, expected) in whole.iter().zip(&expected) {
                    // Averages of values of about one, from some hundred roundings.
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error < 2e-5, "{level} {format}: {y} against {expected}");
                }
                for n_threads in 1..=3 {
                    on_threads(n_threads, || {
                        assert_eq!(all(chunk), whole, "{level} {format}: chunks of {chunk}");
                        assert_eq!(all(1), whole, "{level} {format}: one by one");
                    });
                }
            });
        }
    }
}

#[test]
fn smaller_forms_take_a_half_and_about_a_quarter_and_a_sixth() {
    let bytes =
        |format| KvPage::new(&AttentionShape::new(9, 3, 64).with_kv_format(format)).n_bytes();
    let full = bytes(KvFormat::F32);
    assert_eq!(full, 3 * 64 * 2 * 64 * 4);
    assert_eq!(bytes(KvFormat::F16), full / 2);
    assert_eq!(bytes(KvFormat::Int8), full / 4 + 3 * 64 * 2 * 4);
    assert_eq!(bytes(KvFormat::Int4), full * 5 / 32);
}

#[test]
fn a_page_of_4_bits_takes_tokens_in_any_order_and_writes_over_what_was_there() {
    at_each_level(|level| {
        let shape = AttentionShape::new(2, 1, 80).with_kv_format(KvFormat::Int4);
        let (k, v) = (normal(64 * 80, 1), normal(64 * 80, 2));
        let write = |page: &mut KvPage, token: usize| {
            let at = token * 80..token * 80 + 80;
            page.write(&shape, token, &k[at.clone()], &v[at]);
        };
        let (mut forward, mut backward) = (KvPage::new(&shape), KvPage::new(&shape));
        (0..64).for_each(|token| write(&mut forward, token));
        for token in 0..64 {
            backward.write(&shape, token, &v[..80], &k[..80]);
        }
        (0..64).rev().for_each(|token| write(&mut backward, token));
        let q = normal(64 * 160, 3);
        let attend = |page| attend_in_chunks(&shape, &q, &[page], 64);
        assert_eq!(attend(backward), attend(forward), "{level}");
    });
}

#[test]
fn keys_of_4_bits_bear_a_channel_that_stands_out() {
    let (n_tokens, head_dim) = (100, 64);
    let (q, v) = (
        normal(n_tokens * head_dim, 1),
        normal(n_tokens * head_dim, 3),
    );
    let mut k = normal(n_tokens * head_dim, 2);
    for key in k.chunks_exact_mut(head_dim) {
        key[5] += 20.0;
    }
    let error = |keys: &[f32]| -> f64 {
        let of = |k: &[f32]| attention_reference(&q, k, &v, n_tokens, [1, 1], head_dim);
        let (exact, found) = (of(&k), of(keys));
        exact.iter().zip(found).map(|(a, b)| (a - b).abs()).sum()
    };
    let plain = error(&rounded(KvFormat::Int4, &k, head_dim));
    let turned = error(&rounded_keys(KvFormat::Int4, &k, head_dim));
    assert!(turned < 0.8 * plain, "{turned} against {plain}");
}

#[test]
fn what_is_no_number_stays_none_in_every_form() {
    for format in KvFormat::ALL {
        let shape = AttentionShape::new(1, 1, 40).with_kv_format(format);
        let (k, mut v) = (normal(3 * 40, 1), normal(3 * 40, 2));
        v[40 + 7] = f32::NAN;
        let out = attend_in_chunks(&shape, &normal(3 * 40, 3), &pages(&shape, &k, &v, 40), 1);
        assert!(out[..40].iter().all(|x| x.is_finite()), "{format}");
        assert!(out[40 + 7].is_nan() && out[80 + 7].is_nan(), "{format}");
    }
}

#[test]
fn pages_written_together_are_those_written_one_by_one() {
    for format in KvFormat::ALL {
        let shape = AttentionShape::new(4, 2, 40).with_kv_format(format);
        let stride = 4 * 40 + 2 * 80;
        // Two runs, a single token, and a page that comes twice.
        let mut places: Vec<(u32, usize)> = (50..64).map(|place| (2, place)).collect();
        places.extend((0..9).map(|place| (0, place)));
        places.push((3, 33));
        for again in [false, true] {
            if again {
                places.push((0, 9));
            }
            let rows = normal(places.len() * stride, 1);
            let mut together: Vec<KvPage> = (0..4).map(|_| KvPage::new(&shape)).collect();
            let mut apart = together.clone();
            write_pages(&shape, &mut together, &rows, stride, &places);
            for ((page, place), row) in places.iter().zip(rows.chunks_exact(stride)) {
                let (keys, values) = row[160..].split_at(80);
                apart[*page as usize].write(&shape, *place, keys, values);
            }
            for (together, apart) in together.iter().zip(&apart) {
                for head in 0..2 {
                    assert_eq!(together.bytes(&shape, head), apart.bytes(&shape, head));
                }
            }
        }
    }
}

#[test]
fn pages_may_lie_anywhere_among_others() {
    let shape = AttentionShape::new(2, 1, 16);
    let (q, k, v) = (
        normal(200 * 32, 0),
        normal(200 * 16, 1),
        normal(200 * 16, 2),
    );
    let own = pages(&shape, &k, &v, 16);
    let expected = attend_in_chunks(&shape, &q, &own, 200);
    let mut pool: Vec<KvPage> = (0..9).map(|_| KvPage::new(&shape)).collect();
    let table = [7, 2, 8, 0];
    for (page, at) in own.iter().zip(table) {
        pool[at as usize].copy_from(page);
    }
    let mut found = vec![0.0; q.len()];
    let segment = Segment {
        rows: 0..200,
        n_past: 0,
        pages: &pool,
        table: &table,
    };
    attend(&shape, &q, 32, &[segment], &mut found);
    assert_eq!(found, expected);
}
