//! Threads that stay together through a run of short kernels.
//!
//! A decoding step is some hundred kernels of a few dozen microseconds. Handing each to a sleeping
//! pool costs as much as the smaller of them. A team's threads are taken from rayon's pool once;
//! between kernels they watch a number change.

#![expect(
    unsafe_code,
    reason = "work on the leader's stack is shared through a pointer, for as long as it stands"
)]

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::parallel::n_threads;

/// Looks at a number before the thread lets others run: some tens of microseconds.
const SPINS: usize = 4000;

thread_local! {
    static PART: Cell<Part> = const { Cell::new(Part::None) };
}

/// This thread's part in a team.
#[derive(Clone, Copy)]
enum Part {
    None,
    Leads(*const Team),
    /// It computes its share of a kernel. What begins in there runs on this thread alone: the others
    /// are busy, and waiting for them through rayon could mean following another team.
    InLane,
}

type Lane<'a> = dyn Fn() + Sync + 'a;

struct Team {
    /// Counts the work that was published.
    epoch: AtomicUsize,
    /// Whether more members may begin the present work.
    is_open: AtomicBool,
    /// Members inside the present work, or finding out whether it is open.
    n_inside: AtomicUsize,
    is_over: AtomicBool,
    /// The present work; good while it is open or a member is inside.
    work: UnsafeCell<Option<*const Lane<'static>>>,
}

// SAFETY: `work` is written by the leader alone, while it is not open and nobody is inside.
unsafe impl Sync for Team {}
// SAFETY: as above.
unsafe impl Send for Team {}

/// Runs `lead` with the pool's threads at hand: every [`for_each`](super::for_each) in it, however
/// short, reaches them at once. Threads that are busy elsewhere join when they can; nothing waits
/// for them.
pub fn in_team<T: Send>(lead: impl FnOnce() -> T + Send) -> T {
    if !matches!(PART.get(), Part::None) {
        return lead();
    }
    let team = Team {
        epoch: AtomicUsize::new(0),
        is_open: AtomicBool::new(false),
        n_inside: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        work: UnsafeCell::new(None),
    };
    rayon::scope(|scope| {
        for _ in 1..n_threads() {
            scope.spawn(|_| team.follow());
        }
        let _leading = Leading::begin(&team);
        lead()
    })
}

/// Runs `lane` on this thread and on the others of the team it leads; `false`, and nothing done,
/// where it is in none.
pub(super) fn run_in_team(lane: &Lane<'_>) -> bool {
    match PART.get() {
        Part::None => return false,
        Part::InLane => lane(),
        // SAFETY: the team outlives `Leading`, which unsets the pointer.
        Part::Leads(team) => unsafe { (*team).run(lane) },
    }
    true
}

/// Makes the thread a team's leader until it is dropped, by a panic too.
struct Leading<'a>(&'a Team);

impl<'a> Leading<'a> {
    fn begin(team: &'a Team) -> Self {
        PART.set(Part::Leads(team));
        Self(team)
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        PART.set(Part::None);
        self.0.is_over.store(true, Ordering::Release);
    }
}

/// Marks the thread as inside a lane until it is dropped, by a panic too.
struct InLane(Part);

impl InLane {
    fn begin() -> Self {
        Self(PART.replace(Part::InLane))
    }
}

impl Drop for InLane {
    fn drop(&mut self) {
        PART.set(self.0);
    }
}

/// Counts a member as inside until it is dropped, by a panic too.
struct Inside<'a>(&'a Team);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.n_inside.fetch_sub(1, Ordering::Release);
    }
}

/// Closes the work and waits for those inside, by a panic too: they read the leader's stack.
struct Closing<'a>(&'a Team);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.is_open.store(false, Ordering::SeqCst);
        wait_until(|| self.0.n_inside.load(Ordering::SeqCst) == 0);
    }
}

impl Team {
    fn run(&self, lane: &Lane<'_>) {
        // SAFETY: only the lifetime is left out; `Closing` keeps the work standing until nobody is
        // inside. It is not open and nobody reads it: the last work was closed.
        unsafe {
            *self.work.get() =
                Some(std::mem::transmute::<*const Lane<'_>, *const Lane<'static>>(lane));
        }
        let _closing = Closing(self);
        self.is_open.store(true, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let _in_lane = InLane::begin();
        lane();
    }

    /// What every thread but the leader does.
    fn follow(&self) {
        let mut seen = 0;
        loop {
            wait_until(|| self.epoch.load(Ordering::Acquire) != seen || self.is_over());
            if self.is_over() {
                return;
            }
            seen = self.epoch.load(Ordering::Acquire);
            self.n_inside.fetch_add(1, Ordering::SeqCst);
            let _inside = Inside(self);
            // Either the leader sees this member inside, or the member sees the work closed.
            if self.is_open.load(Ordering::SeqCst) {
                // SAFETY: it is open and this member inside, so the leader neither changes the work
                // nor leaves it.
                let work = unsafe { (*self.work.get()).map(|work| &*work) };
                if let Some(work) = work {
                    let _in_lane = InLane::begin();
                    work();
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Looks until it is so; lets other threads run when it takes long.
fn wait_until(is_so: impl Fn() -> bool) {
    let mut n_looks = 0;
    while !is_so() {
        if n_looks < SPINS {
            n_looks += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::for_each;
    use super::*;

    fn on_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
        pool.unwrap().install(work)
    }

    #[test]
    fn every_number_comes_once_in_a_long_run_of_short_kernels() {
        for n_threads in 1..5 {
            let calls: Vec<AtomicUsize> = (0..7).map(|_| AtomicUsize::new(0)).collect();
            on_threads(n_threads, || {
                in_team(|| {
                    for round in 1..3000 {
                        for_each(7, |i| _ = calls[i].fetch_add(1, Ordering::Relaxed));
                        let all = calls.iter().map(|calls| calls.load(Ordering::Relaxed));
                        assert_eq!(all.sum::<usize>(), 7 * round);
                    }
                });
            });
            assert!(calls.iter().all(|n| n.load(Ordering::Relaxed) == 2999));
        }
    }

    #[test]
    fn kernels_and_teams_inside_a_kernel_run_where_they_are() {
        let total = AtomicUsize::new(0);
        on_threads(3, || {
            in_team(|| {
                for_each(5, |_| {
                    in_team(|| for_each(4, |_| _ = total.fetch_add(1, Ordering::Relaxed)));
                });
            });
        });
        assert_eq!(total.into_inner(), 20);
    }

    #[test]
    fn a_panic_in_a_lane_reaches_the_caller_and_leaves_the_pool_in_use() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(2)
            .build()
            .unwrap();
        for culprit in 0..6 {
            let run = || {
                pool.install(|| in_team(|| for_each(6, |i| assert!(i != culprit, "on purpose"))));
            };
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        }
        let total = AtomicUsize::new(0);
        pool.install(|| in_team(|| for_each(9, |_| _ = total.fetch_add(1, Ordering::Relaxed))));
        assert_eq!(total.into_inner(), 9);
    }
}
