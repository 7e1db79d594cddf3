//! Any bytes as a token shard: an error, or documents that lie within the tokens. The header's checksum is
//! put right, else nothing would come past it.
#![no_main]

mod bounded_alloc;

use std::io::Write;

use firebox_data::TokenShard;
use libfuzzer_sys::fuzz_target;
use xxhash_rust::xxh3::xxh3_64;

const CHECKSUM_AT: usize = 120;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some((fields, rest)) = bytes.split_at_mut_checked(CHECKSUM_AT)
        && let Some(checksum) = rest.first_chunk_mut()
    {
        *checksum = xxh3_64(fields).to_le_bytes();
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("room for a few bytes");
    let Ok(shard) = TokenShard::inspect(file.path()) else {
        return;
    };
    let n_tokens = shard.header().n_tokens;
    let is_sound = shard.verify().is_ok();
    let mut n_in_documents = 0;
    for document in 0..shard.header().n_documents {
        match shard.document(document) {
            Ok(tokens) => {
                assert_eq!(tokens.to_ids().len(), tokens.to_example().input_ids.len());
                n_in_documents += tokens.len() as u64;
            }
            Err(_) => assert!(!is_sound, "a verified shard has no bad document"),
        }
    }
    assert!(!is_sound || n_in_documents == n_tokens);
    let all = shard.tokens(0..u64::MAX).expect("nobody changes the file");
    assert_eq!(all.len() as u64, n_tokens);
});
