//! Memory readings. One test alone in its binary, since any other would allocate beside it.

use firebox_tensor::memory::{process, reset_peak};

#[test]
fn touched_memory_shows_in_the_resident_size_and_its_peak() {
    const N_BYTES: u64 = 64 << 20;
    let before = process();
    let block = vec![1_u8; N_BYTES as usize];
    let during = process();
    assert_eq!(std::hint::black_box(&block)[block.len() - 1], 1);
    drop(block);
    let after = process();
    if cfg!(target_os = "linux") {
        // The test harness has its own small needs.
        let slack = 4 << 20;
        assert!(
            during.rss_bytes + slack > before.rss_bytes + N_BYTES,
            "{before:?} {during:?}"
        );
        assert!(
            after.peak_rss_bytes + slack > before.rss_bytes + N_BYTES,
            "{after:?}"
        );
    }
    if reset_peak() {
        let reset = process();
        assert!(
            reset.peak_rss_bytes < during.rss_bytes,
            "{during:?} {reset:?}"
        );
    }
}
