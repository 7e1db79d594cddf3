use proptest::prelude::*;

use super::*;

/// Of one salt and adapter.
const ROOT: Parent = Parent::Root {
    salt: 0,
    adapter: 0,
};

fn text(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| i * 7 % 50).collect()
}

/// Blocks for a whole text, their texts known.
fn written(pool: &mut BlockPool, ids: &[u32]) -> Vec<u32> {
    let mut table: Vec<u32> = Vec::new();
    for ids in ids.chunks(HostBlocks::TOKENS) {
        let parent = table.last().map_or(ROOT, |id| Parent::Block(*id));
        let id = pool.take().unwrap();
        table.push(pool.learn(parent, id, ids));
    }
    table
}

#[test]
fn a_text_is_found_as_far_as_it_is_the_same() {
    let mut pool = BlockPool::new(8);
    let ids = text(150);
    let mut table = written(&mut pool, &ids);
    let found = pool.find(ROOT, &ids[..140]);
    assert_eq!(found.table, table[..2]);
    assert_eq!(found.partial, Some((table[2], 12)));
    let mut other = ids.clone();
    other[70] = 99;
    let found = pool.find(ROOT, &other);
    assert_eq!(
        (found.table, found.partial),
        (vec![table[0]], Some((table[1], 6)))
    );
    // What begins otherwise, and what is asked for by others, is not.
    assert_eq!(pool.find(ROOT, &[99]), Found::default());
    for (salt, adapter) in [(1, 0), (0, 1)] {
        let root = Parent::Root { salt, adapter };
        assert_eq!(pool.find(root, &ids), Found::default());
    }
    assert_eq!(pool.n_held(), 3);
    pool.let_go_all(&mut table);
    // Those that `find` gave are held still.
    assert_eq!(
        (pool.n_held(), pool.n_idle(), pool.n_available()),
        (2, 1, 6)
    );
}

#[test]
fn the_same_text_is_held_once() {
    let mut pool = BlockPool::new(8);
    let first = written(&mut pool, &text(64));
    let second = written(&mut pool, &text(64));
    assert_eq!(first, second);
    assert_eq!(pool.n_held(), 1);
}

#[test]
fn what_was_let_go_first_is_used_first_and_the_end_of_a_text_before_its_beginning() {
    let mut pool = BlockPool::new(4);
    let (old, new) = (text(128), vec![49; 128]);
    let mut old_table = written(&mut pool, &old);
    let mut new_table = written(&mut pool, &new);
    let (first, second) = (old_table[0], old_table[1]);
    assert_eq!(pool.take(), None);
    pool.let_go_all(&mut old_table);
    pool.let_go_all(&mut new_table);
    assert_eq!(pool.take(), Some(second));
    assert_eq!(pool.find(ROOT, &old).table, [first]);
    assert_eq!(
        pool.take(),
        pool.find(ROOT, &new).table.get(1).copied().or(Some(3))
    );
}

proptest! {
    // Whatever sequences do, every block is free, idle or held, and in the end all can be taken.
    #[test]
    fn blocks_are_never_lost(
        max_blocks in 1_usize..12,
        steps in prop::collection::vec((0_u8..4, 1_usize..300, 0_u32..3), 1..60),
    ) {
        let mut pool = BlockPool::new(max_blocks);
        let mut tables: Vec<Vec<u32>> = Vec::new();
        for (what, n, kind) in steps {
            match what {
                // A sequence comes: it takes what is known and writes the rest, as far as there is room.
                0..3 => {
                    let ids: Vec<u32> = text(n).into_iter().map(|id| if id > 40 { id + kind } else { id }).collect();
                    let mut table = pool.find(ROOT, &ids).table;
                    while table.len() * HostBlocks::TOKENS < n {
                        let Some(id) = pool.take() else { break };
                        let first = table.len() * HostBlocks::TOKENS;
                        let parent = table.last().map_or(ROOT, |id| Parent::Block(*id));
                        let end = n.min(first + HostBlocks::TOKENS);
                        table.push(pool.learn(parent, id, &ids[first..end]));
                    }
                    tables.push(table);
                }
                _ if tables.is_empty() => {}
                _ => {
                    let mut table = tables.swap_remove(n % tables.len());
                    pool.let_go_all(&mut table);
                }
            }
            let mut held: Vec<u32> = tables.iter().flatten().copied().collect();
            held.sort_unstable();
            held.dedup();
            prop_assert_eq!(held.len(), pool.n_held());
        }
        for mut table in tables {
            pool.let_go_all(&mut table);
        }
        prop_assert_eq!(pool.n_available(), max_blocks);
        for _ in 0..max_blocks {
            prop_assert!(pool.take().is_some());
        }
        prop_assert_eq!(pool.take(), None);
        prop_assert!(pool.children.is_empty());
    }
}
