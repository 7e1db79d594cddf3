//! Admission: a bounded queue in front of a fixed number of slots, first come, first served.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots and the queue in front of them.
#[derive(Debug)]
pub(crate) struct Slots {
    /// A permit for each request that waits or runs.
    admitted: Arc<Semaphore>,
    /// A permit for each request that runs; tokio's semaphore serves waiters in order.
    running: Arc<Semaphore>,
    n_admitted: usize,
    n_slots: usize,
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    _permit: OwnedSemaphorePermit,
}

/// The right to generate; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _ticket: Ticket,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(n_slots: usize, queue_limit: usize) -> Self {
        let n_admitted = n_slots
            .saturating_add(queue_limit)
            .min(Semaphore::MAX_PERMITS);
        Self {
            admitted: Arc::new(Semaphore::new(n_admitted)),
            running: Arc::new(Semaphore::new(n_slots)),
            n_admitted,
            n_slots,
        }
    }

    /// Takes a place in the queue, or `None` when it is full.
    pub(crate) fn enter(&self) -> Option<Ticket> {
        let permit = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        Some(Ticket { _permit: permit })
    }

    /// Waits for a slot. Dropping the future leaves the queue.
    pub(crate) async fn acquire(&self, ticket: Ticket) -> Slot {
        let permit = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .expect("this is a bug in firebox-serve: the slots are never closed");
        Slot {
            _ticket: ticket,
            _permit: permit,
        }
    }

    /// Waits until nothing runs.
    pub(crate) async fn all_free(&self) {
        let n_slots = u32::try_from(self.n_slots).unwrap_or(u32::MAX);
        drop(self.running.acquire_many(n_slots).await);
    }

    pub(crate) fn n_slots(&self) -> usize {
        self.n_slots
    }

    pub(crate) fn n_free(&self) -> usize {
        self.running.available_permits()
    }

    /// Admitted requests that do not run yet.
    pub(crate) fn n_waiting(&self) -> usize {
        let n_admitted = self.n_admitted - self.admitted.available_permits();
        n_admitted.saturating_sub(self.n_slots - self.n_free())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_first_come_first_served() {
        let slots = Arc::new(Slots::new(1, 2));
        let first = slots.acquire(slots.enter().unwrap()).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..2)
            .map(|number| {
                let (slots, order) = (Arc::clone(&slots), Arc::clone(&order));
                let ticket = slots.enter().unwrap();
                tokio::spawn(async move {
                    let _slot = slots.acquire(ticket).await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        assert!(slots.enter().is_none());
        assert_eq!((slots.n_free(), slots.n_waiting()), (0, 2));
        tokio::task::yield_now().await;
        drop(first);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1]);
        assert_eq!((slots.n_free(), slots.n_waiting()), (1, 0));
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_gives_its_place_back() {
        let slots = Slots::new(1, 1);
        let _running = slots.acquire(slots.enter().unwrap()).await;
        let waiting = slots.acquire(slots.enter().unwrap());
        assert!(slots.enter().is_none());
        drop(waiting);
        assert!(slots.enter().is_some());
    }
}
