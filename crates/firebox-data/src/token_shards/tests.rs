//! Shards give back what was written, and refuse what was not.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::header::HEADER_BYTES;
use crate::{
    Example, ExampleSource, HeaderFault, IGNORE_LABEL, Loader, LoaderConfig, LoaderError, Order,
    Prefetch, RankShard, RowLayout, ShardConfig, ShardError, ShardHeader, TokenBlocks, TokenShard,
    TokenShardWriter, TokenShards, Tokenizer, Truncation, Vocabulary, WeightedSource,
    train_byte_level_bpe,
};

const SMALL: Vocabulary = Vocabulary {
    size: 1 << 16,
    hash: 0x0123_4567_89ab_cdef,
};

const LARGE: Vocabulary = Vocabulary {
    size: (1 << 16) + 1,
    ..SMALL
};

fn config(max_shard_tokens: u64, with_loss_mask: bool) -> ShardConfig {
    ShardConfig {
        max_shard_tokens,
        with_loss_mask,
    }
}

fn written(examples: &[Example], vocabulary: Vocabulary, config: ShardConfig) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TokenShardWriter::create(folder.path(), vocabulary, config).unwrap();
    for example in examples {
        writer.push_example(example).unwrap();
    }
    writer.finish().unwrap();
    folder
}

fn example(ids: &[u32], mask: &[bool]) -> Example {
    let labels = ids.iter().zip(mask);
    let label = |(&id, &on): (&u32, &bool)| if on { i64::from(id) } else { IGNORE_LABEL };
    Example {
        input_ids: ids.to_vec(),
        labels: labels.map(label).collect(),
    }
}

/// The contents of the golden file: three documents, the second one empty, with a mask.
fn golden_examples() -> [Example; 3] {
    [
        example(&[1, 2, 65_535], &[false, true, true]),
        Example::default(),
        example(&[7, 8], &[true, false]),
    ]
}

#[test]
fn version_1_is_read_and_written_as_ever() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shard_v1.tokens");
    let folder = written(&golden_examples(), SMALL, config(100, true));
    let bytes = fs::read(folder.path().join("shard-00000.tokens")).unwrap();
    assert_eq!(
        bytes,
        fs::read(&golden).unwrap(),
        "what is written has changed"
    );

    let shard = TokenShard::open(&golden, &SMALL).unwrap();
    shard.verify().unwrap();
    for (document, expected) in golden_examples().iter().enumerate() {
        let tokens = shard.document(document as u64).unwrap();
        assert_eq!(&tokens.to_example(), expected);
        assert_eq!(tokens.to_ids(), expected.input_ids);
        assert_eq!(
            (tokens.len(), tokens.is_empty()),
            (expected.input_ids.len(), document == 1)
        );
    }
    let error = shard.document(3).unwrap_err();
    insta::assert_snapshot!(error, @"read document 3: expected a number below 3 (hint: count from 0)");
}

#[test]
fn tokens_take_two_bytes_where_the_vocabulary_lets_them() {
    for (vocabulary, token_bytes) in [(SMALL, 2), (LARGE, 4)] {
        let id = vocabulary.size as u32 - 1;
        let folder = written(
            &[Example::from_ids(vec![id; 5])],
            vocabulary,
            config(100, false),
        );
        let shards = TokenShards::open(folder.path(), &vocabulary).unwrap();
        assert_eq!(shards.shards()[0].header().token_bytes(), token_bytes);
        assert_eq!(shards.document(0).unwrap().to_ids(), [id; 5]);
        let n_bytes = fs::metadata(shards.shards()[0].path()).unwrap().len() as usize;
        let tokens = (5 * token_bytes).next_multiple_of(8);
        assert_eq!(n_bytes, HEADER_BYTES + tokens + 2 * 8);
    }
}

