//! Who holds which block, and which blocks hold a text that is known.
//!
//! Blocks with known text form a tree: a block's parent holds the text before it. A sequence that
//! begins with the same tokens holds the same blocks. A block that nobody holds keeps its text until
//! its place is needed; the one that was let go first is the first to be used again, and since a
//! sequence lets go of its last block first, no block outlives its parent.
//!
//! Source: Kwon et al. (2023), section 4.3, <https://arxiv.org/abs/2309.06180>; the tree: Zheng et al.
//! (2024), section 3, <https://arxiv.org/abs/2312.07104>.

use std::collections::{BTreeMap, HashMap};

use firebox_model::HostBlocks;

/// What is before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parent {
    /// Nothing. Texts are shared among those of one salt and one adapter, 0 for none.
    Root {
        salt: u64,
        adapter: u64,
    },
    Block(u32),
}

/// What of a text is in blocks already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whole blocks, held for the caller now.
    pub(crate) table: Vec<u32>,
    /// A block that goes on as the text does for so many tokens; it is not held.
    pub(crate) partial: Option<(u32, usize)>,
}

#[derive(Debug)]
pub(crate) struct BlockPool {
    blocks: Vec<Block>,
    max_blocks: usize,
    /// Those that hold nothing.
    free: Vec<u32>,
    /// Those with a text that nobody holds, by when they were let go.
    idle: BTreeMap<u64, u32>,
    /// Blocks with known text behind each.
    children: HashMap<Parent, Vec<u32>>,
    n_let_go: u64,
}

#[derive(Debug, Default)]
struct Block {
    n_holders: usize,
    text: Option<Text>,
    /// When it was let go, if it is idle.
    let_go: u64,
}

#[derive(Debug)]
struct Text {
    parent: Parent,
    /// At most a block's tokens.
    ids: Vec<u32>,
}

impl BlockPool {
    pub(crate) fn new(max_blocks: usize) -> Self {
        Self {
            blocks: Vec::new(),
            max_blocks,
            free: Vec::new(),
            idle: BTreeMap::new(),
            children: HashMap::new(),
            n_let_go: 0,
        }
    }

    pub(crate) fn max_blocks(&self) -> usize {
        self.max_blocks
    }

    /// Blocks made so far.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that somebody holds.
    pub(crate) fn n_held(&self) -> usize {
        self.max_blocks - self.n_available()
    }

    /// Blocks that nobody holds but that keep a text.
    pub(crate) fn n_idle(&self) -> usize {
        self.idle.len()
    }

    /// Blocks that can be taken.
    pub(crate) fn n_available(&self) -> usize {
        self.free.len() + self.max_blocks - self.blocks.len() + self.idle.len()
    }

    /// A block for a sequence alone: one that is free, a new one, or the one that was idle longest.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let id = if let Some(id) = self.free.pop() {
            id
        } else if self.blocks.len() < self.max_blocks {
            self.blocks.push(Block::default());
            (self.blocks.len() - 1) as u32
        } else {
            let (_, id) = self.idle.pop_first()?;
            self.forget(id);
            id
        };
        self.block(id).n_holders = 1;
        Some(id)
    }

    pub(crate) fn hold(&mut self, id: u32) {
        let block = self.block(id);
        block.n_holders += 1;
        if block.n_holders == 1 {
            let let_go = block.let_go;
            self.idle.remove(&let_go);
        }
    }

    pub(crate) fn let_go(&mut self, id: u32) {
        let now = self.n_let_go;
        let block = self.block(id);
        block.n_holders -= 1;
        if block.n_holders > 0 {
            return;
        }
        match block.text {
            None => self.free.push(id),
            Some(_) => {
                block.let_go = now;
                self.n_let_go += 1;
                self.idle.insert(now, id);
            }
        }
    }

    /// Lets go of a sequence's blocks, the last first.
    pub(crate) fn let_go_all(&mut self, table: &mut Vec<u32>) {
        while let Some(id) = table.pop() {
            self.let_go(id);
        }
    }

    /// The longest beginning of `ids`, which stand behind `root`, that is in blocks.
    pub(crate) fn find(&mut self, root: Parent, ids: &[u32]) -> Found {
        let mut found = Found::default();
        let mut parent = root;
        let mut rest = ids;
        while let Some((id, n_same)) = self.best_child(parent, rest) {
            if n_same < HostBlocks::TOKENS {
                found.partial = Some((id, n_same));
                break;
            }
            self.hold(id);
            found.table.push(id);
            parent = Parent::Block(id);
            rest = &rest[n_same..];
        }
        found
    }

    /// The child that has most of its first tokens in common with `ids`, and how many.
    fn best_child(&self, parent: Parent, ids: &[u32]) -> Option<(u32, usize)> {
        let children = self.children.get(&parent)?;
        let same = |id: &u32| {
            let text = self.blocks[*id as usize].text.as_ref();
            let text = text.expect("this is a bug in firebox-engine: a child without text");
            (*id, n_common(&text.ids, ids))
        };
        let best = children.iter().map(same).max_by_key(|(_, n_same)| *n_same);
        best.filter(|(_, n_same)| *n_same > 0)
    }

    /// Makes it known that the block, which the caller holds, has this text. Where another has the
    /// same already, the caller holds that one from now on.
    pub(crate) fn learn(&mut self, parent: Parent, id: u32, ids: &[u32]) -> u32 {
        if let Some((known, n_same)) = self.best_child(parent, ids)
            && n_same == ids.len()
        {
            if known == id || n_same < HostBlocks::TOKENS {
                return id;
            }
            self.hold(known);
            self.let_go(id);
            return known;
        }
        self.block(id).text = Some(Text {
            parent,
            ids: ids.to_vec(),
        });
        self.children.entry(parent).or_default().push(id);
        id
    }

    fn forget(&mut self, id: u32) {
        debug_assert!(!self.children.contains_key(&Parent::Block(id)));
        let Some(text) = self.block(id).text.take() else {
            return;
        };
        if let Some(siblings) = self.children.get_mut(&text.parent) {
            siblings.retain(|sibling| *sibling != id);
            if siblings.is_empty() {
                self.children.remove(&text.parent);
            }
        }
    }

    fn block(&mut self, id: u32) -> &mut Block {
        &mut self.blocks[id as usize]
    }
}

fn n_common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
