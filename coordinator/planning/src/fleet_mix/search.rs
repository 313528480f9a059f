//! The exact search behind [`cheapest`](super::cheapest): branch and bound over the counts of instances.
//!
//! # The problem
//! Minimize `Σ price·x` subject to `Σ capacity·x ≥ demand`, `0 ≤ x ≤ most`, `x` whole: the covering form of the
//! bounded knapsack problem.
//!
//! # The method
//! Kinds are sorted by price per capacity, and counts are tried from the most that can be of use downwards, the
//! kind that is cheapest per capacity first. A branch is cut where a lower bound of its price is no better than the
//! best mix found so far. The bound is the linear relaxation of what is left: fractions of instances in the order of
//! price per capacity, which is an optimum of the relaxation (Dantzig, *Discrete-variable extremum problems*, 1957),
//! rounded up to a multiple of the greatest common divisor of the prices and to at least one instance. Fewer instances
//! of one kind leave more to kinds that are dearer per capacity, so the unrounded bound ascends with every instance
//! less, and once it is too high the rest of the counts is cut together. Before that, a kind goes that some number of
//! instances of another kind replaces for no more money and no less capacity (dominance; Martello and Toth, *Knapsack
//! Problems*, 1990, chapter 3).
//!
//! Dynamic programming (Gilmore and Gomory, *The theory and computation of knapsack functions*, 1966) takes time and
//! memory in proportion to the demand, or with its periodicity to the capacities, both counted in their unit: hundreds
//! of millions here, for what the bound settles after far fewer branches as a rule. The worst case of branch and bound
//! is exponential, so branches are counted, and beyond [`MOST_BRANCHES`] the best mix found so far is the answer,
//! unproven.
//!
//! Mixes of equal price are told apart by a second search of the same form, which minimizes instances and then excess
//! within that price.

use std::cmp::Reverse;

/// Branches of the search for the least price; fewer beyond [`FEW_KINDS`].
const MOST_BRANCHES: usize = 1_000_000;
/// Branches of the search among mixes of equal price.
const MOST_TIE_BRANCHES: usize = 250_000;
/// Up to so many kinds the bounds of a branch cost next to nothing; beyond, what they cost grows in proportion.
const FEW_KINDS: usize = 30;

/// A kind of instance that can be rented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Above zero, below 2⁶⁴.
    pub(super) price: u128,
    /// Above zero, below 2⁶⁴.
    pub(super) capacity: u128,
    /// The most instances, at most `u32::MAX`.
    pub(super) most: u64,
}

/// Counts in the order of the kinds given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) counts: Vec<u64>,
    /// Nothing is cheaper.
    pub(super) proven: bool,
    /// Of equally cheap mixes it is the one to be preferred.
    pub(super) ties_settled: bool,
}

/// The cheapest counts that carry a demand above zero and below 2⁶⁴; `None` when all instances together do not.
pub(super) fn search(kinds: &[Kind], demand: u128) -> Option<Found> {
    let kinds: Vec<Kind> = kinds.iter().map(|kind| kind.useful_for(demand)).collect();
    let all: u128 = kinds.iter().map(|kind| u128::from(kind.most) * kind.capacity).sum();
    if all < demand {
        return None;
    }
    let mut cheapest = Search::by_price(&kinds, demand);
    if let Some((at, count)) = best_single(&kinds, demand) {
        let mut counts = vec![0; kinds.len()];
        counts[at] = count;
        cheapest.best = Some(((price_of(&kinds, &counts), 0), counts));
    }
    let proven = cheapest.run(MOST_BRANCHES);
    // A mix is found at the end of the first descent at the latest.
    let ((price, _), mut counts) = cheapest.best?;
    if !proven {
        return Some(Found {
            counts: trimmed(&kinds, counts, demand),
            proven,
            ties_settled: false,
        });
    }
    let mut preferred = Search::by_count(&kinds, demand, price);
    let instances = counts.iter().map(|&count| u128::from(count)).sum();
    preferred.ceiling = Some((instances, carried(&kinds, &counts) - demand));
    let ties_settled = preferred.run(MOST_TIE_BRANCHES);
    if let Some((_, found)) = preferred.best {
        counts = found;
    }
    Some(Found { counts, proven, ties_settled })
}

