//! Pages about jobs.

use assay_measure::{
    bounded_text,
    ids::{BadId, JobName, TrialId},
    job::{Demand, Goals, Importance, JobStatus},
    units::Rate,
};
use assay_pages::{
    compare::{Compare, Compared, Outcome},
    details::{Details, EventRow},
    frame::Section,
    jobs::{Filter, JobRow, Jobs},
    results::{Part, Results, job_path},
    trial::Trial,
};
use assay_planning::{
    compare::{self, ComparedJob, FIELDS, Unlike},
    job_report::{self, Overrides},
    report::{self, Entry, JobReport},
};
use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{
    Web,
    asked::{Path, Query},
    html,
    refusal::Refusal,
    visitors::Visitor,
    words,
};
use crate::{
    dispatch::{Event, Refused},
    store::{JobQuery, JobSummary},
};

const PAGE: u32 = 100;
const MOST_EVENTS: u32 = 1000;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    model: String,
    #[serde(default, rename = "type")]
    instance_type: String,
    before: Option<u64>,
}

impl ListQuery {
    /// The path of the page with older jobs.
    fn before(&self, number: u64) -> String {
        let pairs = [
            ("q", &self.q),
            ("status", &self.status),
            ("model", &self.model),
            ("type", &self.instance_type),
        ];
        format!(
            "/jobs{}before={number}",
            written(&pairs, "?", "&").unwrap_or_else(|| "?".to_owned())
        )
    }
}

pub(super) async fn list(
    State(web): State<Web>,
    visitor: Visitor,
    Query(asked): Query<ListQuery>,
) -> Result<Html<String>, Refusal> {
    let wanted = Some(asked.status.trim()).filter(|word| !word.is_empty());
    let wanted: Option<JobStatus> = wanted
        .map(str::parse)
        .transpose()
        .map_err(|error| Refusal::bad_request(format!("{error}"), ""))?;
    let query = JobQuery {
        before_number: asked.before,
        status: wanted,
        name_contains: asked.q.trim().to_owned(),
        model_contains: asked.model.trim().to_owned(),
        instance_type: asked.instance_type.trim().to_owned(),
        limit: PAGE + 1,
    };
    let mut jobs = web.shared.store.jobs(&query).await?;
    let more = jobs.len() > PAGE as usize;
    jobs.truncate(PAGE as usize);
    let next = jobs.last().filter(|_| more).map(|last| asked.before(last.number));
    let agents = web.shared.dispatch.ask(|answer| Event::ListAgents { answer }).await?;
    html(&Jobs {
        frame: visitor.frame(Some(Section::Jobs)),
        rows: jobs.into_iter().map(row).collect(),
        filter: Filter {
            name_contains: asked.q,
            status: wanted,
            model_contains: asked.model,
            instance_type: asked.instance_type,
        },
        next,
        agents: agents.iter().filter(|agent| agent.connected).count(),
        reached_by: web.reached_by(),
    })
}

fn row(job: JobSummary) -> JobRow {
    let best = job.recommended;
    let cost = best.as_ref().and_then(|best| best.cost_per_inference_usd);
    JobRow {
        name: job.spec.name.to_string(),
        path: job_path(&job.spec.name),
        status: job.status,
        about: report::about(job.spec.model(), job.spec.endpoint()),
        created_at: job.created_at,
        trials_total: job.trials_total,
        trials_ended: job.trials_ended,
        recommended: best.map(|best| format!("{}, {}", best.instance_type, best.configuration)),
        usd_per_million: cost.map(|cost| cost * 1e6),
        reason: bounded_text::beginning(job.reason, 200),
    }
}

/// How a visitor wants candidates ranked; what is empty was not said.
#[derive(Default, Deserialize)]
pub(super) struct RankQuery {
    #[serde(default)]
    cost: String,
    #[serde(default)]
    latency: String,
    #[serde(default)]
    throughput: String,
    #[serde(default)]
    demand: String,
    #[serde(default)]
    headroom: String,
}

impl RankQuery {
    pub(super) fn overrides(&self) -> Result<Overrides, Refusal> {
        let words = [&self.cost, &self.latency, &self.throughput].map(|word| word.trim());
        let goals = if words.iter().all(|word| word.is_empty()) {
            None
        } else {
            let [cost, latency, throughput] = words.map(importance);
            Some(Goals { cost: cost?, latency: latency?, throughput: throughput? })
        };
        Ok(Overrides { goals, demand: self.demand()? })
    }