#[test]
fn another_tokenizer_is_refused() {
    let tokenizer = |text: &str| train_byte_level_bpe([text], 300, &["<s>"]).unwrap();
    let (mine, other) = (tokenizer("water is wet"), tokenizer("fire is hot"));
    let vocabulary = Vocabulary::of(&mine).unwrap();
    let folder = written(
        &[Example::from_ids(vec![1])],
        vocabulary,
        ShardConfig::default(),
    );
    assert!(TokenShards::open(folder.path(), &vocabulary).is_ok());
    let error = TokenShards::open(folder.path(), &Vocabulary::of(&other).unwrap()).unwrap_err();
    assert!(
        matches!(error, ShardError::OtherTokenizer { .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("use the tokenizer that the shards were encoded with"),
        "{text}"
    );
    let file = folder.path().join("shard-00000.tokens");
    assert!(TokenShard::open(&file, &SMALL).is_err() && TokenShard::inspect(&file).is_ok());
}

#[test]
fn the_vocabulary_hash_is_of_what_makes_ids() {
    let tokenizer = train_byte_level_bpe(["water is wet"], 300, &["<s>"]).unwrap();
    let hash_of = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::from_slice(tokenizer.to_json()).unwrap();
        change(&mut json);
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        Vocabulary::of(&tokenizer).unwrap().hash
    };
    let hash = Vocabulary::of(&tokenizer).unwrap().hash;
    assert_eq!(hash_of(&|_| {}), hash);
    let padding = serde_json::json!({"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    assert_eq!(hash_of(&|json| json["truncation"] = padding.clone()), hash);
    assert_eq!(
        hash_of(&|json| json["post_processor"] = serde_json::Value::Null),
        hash
    );
    let as_strings = |json: &mut serde_json::Value| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            if let Some([a, b]) = merge.as_array().map(Vec::as_slice) {
                *merge = format!("{} {}", a.as_str().unwrap(), b.as_str().unwrap()).into();
            }
        }
    };
    assert_eq!(hash_of(&as_strings), hash);
    let other_merges = |json: &mut serde_json::Value| {
        json["model"]["merges"].as_array_mut().unwrap().reverse();
    };
    assert_ne!(hash_of(&other_merges), hash);
    let lower = serde_json::json!({"type": "Lowercase"});
    assert_ne!(hash_of(&|json| json["normalizer"] = lower.clone()), hash);
}

#[test]
fn damaged_files_are_refused() {
    let folder = written(&golden_examples(), SMALL, config(100, true));
    let path = folder.path().join("shard-00000.tokens");
    let good = fs::read(&path).unwrap();
    let fault = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match TokenShard::inspect(&path) {
            Err(ShardError::Header { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    insta::assert_snapshot!(fault(&good[..100]), @"expected at least 128 bytes, found 100 (hint: the file is truncated: copy it again)");
    insta::assert_snapshot!(fault(&good[..good.len() - 1]), @"expected 184 bytes for 3 documents of 5 tokens, found 183 (hint: the file is truncated or joined with another: copy it again)");
    insta::assert_snapshot!(fault(&[&good[..], &[0]].concat()), @"expected 184 bytes for 3 documents of 5 tokens, found 185 (hint: the file is truncated or joined with another: copy it again)");
    insta::assert_snapshot!(fault(&[&b"PK"[..], &good[2..]].concat()), @"expected a token shard, found a file that begins with [80, 75, 84, 79, 75, 69, 78, 83] (hint: check the path)");
    let mut newer = good.clone();
    newer[8] = 2;
    insta::assert_snapshot!(fault(&newer), @"expected format version 1, found 2 (hint: use a newer firebox)");

    // A flipped bit of a token is found by reading all, on demand.
    let mut flipped = good.clone();
    flipped[HEADER_BYTES] ^= 1;
    fs::write(&path, &flipped).unwrap();
    let error = TokenShard::inspect(&path).unwrap().verify().unwrap_err();
    assert!(matches!(error, ShardError::Checksum { .. }), "{error}");

    // A document that would end behind the file.
    let mut wild = good.clone();
    let second = good.len() - 3 * 8;
    wild[second..second + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&path, &wild).unwrap();
    let shard = TokenShard::inspect(&path).unwrap();
    assert!(matches!(
        shard.document(0),
        Err(ShardError::Offsets { document: 0, .. })
    ));
    assert!(matches!(
        shard.document(1),
        Err(ShardError::Offsets { document: 1, .. })
    ));

    fs::write(&path, b"").unwrap();
    assert!(matches!(
        TokenShard::inspect(&path),
        Err(ShardError::Read { .. })
    ));
}

#[test]
fn a_file_that_changes_under_the_reader_is_noticed() {
    let folder = written(&golden_examples(), SMALL, config(100, true));
    let shards = TokenShards::open(folder.path(), &SMALL).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(shards.shards()[0].path())
        .unwrap();
    file.set_len(140).unwrap();
    assert!(matches!(
        shards.document(0),
        Err(ShardError::Changed { .. })
    ));
    assert!(matches!(
        shards.tokens(0..2),
        Err(ShardError::Changed { .. })
    ));
}

#[test]
fn a_folder_is_whole_or_refused() {
    let folder = written(&golden_examples(), SMALL, config(2, true));
    let taken = TokenShardWriter::create(folder.path(), SMALL, config(2, true)).unwrap_err();
    assert!(matches!(taken, ShardError::FolderTaken { .. }), "{taken}");
    let second = folder.path().join("shard-00001.tokens");
    assert!(second.exists(), "a shard is closed when it is full");

    let other = written(&[example(&[9], &[true])], SMALL, config(2, true));
    fs::copy(other.path().join("shard-00000.tokens"), &second).unwrap();
    let error = TokenShards::open(folder.path(), &SMALL).unwrap_err();
    assert!(
        matches!(
            error,
            ShardError::OtherShard {
                what: "a checksum of",
                ..
            }
        ),
        "{error}"
    );
    fs::remove_file(&second).unwrap();
    assert!(matches!(
        TokenShards::inspect(folder.path()),
        Err(ShardError::Read { .. })
    ));

    let list = folder.path().join("shards.json");
    let json = fs::read_to_string(&list).unwrap();
    fs::write(&list, json.replace("shard-00001.tokens", "../x")).unwrap();
    let error = TokenShards::inspect(folder.path()).unwrap_err();
    assert!(
        matches!(
            error,
            ShardError::OtherShard {
                what: "the name",
                ..
            }
        ),
        "{error}"
    );
    fs::write(&list, &json[..20]).unwrap();
    assert!(matches!(
        TokenShards::inspect(folder.path()),
        Err(ShardError::Manifest { .. })
    ));
    fs::remove_file(&list).unwrap();
    assert!(matches!(
        TokenShards::inspect(folder.path()),
        Err(ShardError::NoManifest { .. })
    ));
}

#[test]
fn an_interrupted_writer_leaves_nothing_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TokenShardWriter::create(folder.path(), SMALL, config(2, false)).unwrap();
    writer.push_ids(&[1, 2, 3]).unwrap();
    writer.push_ids(&[4]).unwrap();
    drop(writer);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names, ["shard-00000.tokens"]);
    assert!(matches!(
        TokenShards::inspect(folder.path()),
        Err(ShardError::NoManifest { .. })
    ));
    let writer = TokenShardWriter::create(folder.path(), SMALL, config(2, false)).unwrap();
    assert_eq!(
        writer.finish().unwrap().shards.len(),
        1,
        "an empty corpus is one empty shard"
    );
    let shards = TokenShards::open(folder.path(), &SMALL).unwrap();
    assert_eq!((shards.n_documents(), shards.n_tokens()), (0, 0));
    assert!(shards.tokens(0..9).unwrap().input_ids.is_empty());
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TokenShardWriter::create(folder.path(), SMALL, config(9, false)).unwrap();
    let error = writer.push_ids(&[1, 65_536]).unwrap_err();
    insta::assert_snapshot!(error, @"write document 0: expected token ids below 65536, found 65536 (hint: were the texts encoded with another tokenizer?)");
    let error = writer
        .push_example(&example(&[1, 2], &[false, true]))
        .unwrap_err();
    insta::assert_snapshot!(error, @"write document 0: expected loss on every token, found a mask (hint: set `with_loss_mask`)");
    let crooked = Example {
        input_ids: vec![1, 2],
        labels: vec![1, 3],
    };
    let error = writer.push_example(&crooked).unwrap_err();
    insta::assert_snapshot!(error, @"write document 0: expected each label to be its own token or `IGNORE_LABEL`, found label 3 on token 2 (hint: encode with `encode_chat` or `encode_text`)");
    writer.push_ids(&[5]).unwrap();
    assert_eq!(writer.finish().unwrap().n_documents, 1);
}

#[test]
fn a_loader_over_shards_gives_what_it_gives_from_memory() {
    let examples: Vec<Example> = (1..60_u32)
        .map(|id| example(&vec![id; 2 + id as usize % 7], &[id % 3 != 0; 9]))
        .collect();
    let folder = written(&examples, SMALL, config(50, true));
    let open = || Arc::new(TokenShards::open(folder.path(), &SMALL).unwrap());
    let config = LoaderConfig {
        batch_size: 3,
        max_len: 12,
        pad_id: 0,
        layout: RowLayout::Packed {
            window_examples: 16,
        },
        truncation: Truncation::KeepStart,
        order: Order::Shuffled { seed: 3 },
        shard: RankShard::default(),
        n_examples: Some(100),
    };
    let prefetch = Prefetch {
        n_workers: 2,
        n_chunks: 1,
    };
    let batches = |loader: Loader| loader.collect::<Result<Vec<_>, _>>().unwrap();
    let in_memory = vec![WeightedSource::new("x", 1.0, examples)];
    let expected = batches(Loader::new(in_memory, config, Prefetch::OFF).unwrap());
    let sources = || vec![WeightedSource::new("x", 1.0, open())];
    let mut loader = Loader::new(sources(), config, prefetch).unwrap();
    let mut found: Vec<_> = loader.by_ref().take(4).map(Result::unwrap).collect();
    let state = loader.state();
    found.extend(batches(
        Loader::resume(sources(), &state, Prefetch::OFF).unwrap(),
    ));
    assert!(expected.len() > 6);
    assert_eq!(found, expected);

    // Blocks of the same shards are other examples.
    let blocks = TokenBlocks::new(open(), 8).unwrap();
    let other = vec![WeightedSource::new("x", 1.0, blocks)];
    let error = Loader::resume(other, &state, Prefetch::OFF).unwrap_err();
    assert!(matches!(error, LoaderError::OtherSource { .. }), "{error}");
}

fn examples() -> impl Strategy<Value = Vec<Example>> {
    let document = prop::collection::vec((0_u32..65_536, any::<bool>()), 0..40);
    let to_example = |tokens: Vec<(u32, bool)>| {
        let (ids, mask): (Vec<u32>, Vec<bool>) = tokens.into_iter().unzip();
        example(&ids, &mask)
    };
    prop::collection::vec(document.prop_map(to_example), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        examples in examples(),
        max_shard_tokens in 1_u64..200,
        is_large: bool,
        block_len in 1_usize..50,
    ) {
        let vocabulary = if is_large { LARGE } else { SMALL };
        let folder = written(&examples, vocabulary, config(max_shard_tokens, true));
        let shards = Arc::new(TokenShards::open(folder.path(), &vocabulary).unwrap());
        shards.verify().unwrap();
        prop_assert_eq!(shards.n_examples(), examples.len());
        for (index, expected) in examples.iter().enumerate() {
            prop_assert_eq!(&shards.example(index).unwrap(), expected);
        }
        prop_assert!(shards.example(examples.len()).is_err());

        // Blocks are the stream of all documents, cut.
        let blocks = TokenBlocks::new(Arc::clone(&shards), block_len).unwrap();
        let stream: Vec<u32> = examples.iter().flat_map(|it| it.input_ids.clone()).collect();
        let labels: Vec<i64> = examples.iter().flat_map(|it| it.labels.clone()).collect();
        let cut: Vec<Example> = (0..blocks.n_examples()).map(|i| blocks.example(i).unwrap()).collect();
        let cut_ids: Vec<u32> = cut.iter().flat_map(|it| it.input_ids.clone()).collect();
        let cut_labels: Vec<i64> = cut.iter().flat_map(|it| it.labels.clone()).collect();
        prop_assert_eq!(&cut_ids, &stream[..cut_ids.len()]);
        prop_assert_eq!(&cut_labels, &labels[..cut_labels.len()]);
        prop_assert!(cut.iter().all(|block| block.input_ids.len() == block_len));
        prop_assert_eq!(cut_ids.len() + blocks.n_dropped_tokens(), stream.len());
    }

    #[test]
    fn random_bytes_are_no_header(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        has_magic: bool,
        file_bytes: u64,
    ) {
        let mut bytes = bytes;
        if has_magic && bytes.len() > 12 {
            bytes[..12].copy_from_slice(b"FBTOKENS\x01\0\0\0");
        }
        prop_assert!(ShardHeader::parse(&bytes, file_bytes).is_err());
    }

    #[test]
    fn a_header_of_any_numbers_is_checked_without_overflow(
        size: u64, hash: u64, n_documents: u64, n_tokens: u64, has_loss_mask: bool, file_bytes: u64,
    ) {
        let header = ShardHeader {
            vocabulary: Vocabulary { size, hash },
            n_documents,
            n_tokens,
            has_loss_mask,
            checksum: hash,
        };
        // Its checksum is right, so only the lengths are left to disagree.
        let error = ShardHeader::parse(&header.to_bytes(), file_bytes).unwrap_err();
        let is_of_sizes = matches!(error, HeaderFault::Length { .. } | HeaderFault::Value { .. });
        prop_assert!(is_of_sizes, "{}", error);
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_found_by_verify(byte_seed: usize, bit in 0_u32..8) {
        let folder = written(&golden_examples(), SMALL, config(100, true));
        let path = folder.path().join("shard-00000.tokens");
        let mut bytes = fs::read(&path).unwrap();
        let byte = byte_seed % bytes.len();
        bytes[byte] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        if let Ok(shard) = TokenShard::inspect(&path) {
            prop_assert!(byte >= HEADER_BYTES);
            for document in 0..4 {
                if let Ok(tokens) = shard.document(document) {
                    prop_assert!(tokens.to_example().labels.len() <= 5);
                }
            }
            let is_found = matches!(shard.verify(), Err(ShardError::Checksum { .. }));
            prop_assert!(is_found);
        }
    }

    #[test]
    fn headers_come_back(size in 0_u64..1 << 32, hash: u64, n_tokens in 0_u64..1 << 40, has_loss_mask: bool) {
        let header = ShardHeader {
            vocabulary: Vocabulary { size, hash },
            n_documents: n_tokens / 7,
            n_tokens,
            has_loss_mask,
            checksum: !hash,
        };
        let file_bytes = header.layout().2 as u64 + 8 * (header.n_documents + 1);
        prop_assert_eq!(ShardHeader::parse(&header.to_bytes(), file_bytes), Ok(header));
    }
}
