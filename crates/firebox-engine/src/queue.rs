//! Who is served next.
//!
//! Higher priority comes first; then the tenant that was served least; then the request whose time is
//! over first; then the one that came first. A tenant that was away does not come back with credit.
//!
//! Source: Sheng et al. (2024), algorithm 2, <https://arxiv.org/abs/2401.00588>.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::sequence::Sequence;

/// How much more a new token counts than one of a prompt: it is computed nearly alone.
const NEW_TOKEN_COST: u64 = 2;

#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    waiting: Vec<Sequence>,
    /// What each tenant was given.
    served: HashMap<Arc<str>, u64>,
}

impl FairQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A new request. `running` are those being served.
    pub(crate) fn enter(&mut self, sequence: Sequence, running: &[Sequence]) {
        let tenants = self.waiting.iter().chain(running);
        let tenants: Vec<&Arc<str>> = tenants.map(|sequence| &sequence.request.tenant).collect();
        if !tenants.contains(&&sequence.request.tenant) {
            let served = |tenant: &&Arc<str>| self.served.get(&**tenant).copied().unwrap_or(0);
            let least = tenants.iter().map(served).min();
            let tenant = Arc::clone(&sequence.request.tenant);
            match least {
                // Nobody is there to be compared with.
                None => self.served.clear(),
                Some(least) => {
                    self.served
                        .retain(|name, served| *served > least || tenants.contains(&name));
                    let own = self.served.entry(tenant).or_insert(least);
                    *own = least.max(*own);
                }
            }
        }
        self.waiting.push(sequence);
    }

    /// One that was running waits again.
    pub(crate) fn re_enter(&mut self, sequence: Sequence) {
        self.waiting.push(sequence);
    }

    /// Notes what was computed for a tenant.
    pub(crate) fn count(&mut self, tenant: &Arc<str>, n_prompt: usize, n_new: usize) {
        let cost = n_prompt as u64 + n_new as u64 * NEW_TOKEN_COST;
        match self.served.get_mut(tenant) {
            Some(served) => *served += cost,
            None => _ = self.served.insert(Arc::clone(tenant), cost),
        }
    }

    /// Takes out the request that is next.
    pub(crate) fn pop(&mut self) -> Option<Sequence> {
        let order = |i: &usize| {
            let sequence = &self.waiting[*i];
            let served = self.served.get(&sequence.request.tenant).copied();
            (
                Reverse(sequence.request.priority),
                served.unwrap_or(0),
                // One without a limit has all the time there is.
                (sequence.deadline().is_none(), sequence.deadline()),
                sequence.arrival,
            )
        };
        let next = (0..self.waiting.len()).min_by_key(order)?;
        Some(self.waiting.swap_remove(next))
    }

    /// Takes out those that are over, tells them so, and gives their number.
    pub(crate) fn drop_ended(&mut self, now: Instant) -> usize {
        let is_over = |sequence: &mut Sequence| {
            sequence.check_end(now);
            sequence.is_over()
        };
        let ended = self.waiting.extract_if(.., is_over);
        ended.map(|mut sequence| sequence.send_events()).count()
    }
}

#[cfg(test)]
mod tests;
