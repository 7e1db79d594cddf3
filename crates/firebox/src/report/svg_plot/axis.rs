//! An axis: which numbers it shows, where, and with round ticks.

/// About how many ticks to draw.
const N_TICKS: f64 = 5.0;

/// Numbers from `low` to `high`, laid out from `start` to `end`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// From the smallest value to the largest.
    ///
    /// Whole numbers get whole ticks.
    pub(crate) fn tight(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let is_whole = values.clone().all(|value| value.fract() == 0.0);
        let (low, high) = range(values);
        let shortest = if is_whole { 1.0 } else { 0.0 };
        Self {
            low,
            high,
            step: round_step(high - low).max(shortest),
            start,
            end,
        }
    }

    /// From a tick at or below the smallest value to one at or above the largest.
    pub(crate) fn round(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let tight = Self::tight(values, start, end);
        Self {
            low: (tight.low / tight.step).floor() * tight.step,
            high: (tight.high / tight.step).ceil() * tight.step,
            ..tight
        }
    }

    /// Where a value is drawn.
    pub(crate) fn place(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// Place and label of each tick.
    pub(crate) fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        // A little slack, because a multiple of the step may be off by a rounding.
        let first = (self.low / self.step - 1e-6).ceil() as i64;
        let last = (self.high / self.step + 1e-6).floor() as i64;
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        (first..=last).map(move |multiple| {
            let value = multiple as f64 * self.step;
            (self.place(value), format!("{value:.decimals$}"))
        })
    }
}

/// Smallest and largest, apart even where all values are the same or there are none.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match high - low {
        width if width.is_nan() || width == f64::NEG_INFINITY => (0.0, 1.0),
        0.0 => {
            let margin = (low.abs() * 0.1).max(0.5);
            (low - margin, high + margin)
        }
        _ => (low, high),
    }
}

/// The 1, 2 or 5 times a power of ten that divides `width` into about [`N_TICKS`].
fn round_step(width: f64) -> f64 {
    let rough = width / N_TICKS;
    let power = 10f64.powf(rough.log10().floor());
    match rough / power {
        ..1.5 => power,
        ..3.5 => 2.0 * power,
        ..7.5 => 5.0 * power,
        _ => 10.0 * power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let axis = Axis::round([2.13, 7.62].into_iter(), 0.0, 100.0);
        assert_eq!(labels(&axis), ["2", "3", "4", "5", "6", "7", "8"]);
        let axis = Axis::tight([1.0, 400.0].into_iter(), 0.0, 100.0);
        assert_eq!(labels(&axis), ["100", "200", "300", "400"]);
        let axis = Axis::round([3.187, 3.418].into_iter(), 0.0, 100.0);
        assert_eq!(
            labels(&axis),
            ["3.15", "3.20", "3.25", "3.30", "3.35", "3.40", "3.45"]
        );
        let axis = Axis::round([-0.3, 0.4].into_iter(), 0.0, 100.0);
        assert_eq!(
            labels(&axis),
            ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3", "0.4"]
        );
        let axis = Axis::tight([1.0, 3.0].into_iter(), 0.0, 100.0);
        assert_eq!(
            labels(&axis),
            ["1", "2", "3"],
            "no half steps between whole ones"
        );
    }

    #[test]
    fn values_are_placed_between_the_ends() {
        let axis = Axis::round([0.0, 10.0].into_iter(), 200.0, 20.0);
        assert_eq!(
            [0.0, 5.0, 10.0].map(|value| axis.place(value)),
            [200.0, 110.0, 20.0]
        );
    }

    #[test]
    fn one_value_or_none_still_makes_an_axis() {
        for values in [&[][..], &[3.0], &[0.0, 0.0], &[-1e6]] {
            let axis = Axis::round(values.iter().copied(), 0.0, 100.0);
            assert!(axis.ticks().count() >= 2, "{values:?}");
            let place = axis.place(values.first().copied().unwrap_or(0.5));
            assert!((0.0..=100.0).contains(&place), "{values:?}: {place}");
        }
    }
}
