//! What matters how much, to be chosen.

use assay_measure::job::{Goals, Importance};

/// One of the three selects.
#[derive(Clone, Debug)]
pub(crate) struct GoalChoice {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) importance: Importance,
}

/// What nobody has chosen begins with cost, which contains throughput already.
pub(crate) fn choices(goals: Option<Goals>) -> [GoalChoice; 3] {
    let goals = goals.unwrap_or(Goals {
        cost: Importance::Highest,
        latency: Importance::Low,
        throughput: Importance::Lowest,
    });
    [
        GoalChoice { name: "cost", title: "Cost", importance: goals.cost },
        GoalChoice { name: "latency", title: "Latency", importance: goals.latency },
        GoalChoice { name: "throughput", title: "Throughput", importance: goals.throughput },
    ]
}