/// The one kind that carries the demand alone for the least price, then with the fewest instances, then with
/// the least excess, then the first one; with its count.
pub(super) fn best_single(kinds: &[Kind], demand: u128) -> Option<(usize, u64)> {
    let alone = kinds.iter().enumerate().filter_map(|(at, kind)| {
        let count = u64::try_from(demand.div_ceil(kind.capacity)).ok()?;
        (count <= kind.most).then_some((at, count))
    });
    alone.min_by_key(|&(at, count)| {
        let count = u128::from(count);
        (count * kinds[at].price, count, count * kinds[at].capacity)
    })
}

impl Kind {
    /// More instances than carry the demand alone are of no use.
    fn useful_for(self, demand: u128) -> Self {
        let alone = u64::try_from(demand.div_ceil(self.capacity)).unwrap_or(u64::MAX);
        Self { most: self.most.min(alone), ..self }
    }

    /// Whether it could carry the demand alone, so that its limit is none.
    fn is_unlimited(self, demand: u128) -> bool {
        u128::from(self.most) * self.capacity >= demand
    }

    /// What it takes of this kind to replace one of another.
    fn price_instead_of(self, other: Self) -> u128 {
        other.capacity.div_ceil(self.capacity) * self.price
    }
}

/// What is minimized, the first part first: the price and nothing else, or the instances and then the excess.
type Key = (u128, u128);

/// The price of so many instances.
pub(super) fn price_of(kinds: &[Kind], counts: &[u64]) -> u128 {
    kinds.iter().zip(counts).map(|(kind, &count)| kind.price * u128::from(count)).sum()
}

/// The capacity of so many instances.
pub(super) fn carried(kinds: &[Kind], counts: &[u64]) -> u128 {
    kinds.iter().zip(counts).map(|(kind, &count)| kind.capacity * u128::from(count)).sum()
}

/// Without instances that are not needed, the dearest first.
fn trimmed(kinds: &[Kind], mut counts: Vec<u64>, demand: u128) -> Vec<u64> {
    let mut excess = carried(kinds, &counts).saturating_sub(demand);
    let mut dearest: Vec<usize> = (0..kinds.len()).collect();
    dearest.sort_by_key(|&at| Reverse(kinds[at].price));
    for at in dearest {
        let spare = u64::try_from(excess / kinds[at].capacity).unwrap_or(u64::MAX).min(counts[at]);
        counts[at] -= spare;
        excess -= u128::from(spare) * kinds[at].capacity;
    }
    counts
}

/// Which of the two searches it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// The least price.
    Price,
    /// The fewest instances, then the least excess, of mixes that cost this much.
    Count { budget: u128 },
}

/// A depth-first search; level by level the count of one kind is chosen.
struct Search<'a> {
    all: &'a [Kind],
    demand: u128,
    aim: Aim,
    /// The kinds of the levels, as indices of `all`.
    order: Vec<usize>,
    /// Levels, by price per capacity.
    by_efficiency: Vec<usize>,
    /// The greatest common divisor of the prices from a level on.
    divisor: Vec<u128>,
    /// The least price of an instance from a level on.
    least: Vec<u128>,
    /// No mix has less excess.
    least_excess: u128,
    /// A key that is known to be reached, though not by which mix that is to be preferred.
    ceiling: Option<Key>,
    best: Option<(Key, Vec<u64>)>,
}

/// What a choice of counts has come to.
#[derive(Clone, Copy)]
struct Standing {
    left: u128,
    excess: u128,
    price: u128,
    count: u128,
}

