//! The choice within a budget.

use std::cmp::Ordering;

/// One way to store a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) bytes: u64,
    pub(super) cost: f64,
}

/// For each weight the index of a choice, so that the costs are low and the bytes within the budget: from
/// the smallest choices on, again and again the step that saves most cost for a byte among those that fit.
///
/// # Errors
/// The bytes of the smallest choices, when they are more than the budget.
pub(super) fn choose(options: &[Vec<Choice>], budget: u64) -> Result<Vec<usize>, u64> {
    let hulls: Vec<Vec<usize>> = options.iter().map(|choices| hull(choices)).collect();
    let mut at = vec![0; options.len()];
    let mut bytes: u64 = options
        .iter()
        .zip(&hulls)
        .map(|(choices, hull)| choices[hull[0]].bytes)
        .sum();
    if bytes > budget {
        return Err(bytes);
    }
    loop {
        let step = |i: usize| {
            let (choices, hull) = (&options[i], &hulls[i]);
            let to = choices[*hull.get(at[i] + 1)?];
            let from = choices[hull[at[i]]];
            let more = to.bytes - from.bytes;
            (bytes + more <= budget).then_some((i, more, (from.cost - to.cost) / more as f64))
        };
        let best = (0..options.len())
            .filter_map(step)
            .max_by(|a, b| a.2.partial_cmp(&b.2).unwrap_or(Ordering::Equal));
        match best {
            Some((i, more, _)) => {
                at[i] += 1;
                bytes += more;
            }
            None => break,
        }
    }
    Ok(hulls.iter().zip(at).map(|(hull, at)| hull[at]).collect())
}

/// The choices on the lower hull of cost over bytes, fewest bytes first: those that are best for some
/// price of a byte.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..choices.len()).collect();
    let key = |i: &usize| (choices[*i].bytes, choices[*i].cost);
    order.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal));
    let mut hull: Vec<usize> = Vec::new();
    for i in order {
        let new = choices[i];
        if hull
            .last()
            .is_some_and(|last| new.cost >= choices[*last].cost)
        {
            continue;
        }
        // A corner that lies above the line from the one before it to the new one is none.
        while let [.., before, last] = hull[..] {
            let (before, last) = (choices[before], choices[last]);
            let slope = |a: Choice, b: Choice| (a.cost - b.cost) / (b.bytes - a.bytes) as f64;
            if slope(before, last) > slope(last, new) {
                break;
            }
            hull.pop();
        }
        hull.push(i);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(pairs: &[(u64, f64)]) -> Vec<Choice> {
        let choice = |(bytes, cost): &(u64, f64)| Choice {
            bytes: *bytes,
            cost: *cost,
        };
        pairs.iter().map(choice).collect()
    }

    #[test]
    fn only_corners_are_chosen() {
        // 20 is worse than 10; 30 lies above the line from 10 to 40.
        let all = choices(&[(40, 1.0), (10, 8.0), (20, 9.0), (30, 7.0), (50, 0.5)]);
        assert_eq!(hull(&all), [1, 0, 4]);
        assert_eq!(hull(&choices(&[(5, 1.0), (5, 0.5)])), [1]);
        assert_eq!(hull(&choices(&[(5, 0.0)])), [0]);
    }

    #[test]
    fn bytes_go_where_they_save_most() {
        let options = [
            choices(&[(10, 4.0), (20, 1.0), (40, 0.5)]),
            choices(&[(10, 40.0), (20, 10.0), (40, 5.0)]),
        ];
        assert_eq!(choose(&options, 19), Err(20));
        assert_eq!(choose(&options, 20), Ok(vec![0, 0]));
        assert_eq!(choose(&options, 30), Ok(vec![0, 1]));
        assert_eq!(choose(&options, 40), Ok(vec![1, 1]));
        assert_eq!(choose(&options, 60), Ok(vec![1, 2]));
        assert_eq!(choose(&options, 1000), Ok(vec![2, 2]));
        assert_eq!(choose(&[], 0), Ok(vec![]));
    }

    /// Against all choices there are: never over the budget, and where every step is as large as every
    /// other, none is better.
    #[test]
    fn steps_of_one_size_give_the_best_choice() {
        let cost = |i: usize, j: usize| {
            let sizes = [9.0, 7.5, 3.0, 2.0];
            [sizes[i], sizes[i] / 3.0, sizes[i] / 10.0][j]
        };
        let of = |i: usize| choices(&[(10, cost(i, 0)), (20, cost(i, 1)), (30, cost(i, 2))]);
        let options: Vec<Vec<Choice>> = (0..4).map(of).collect();
        for budget in (40..=120).step_by(10) {
            let total = |chosen: &[usize]| {
                let of =
                    |(choices, j): (&Vec<Choice>, &usize)| (choices[*j].bytes, choices[*j].cost);
                let pairs = options.iter().zip(chosen).map(of);
                pairs.fold((0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
            };
            let found = total(&choose(&options, budget).unwrap());
            let all = (0..81_usize).map(|n| [n % 3, n / 3 % 3, n / 9 % 3, n / 27]);
            let best = all
                .map(|chosen| total(&chosen))
                .filter(|(bytes, _)| *bytes <= budget)
                .fold(f64::INFINITY, |best, (_, cost)| best.min(cost));
            assert!(
                found.0 <= budget && (found.1 - best).abs() < 1e-9,
                "{budget}"
            );
        }
    }
}