    fn demand(&self) -> Result<Option<Demand>, Refusal> {
        let text = self.demand.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let hint = "A demand is written like 40000/min or 700/s, and at least one call a month.";
        let rate: Rate =
            text.parse().map_err(|error| Refusal::bad_request(format!("{error}"), hint))?;
        let share = Some(self.headroom.trim()).filter(|share| !share.is_empty()).unwrap_or("70");
        let headroom_pct = share.parse().ok().filter(|share| (1..=100).contains(share));
        let headroom_pct = headroom_pct.ok_or_else(|| {
            Refusal::bad_request(
                format!("{share:?} is no share of a capacity."),
                "It is a whole number of per cent, 1 to 100.",
            )
        })?;
        Ok(Some(Demand { rate, headroom_pct }))
    }

    /// The part of a URL that says the same.
    fn written(&self) -> String {
        let pairs = [
            ("cost", &self.cost),
            ("latency", &self.latency),
            ("throughput", &self.throughput),
            ("demand", &self.demand),
            ("headroom", &self.headroom),
        ];
        written(&pairs, "?", "").unwrap_or_default()
    }
}

/// The pairs of a URL that say something, between these two; nothing says none.
fn written(pairs: &[(&str, &String)], before: &str, after: &str) -> Option<String> {
    let pair = |(name, text): &(&str, &String)| {
        let text =
            percent_encoding::utf8_percent_encode(text.trim(), percent_encoding::NON_ALPHANUMERIC);
        format!("{name}={text}")
    };
    let said = pairs.iter().filter(|(_, text)| !text.trim().is_empty());
    let pairs: Vec<String> = said.map(pair).collect();
    (!pairs.is_empty()).then(|| format!("{before}{}{after}", pairs.join("&")))
}

fn importance(word: &str) -> Result<Importance, Refusal> {
    if word.is_empty() {
        return Ok(Importance::Lowest);
    }
    word.parse().map_err(|error| Refusal::bad_request(format!("{error}"), ""))
}

pub(super) fn job_name(text: &str) -> Result<JobName, Refusal> {
    text.parse().map_err(|error: BadId| Refusal::bad_request(error.to_string(), ""))
}

impl Web {
    async fn summary(&self, name: &JobName) -> Result<JobSummary, Refusal> {
        let job = self.shared.store.job(name).await?;
        job.ok_or_else(|| Refused::NoSuchJob(name.clone()).into())
    }

    async fn report(&self, name: &JobName, overrides: Overrides) -> Result<JobReport, Refusal> {
        let facts = self.shared.store.job_facts(name).await?;
        let facts = facts.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
        Ok(job_report::build(&facts, overrides))
    }

    /// The number of the last entry in a job's record.
    async fn last_event(&self, name: &JobName) -> Result<u64, Refusal> {
        Ok(self.shared.store.last_event(name).await?)
    }
}

pub(super) async fn results(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(query): Query<RankQuery>,
) -> Result<Html<String>, Refusal> {
    let name = job_name(&name)?;
    let overrides = query.overrides()?;
    let job = web.summary(&name).await?;
    // What happens from here on is told by events.
    let sequence = web.last_event(&name).await?;
    let demand = overrides.demand.or(job.spec.demand);
    let report = web.report(&name, overrides).await?;
    let frame = visitor.frame(Some(Section::Jobs));
    html(&Results::new(frame, &report, (&job.spec, demand), (&job.reason, sequence)))
}

pub(super) async fn part(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(query): Query<RankQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = job_name(&name)?;
    let overrides = query.overrides()?;
    let job = web.summary(&name).await?;
    let report = web.report(&name, overrides).await?;
    let demand = overrides.demand.or(job.spec.demand);
    let mut response = html(&Part::new(&report, &job.spec, demand, &job.reason))?.into_response();
    // What follows a running job by itself is no choice of the visitor's.
    if headers.get("hx-trigger").is_some_and(|element| element == "results") {
        return Ok(response);
    }
    // The address shows the same to whoever it is given to.
    let address = format!("{}{}", job_path(&name), query.written());
    if let Ok(address) = HeaderValue::from_str(&address) {
        response.headers_mut().insert("hx-replace-url", address);
    }
    Ok(response)
}