/// What becomes of a branch.
enum Step {
    /// The next level.
    Descend,
    /// One instance less.
    Fewer,
    /// All smaller counts are as bad.
    Leave,
}

impl<'a> Search<'a> {
    fn by_price(all: &'a [Kind], demand: u128) -> Self {
        let replaces = |i: usize, j: usize| {
            let (one, other) = (all[i], all[j]);
            let price = one.price_instead_of(other);
            let is_better = price < other.price || i < j || other.price_instead_of(one) > one.price;
            i != j && one.is_unlimited(demand) && price <= other.price && is_better
        };
        let mut order: Vec<usize> =
            (0..all.len()).filter(|&j| !(0..all.len()).any(|i| replaces(i, j))).collect();
        order.sort_by(|&a, &b| by_efficiency(all[a], all[b]));
        Self::new(all, demand, Aim::Price, order)
    }

    fn by_count(all: &'a [Kind], demand: u128, budget: u128) -> Self {
        let replaces = |i: usize, j: usize| {
            all[i].is_unlimited(demand) && all[i].price_instead_of(all[j]) < all[j].price
        };
        let mut order: Vec<usize> =
            (0..all.len()).filter(|&j| !(0..all.len()).any(|i| replaces(i, j))).collect();
        order.sort_by_key(|&at| (Reverse(all[at].capacity), all[at].price));
        Self::new(all, demand, Aim::Count { budget }, order)
    }

    fn new(all: &'a [Kind], demand: u128, aim: Aim, order: Vec<usize>) -> Self {
        let mut by_price_per_capacity: Vec<usize> = (0..order.len()).collect();
        by_price_per_capacity.sort_by(|&a, &b| by_efficiency(all[order[a]], all[order[b]]));
        let (mut divisor, mut least) = (vec![0; order.len()], vec![u128::MAX; order.len()]);
        let (mut common, mut cheapest) = (0, u128::MAX);
        for level in (0..order.len()).rev() {
            let price = all[order[level]].price;
            (common, cheapest) = (greatest_common_divisor(common, price), cheapest.min(price));
            (divisor[level], least[level]) = (common, cheapest);
        }
        let unit =
            order.iter().fold(0, |unit, &at| greatest_common_divisor(unit, all[at].capacity));
        let least_excess = demand.next_multiple_of(unit.max(1)) - demand;
        Self {
            all,
            demand,
            aim,
            order,
            by_efficiency: by_price_per_capacity,
            divisor,
            least,
            least_excess,
            ceiling: None,
            best: None,
        }
    }

    fn kind(&self, level: usize) -> Kind {
        self.all[self.order[level]]
    }

    /// Searches until all is seen or cut, or for so many branches; whether it came to its end.
    fn run(&mut self, most_branches: usize) -> bool {
        let levels = self.order.len();
        // The first descent, which finds a mix, is never cut short.
        let most_branches = (most_branches / levels.div_ceil(FEW_KINDS).max(1)).max(levels);
        let start = Standing { left: self.demand, excess: 0, price: 0, count: 0 };
        let mut chosen: Vec<u64> = Vec::with_capacity(self.order.len());
        let mut standings = vec![start];
        chosen.push(self.most_at(0, start));
        for _ in 0..most_branches {
            let level = chosen.len() - 1;
            let now = standings[level].with(self.kind(level), chosen[level]);
            match self.look(level, now, &chosen) {
                Step::Descend => {
                    standings.push(now);
                    chosen.push(self.most_at(level + 1, now));
                    continue;
                }
                Step::Fewer => {}
                Step::Leave => chosen[level] = 0,
            }
            while chosen.last() == Some(&0) {
                chosen.pop();
                standings.pop();
            }
            match chosen.last_mut() {
                Some(count) => *count -= 1,
                None => return true,
            }
        }
        false
    }

