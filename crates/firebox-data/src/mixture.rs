//! Which source comes next: proportions that are never off by a whole example.

use crate::LoaderError;

/// Common decimals become whole shares of a period up to this, exactly.
const MAX_EXACT_PERIOD: u64 = 10_000;

/// Other weights are rounded to shares of this: to a millionth.
const ROUNDED_PERIOD: u64 = 1 << 20;

/// Sources at most: their counts fit the arithmetic then.
const MAX_SOURCES: usize = 1 << 12;

/// Takes turns among weighted sources: after any number of turns, each source has had its share of
/// them up to less than one turn.
///
/// Of the sources that may have a turn without being ahead, the one goes next that would be behind
/// first; on a tie, the first. The turns repeat after a period, so that any turn is reached in a
/// bounded number of steps.
///
/// # Examples
/// ```
/// use firebox_data::Mixture;
///
/// let mut mixture = Mixture::new(&[3.0, 1.0])?;
/// let turns: Vec<usize> = (0..8).map(|_| mixture.next_turn().source).collect();
/// assert_eq!(turns, [0, 0, 1, 0, 0, 0, 1, 0]);
/// # Ok::<(), firebox_data::LoaderError>(())
/// ```
///
/// Source: Tijdeman (1980), "The chairman assignment problem",
/// <https://doi.org/10.1016/0012-365X(80)90269-1>.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// Turns of each source in a period.
    shares: Vec<u64>,
    /// Their sum.
    period: u64,
    /// Whole periods that are over.
    n_periods: u64,
    /// Turns of the present period.
    n_turns: u64,
    /// Of these, each source's.
    taken: Vec<u64>,
}

/// One turn of a [`Mixture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Whose it is.
    pub source: usize,
    /// How many this source had before.
    pub n_before: u64,
}

impl Mixture {
    /// Sources by weight, of any sum. Weights that are whole parts of a number up to 10,000 count
    /// exactly, others to a millionth of all, and each source gets at least that.
    ///
    /// # Errors
    /// [`LoaderError::NoSources`], [`LoaderError::TooManySources`], and [`LoaderError::BadWeight`]
    /// for a weight that is not a positive number.
    pub fn new(weights: &[f64]) -> Result<Self, LoaderError> {
        if weights.is_empty() {
            return Err(LoaderError::NoSources);
        }
        let n_sources = weights.len();
        if n_sources > MAX_SOURCES {
            let limit = MAX_SOURCES;
            return Err(LoaderError::TooManySources { n_sources, limit });
        }
        let is_weight = |weight: f64| weight > 0.0 && weight.is_finite();
        if let Some(index) = weights.iter().position(|&weight| !is_weight(weight)) {
            let weight = weights[index];
            return Err(LoaderError::BadWeight { index, weight });
        }
        // Scaled first: the sum of very large weights is not a number.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let weights: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
        let shares = exact_shares(&weights).unwrap_or_else(|| rounded_shares(&weights));
        Ok(Self {
            period: shares.iter().sum(),
            taken: vec![0; shares.len()],
            shares,
            n_periods: 0,
            n_turns: 0,
        })
    }

    /// The next turn.
    pub fn next_turn(&mut self) -> Turn {
        let source = self.next_source();
        let n_before = self.n_taken(source);
        self.taken[source] += 1;
        self.n_turns += 1;
        if self.n_turns == self.period {
            // Each has had exactly its share.
            self.n_periods += 1;
            self.n_turns = 0;
            self.taken.fill(0);
        }
        Turn { source, n_before }
    }

    /// Goes to a turn, counted from 0, forward or back.
    pub fn seek(&mut self, turn: u64) {
        let (n_periods, n_turns) = (turn / self.period, turn % self.period);
        if n_periods != self.n_periods || n_turns < self.n_turns {
            self.n_periods = n_periods;
            self.n_turns = 0;
            self.taken.fill(0);
        }
        while self.n_turns < n_turns {
            self.next_turn();
        }
    }

    /// How many turns a source has had.
    ///
    /// # Panics
    /// If there are not so many sources.
    #[must_use]
    pub fn n_taken(&self, source: usize) -> u64 {
        self.n_periods * self.shares[source] + self.taken[source]
    }

    /// How many turns of a period are a source's, and how many there are: its share of all.
    ///
    /// # Panics
    /// If there are not so many sources.
    #[must_use]
    pub fn share(&self, source: usize) -> (u64, u64) {
        (self.shares[source], self.period)
    }

    /// Tijdeman's rule, with all fractions multiplied out. Each product stays below 2^53: shares,
    /// turns and period are at most 2^20, `scale` is at most 2^13.
    fn next_source(&self) -> usize {
        let n_sources = self.shares.len() as u64;
        if n_sources == 1 {
            return 0;
        }
        let scale = 2 * n_sources - 2;
        let turn = self.n_turns + 1;
        let mut next: Option<(usize, u64, u64)> = None;
        for (source, (&share, &taken)) in self.shares.iter().zip(&self.taken).enumerate() {
            if scale * share * turn < scale * taken * self.period + self.period {
                continue; // It would be ahead of its share.
            }
            // It is behind its share from the turn `deadline / share` on, up to a common factor.
            let deadline = (taken + 1) * scale - 1;
            let is_sooner =
                next.is_none_or(|(_, best, best_share)| deadline * best_share < best * share);
            if is_sooner {
                next = Some((source, deadline, share));
            }
        }
        // One is always eligible: on average the sources are one turn behind, all together.
        next.map_or(0, |(source, _, _)| source)
    }
}

/// Shares of the shortest period that gives every weight exactly, if one is short enough.
fn exact_shares(weights: &[f64]) -> Option<Vec<u64>> {
    let sum: f64 = weights.iter().sum();
    let n_sources = weights.len() as u64;
    (n_sources..=MAX_EXACT_PERIOD).find_map(|period| {
        let exact = weights.iter().map(|weight| weight / sum * period as f64);
        let is_whole = |share: f64| (share - share.round()).abs() < 1e-9 && share.round() >= 1.0;
        let shares: Vec<u64> = exact
            .map_while(|share| is_whole(share).then_some(share.round() as u64))
            .collect();
        (shares.len() == weights.len() && shares.iter().sum::<u64>() == period).then_some(shares)
    })
}

/// Shares of a long period: each rounded down, but to at least one; what is left over goes to the
/// largest.
fn rounded_shares(weights: &[f64]) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let share = |weight: &f64| ((weight / sum * ROUNDED_PERIOD as f64) as u64).max(1);
    let mut shares: Vec<u64> = weights.iter().map(share).collect();
    let total: u64 = shares.iter().sum();
    if let Some(most) = shares.iter_mut().max() {
        *most = (*most + ROUNDED_PERIOD).saturating_sub(total).max(1);
    }
    shares
}

#[cfg(test)]
mod tests;
