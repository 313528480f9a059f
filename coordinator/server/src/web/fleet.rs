//! Pages about agents and prices.

use assay_measure::ids::InstanceTypeName;
use assay_pages::{
    agents::{Agent, AgentRow, Agents},
    frame::Section,
    prices::{PriceRow, Prices},
    results::trial_path,
};
use assay_planning::prices::{DEFAULT_REGION, PriceQuote};
use axum::{extract::State, response::Html};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde::Deserialize;

use super::{
    Web,
    asked::{Path, Query},
    html,
    refusal::Refusal,
    visitors::Visitor,
};
use crate::dispatch::{AgentStatus, Event};

pub(super) async fn agents(
    State(web): State<Web>,
    visitor: Visitor,
) -> Result<Html<String>, Refusal> {
    let agents = web.shared.dispatch.ask(|answer| Event::ListAgents { answer }).await?;
    html(&Agents {
        frame: visitor.frame(Some(Section::Agents)),
        rows: agents.into_iter().map(row).collect(),
        reached_by: web.reached_by(),
    })
}

pub(super) async fn agent(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Html<String>, Refusal> {
    let agents = web.shared.dispatch.ask(|answer| Event::ListAgents { answer }).await?;
    let found = agents.into_iter().find(|agent| agent.facts.name.as_str() == name);
    let found = found.ok_or_else(|| Refusal::not_found(format!("There is no agent {name}.")))?;
    let facts = found.facts.clone();
    html(&Agent {
        frame: visitor.frame(Some(Section::Agents)),
        row: row(found),
        quote: web.shared.dispatch.prices().quote(&facts.instance_type, DEFAULT_REGION),
        type_source: facts.instance_type_source,
        labels: facts.labels.into_iter().collect(),
        endpoints: facts.endpoints.iter().map(ToString::to_string).collect(),
    })
}

fn row(agent: AgentStatus) -> AgentRow {
    let AgentStatus { facts, connected, draining, running, last_seen_at } = agent;
    AgentRow {
        name: facts.name.to_string(),
        connected,
        draining,
        instance_type: facts.instance_type.to_string(),
        emulates: facts.emulates,
        host: facts.host,
        running: running.map(|trial| (trial_path(&trial), trial.to_string())),
        last_seen_at,
        version: facts.version,
    }
}

#[derive(Deserialize)]
pub(super) struct PriceQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    region: String,
}

pub(super) async fn prices(
    State(web): State<Web>,
    visitor: Visitor,
    Query(PriceQuery { q, region }): Query<PriceQuery>,
) -> Result<Html<String>, Refusal> {
    let region = Some(region.trim()).filter(|region| !region.is_empty()).unwrap_or(DEFAULT_REGION);
    let prices = web.shared.dispatch.prices();
    let now = web.shared.clock.now();
    let row = |name: &InstanceTypeName| {
        let quote = prices.quote(name, region);
        PriceRow {
            instance_type: name.to_string(),
            own: prices.operator_table().find(name, region).is_some(),
            is_old: quote.as_ref().is_some_and(|quote| is_old(quote, now)),
            quote,
        }
    };
    let listed = prices.instance_types().filter(|name| name.as_str().contains(q.trim())).map(row);
    html(&Prices {
        frame: visitor.frame(Some(Section::Prices)),
        rows: listed.collect(),
        region: region.to_owned(),
        name_contains: q,
    })
}

/// True over a year ago, as far as it says when.
pub(super) fn is_old(quote: &PriceQuote, now: Timestamp) -> bool {
    let today = now.to_zoned(TimeZone::UTC).date();
    let as_of: Option<Date> = quote.as_of.parse().ok();
    let until = as_of.and_then(|date| date.checked_add(1.year()).ok());
    until.is_some_and(|until| until < today)
}
