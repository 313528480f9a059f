//! Words and formulas.

use askama::Template;
use assay_measure::job::Importance;

use crate::frame::Frame;

/// One word per idea, the same as everywhere else.
const GLOSSARY: &[(&str, &str)] = &[
    ("job", "what you ask for: a model, candidates, constraints, goals"),
    ("candidate", "an instance type with a configuration, or an endpoint"),
    (
        "configuration",
        "workers, intra-op threads, batching, device, precision, graph, allocator, environment",
    ),
    ("trial", "one candidate measured once on one agent"),
    ("step", "one constant load inside a trial"),
    ("agent", "the daemon on a candidate machine"),
    ("model host", "the process that serves the model"),
    ("endpoint", "a server that runs already, which an agent may load"),
    (
        "max invocations",
        "the largest rate per minute that a candidate sustains within the constraints; its capacity",
    ),
    ("plateau", "the throughput at which more concurrent users no longer help"),
    (
        "p50, p95, p99",
        "the latency that 50, 95 or 99 % of the calls stay within, counted from when a call was meant to be sent",
    ),
    ("±", "half of the width of the 95 % confidence interval"),
    (
        "emulation",
        "measuring an instance type's shape on another machine, within that many vCPUs and that much memory",
    ),
    ("finding", "something seen during a trial that bears on whether it can be believed"),
    (
        "valid, suspect, invalid",
        "what the findings come to; an invalid trial is measured again and never averaged in",
    ),
    ("tied", "the intervals overlap, so the measurement cannot tell two candidates apart"),
    ("estimate", "a price that was not sourced for exactly this type, region and component"),
];

#[derive(Clone, Debug, Template)]
#[template(path = "help.html")]
pub struct Help {
    pub frame: Frame,
}