    /// The most instances of a level's kind that are of use.
    fn most_at(&self, level: usize, before: Standing) -> u64 {
        let kind = self.kind(level);
        let needed = before.left.div_ceil(kind.capacity);
        let paid = match self.aim {
            Aim::Price => needed,
            Aim::Count { budget } => budget.saturating_sub(before.price) / kind.price,
        };
        kind.most.min(u64::try_from(needed.min(paid)).unwrap_or(u64::MAX))
    }

    fn look(&mut self, level: usize, now: Standing, chosen: &[u64]) -> Step {
        if now.left == 0 {
            self.keep_if_better(now, chosen);
            return Step::Fewer;
        }
        let Some(price) = self.price_bound(level + 1, now.left) else { return Step::Leave };
        let rounded = self.rounded(level + 1, price);
        match self.aim {
            Aim::Price => {
                let best = self.best.as_ref().map_or(u128::MAX, |((price, _), _)| *price);
                let least = (now.price + price).next_multiple_of(self.divisor[0]);
                if least >= best {
                    Step::Leave
                } else if now.price + rounded >= best {
                    Step::Fewer
                } else {
                    Step::Descend
                }
            }
            Aim::Count { budget } => {
                let count = now.count + self.count_bound(level + 1, now.left);
                if self.is_no_better((count, self.least_excess)) {
                    Step::Leave
                } else if now.price + rounded > budget {
                    Step::Fewer
                } else {
                    Step::Descend
                }
            }
        }
    }

    fn keep_if_better(&mut self, now: Standing, chosen: &[u64]) {
        let key = match self.aim {
            Aim::Price => (now.price, 0),
            Aim::Count { .. } => (now.count, now.excess),
        };
        if self.is_no_better(key) {
            return;
        }
        let mut counts = vec![0; self.all.len()];
        for (&at, &count) in self.order.iter().zip(chosen) {
            counts[at] = count;
        }
        self.best = Some((key, counts));
    }

    /// The first mix of a key is the one to be preferred.
    fn is_no_better(&self, key: Key) -> bool {
        match (&self.best, self.ceiling) {
            (Some((best, _)), _) => key >= *best,
            (None, Some(ceiling)) => key > ceiling,
            (None, None) => false,
        }
    }

    /// The least price of carrying this much with fractions of the kinds from a level on; `None` when they cannot.
    fn price_bound(&self, level: usize, mut left: u128) -> Option<u128> {
        let mut price = 0;
        for &at in self.by_efficiency.iter().filter(|&&at| at >= level) {
            let kind = self.kind(at);
            let all = u128::from(kind.most) * kind.capacity;
            if left <= all {
                return Some(price + (left * kind.price).div_ceil(kind.capacity));
            }
            price += u128::from(kind.most) * kind.price;
            left -= all;
        }
        None
    }

    /// What a lower bound means for whole instances, at least one.
    fn rounded(&self, level: usize, price: u128) -> u128 {
        price.max(self.least[level]).next_multiple_of(self.divisor[level])
    }

    /// The fewest instances that carry this much, of the kinds from a level on, which are sorted by capacity.
    fn count_bound(&self, level: usize, mut left: u128) -> u128 {
        let mut count = 0;
        for &at in &self.order[level..] {
            let kind = self.all[at];
            let all = u128::from(kind.most) * kind.capacity;
            if left <= all {
                return count + left.div_ceil(kind.capacity);
            }
            count += u128::from(kind.most);
            left -= all;
        }
        count
    }
}

impl Standing {
    fn with(self, kind: Kind, count: u64) -> Self {
        let count = u128::from(count);
        let more = count * kind.capacity;
        Self {
            left: self.left.saturating_sub(more),
            excess: more.saturating_sub(self.left),
            price: self.price + count * kind.price,
            count: self.count + count,
        }
    }
}

/// Cheaper per capacity first, larger first among equals.
fn by_efficiency(a: Kind, b: Kind) -> std::cmp::Ordering {
    (a.price * b.capacity).cmp(&(b.price * a.capacity)).then(b.capacity.cmp(&a.capacity))
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