pub(super) async fn details(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Html<String>, Refusal> {
    let name = job_name(&name)?;
    let job = web.summary(&name).await?;
    let report = web.report(&name, Overrides::default()).await?;
    let mut events = web.shared.store.events(&name, 0, MOST_EVENTS + 1).await?;
    let more = events.len() > MOST_EVENTS as usize;
    events.truncate(MOST_EVENTS as usize);
    let events = events.into_iter().map(|event| EventRow {
        sequence: event.sequence,
        at: event.at,
        text: words::of(&event.what),
    });
    let events: Vec<EventRow> = events.collect();
    let frame = visitor.frame(Some(Section::Jobs));
    html(&Details::new(frame, &report, (&job.spec, &job.reason), (events, more)))
}

pub(super) async fn trial(
    State(web): State<Web>,
    visitor: Visitor,
    Path((name, number)): Path<(String, String)>,
) -> Result<Html<String>, Refusal> {
    let name = job_name(&name)?;
    let no_trial = || Refusal::not_found(format!("Job {name} has no trial {number}."));
    let id: TrialId = format!("{name}/{number}").parse().map_err(|_: BadId| no_trial())?;
    let facts = web.shared.store.job_facts(&name).await?;
    let mut facts = facts.ok_or_else(|| Refused::NoSuchJob(name.clone()))?;
    facts.add_histograms(web.shared.store.histograms(&name, Some(&id)).await?);
    let report = job_report::build(&facts, Overrides::default());
    let is_it = |entry: &&Entry| entry.trial.as_ref() == Some(&id);
    let entry = report.entries().find(is_it).ok_or_else(no_trial)?;
    html(&Trial::new(visitor.frame(Some(Section::Jobs)), &report, entry))
}

pub(super) async fn stop(
    State(web): State<Web>,
    Path(name): Path<String>,
) -> Result<Redirect, Refusal> {
    let name = job_name(&name)?;
    let by = "somebody at the web page".to_owned();
    let stop = |answer| Event::StopJob { name: name.clone(), by, answer };
    web.shared.dispatch.ask(stop).await??;
    Ok(Redirect::to(&job_path(&name)))
}

#[derive(Deserialize)]
pub(super) struct CompareQuery {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
    /// Fields that may differ, with commas between.
    #[serde(default)]
    allow: String,
}

pub(super) async fn compare(
    State(web): State<Web>,
    visitor: Visitor,
    Query(CompareQuery { a, b, allow }): Query<CompareQuery>,
) -> Result<Html<String>, Refusal> {
    let frame = visitor.frame(Some(Section::Compare));
    let (a, b) = (a.trim().to_owned(), b.trim().to_owned());
    if a.is_empty() || b.is_empty() {
        return html(&Compare { frame, a, b, outcome: Outcome::Nothing });
    }
    let (mut reports, mut jobs) = (Vec::new(), Vec::new());
    for name in [&a, &b] {
        let name = job_name(name)?;
        let report = web.report(&name, Overrides::default()).await?;
        jobs.push(ComparedJob::of(&report).map_err(|error| Refusal::fault(&error))?);
        reports.push(report);
    }
    let allowed = allow.split(',').filter(|field| FIELDS.contains(field)).map(str::to_owned);
    let allowed: Vec<String> = allowed.collect();
    let outcome = match compare::compare(&jobs[0], &jobs[1], &[], &allowed) {
        Ok(comparison) => {
            Outcome::Compared(Box::new(Compared::new(comparison, &reports[0], &reports[1])))
        }
        Err(unlike) => {
            let allow = match &unlike {
                Unlike::Field(difference) => {
                    let fields = allowed.iter().map(String::as_str).chain([difference.field]);
                    let fields: Vec<&str> = fields.collect();
                    Some(format!("/compare?a={a}&b={b}&allow={}", fields.join(",")))
                }
                Unlike::NothingInCommon => None,
            };
            Outcome::Unlike { text: unlike.to_string(), allow }
        }
    };
    html(&Compare { frame, a, b, outcome })
}
