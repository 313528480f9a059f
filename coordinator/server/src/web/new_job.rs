//! A job by form. Its files go to disk as they arrive; fields come before them, so that what was typed is known when a
//! file is refused, and is there again in the form that says so.

mod spec;

use std::{collections::BTreeMap, time::Duration};

use assay_measure::{ids::JobName, job::JobSpec, trial::ArtifactRef, units::Bytes};
use assay_pages::{
    frame::Section,
    new_job::{Fields, KnownModel, NewJob, OfferedType, Preview},
    results::job_path,
};
use assay_planning::prices::DEFAULT_REGION;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use multer::Field;
use tokio::time::timeout;
use tonic::Status;

use super::{
    Web, fleet::is_old, forms::UploadForm, html, is_part, refusal::Refusal, visitors::Visitor,
};
use crate::{
    artifacts::{ArtifactError, Received},
    dispatch::{Event, Stopping},
    job_event::TrialBrief,
    store::{Change, StoreError},
};

const LARGEST_FIELD: usize = 8 << 10;
const MOST_FIELDS: usize = 200;
const MOST_KNOWN_MODELS: u32 = 50;
/// The coordinator has one for every file.
const NO_LIMIT_OF_ITS_OWN: Bytes = Bytes::new(u64::MAX);
/// Between two pieces of a file.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn form(
    State(web): State<Web>,
    visitor: Visitor,
) -> Result<Html<String>, Refusal> {
    html(&web.new_job(&visitor, Fields::default(), Wrong::default()).await?)
}

/// What is wrong with a form, and what can be done about it.
#[derive(Debug, Default)]
struct Wrong {
    what: String,
    hint: String,
}

impl Wrong {
    fn new(what: impl std::fmt::Display, hint: &'static str) -> Self {
        Self { what: what.to_string(), hint: hint.to_owned() }
    }
}

/// What became of a form.
enum Done {
    Created(JobName),
    Planned(Preview),
}

/// A form cannot be carried out.
enum Unfit {
    /// Whoever filled it in can mend it.
    Wrong(Wrong),
    Refused(Refusal),
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// What came with the form.
#[derive(Default)]
struct Sent {
    fields: Fields,
    /// Nothing is to be started.
    wants_plan: bool,
    model: Option<ArtifactRef>,
    payload: Option<ArtifactRef>,
}

pub(super) async fn create(
    State(web): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    upload: UploadForm,
) -> Result<Response, Refusal> {
    let mut sent = Sent::default();
    let (wrong, preview) = match web.done(upload, &mut sent).await {
        Ok(Done::Created(name)) => return Ok(to_job(&headers, &name)),
        Ok(Done::Planned(preview)) => (Wrong::default(), Some(preview)),
        Err(Unfit::Refused(refusal)) => return Err(refusal),
        Err(Unfit::Wrong(wrong)) => (wrong, None),
    };
    // A model that has arrived need not be sent again.
    if let Some(model) = &sent.model {
        sent.fields.known_model = model.sha256.to_string();
    }
    // What htmx is to show must not look like a failure to it.
    let is_fine = preview.is_some() || is_part(&headers);
    let status = if is_fine { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = web.new_job(&visitor, sent.fields, wrong).await?;
    let page = NewJob { preview, ..page };
    Ok((status, html(&page)?).into_response())
}

fn to_job(headers: &HeaderMap, name: &JobName) -> Response {
    let path = job_path(name);
    if !is_part(headers) {
        return Redirect::to(&path).into_response();
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(path) = HeaderValue::from_str(&path) {
        response.headers_mut().insert("hx-redirect", path);
    }
    response
}

async fn read(web: &Web, mut upload: UploadForm, sent: &mut Sent) -> Result<(), Unfit> {
    let broken = |error: multer::Error| {
        Unfit::Wrong(Wrong::new(format!("The form broke off: {error}."), "Send it once more."))
    };
    let late =
        |_| Unfit::Wrong(Wrong::new("The form did not arrive in time.", "Send it once more."));
    for _ in 0..MOST_FIELDS {
        let field = timeout(PATIENCE, upload.next()).await.map_err(late)?;
        let Some(field) = field.map_err(broken)? else { return Ok(()) };
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "plan" => sent.wants_plan = true,
            "model_file" => sent.model = receive(web, field).await?.or(sent.model.take()),
            "payload_file" => sent.payload = receive(web, field).await?.or(sent.payload.take()),
            _ => {
                let text = timeout(PATIENCE, text_of(field)).await.map_err(late)??;
                set(&mut sent.fields, &name, text);
            }
        }
    }
    Err(Refusal::bad_request("The form has too many fields.", "").into())
}

async fn text_of(mut field: Field<'static>) -> Result<String, Unfit> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|error| {
        Unfit::Wrong(Wrong::new(format!("The form broke off: {error}."), "Send it once more."))
    })? {
        text.extend_from_slice(&piece);
        if text.len() > LARGEST_FIELD {
            return Err(Refusal::bad_request("A field of the form is too long.", "").into());
        }
    }
    String::from_utf8(text)
        .map_err(|_| Refusal::bad_request("A field of the form is no text.", "").into())
}

fn set(fields: &mut Fields, name: &str, text: String) {
    match name {
        "name" => fields.name = text,
        "known_model" => fields.known_model = text,
        "inputs" => fields.inputs = text,
        "content_type" => fields.content_type = text,
        "type" => fields.types.push(text),
        "more_types" => fields.more_types = text,
        "constraints" => fields.constraints = text,
        "mode" => fields.mode = text,
        "cost" => fields.goals[0] = text,
        "latency" => fields.goals[1] = text,
        "throughput" => fields.goals[2] = text,
        "demand" => fields.demand = text,
        "headroom" => fields.headroom = text,
        "max_duration" => fields.max_duration = text,
        _ => {}
    }
}

/// Stores a file as it arrives. A browser sends an empty one where none was chosen.
async fn receive(web: &Web, mut field: Field<'static>) -> Result<Option<ArtifactRef>, Unfit> {
    let file_name = field.file_name().unwrap_or_default().to_owned();
    let name = if file_name.is_empty() { "file".to_owned() } else { file_name.clone() };
    let mut reception = web.shared.artifacts.receive(name, NO_LIMIT_OF_ITS_OWN);
    let mut is_empty = true;
    loop {
        let piece = timeout(PATIENCE, field.chunk()).await;
        let piece = piece
            .map_err(|_| format!("{file_name:?} did not arrive: nothing came for 30 s."))
            .and_then(|piece| piece.map_err(|error| format!("{file_name:?} broke off: {error}.")));
        let piece = piece.map_err(|what| Unfit::Wrong(Wrong::new(what, "Send it once more.")))?;
        let Some(piece) = piece else { break };
        is_empty &= piece.is_empty();
        if !reception.take(piece).await {
            break;
        }
    }
    let received = reception.finish().await.map_err(unstored)?;
    if is_empty {
        if file_name.is_empty() {
            return Ok(None);
        }
        return Err(Unfit::Wrong(Wrong::new(format!("{file_name:?} is empty."), "")));
    }
    Ok(Some(web.keep(received).await?))
}

fn unfit(status: Status) -> Unfit {
    let refusal = Refusal::from(status);
    if !refusal.status.is_client_error() {
        return Unfit::Refused(refusal);
    }
    let Refusal { what, hint, .. } = refusal;
    Unfit::Wrong(Wrong { what, hint })
}

fn unstored(error: ArtifactError) -> Unfit {
    match error {
        ArtifactError::TooLarge { .. } | ArtifactError::LargerThan { .. } => {
            Unfit::Wrong(Wrong::new(format!("{error}."), "`assay serve` has the limit."))
        }
        ArtifactError::WrongSize { .. }
        | ArtifactError::WrongChecksum { .. }
        | ArtifactError::Io(_)
        | ArtifactError::Writer(_) => Unfit::Refused(Refusal::fault(&error)),
    }
}

impl Web {
    /// Reads the form to its end, and makes the job, or its plan.
    async fn done(&self, upload: UploadForm, sent: &mut Sent) -> Result<Done, Unfit> {
        tokio::select! {
            read = read(self, upload, sent) => read?,
            () = self.shared.stopping.cancelled() => return Err(Unfit::Refused(Stopping.into())),
        }
        let spec = self.spec(sent).await?;
        if sent.wants_plan {
            return self.preview(spec).await.map(Done::Planned);
        }
        let name = spec.name.clone();
        self.shared.create(spec).await.map_err(unfit)?;
        Ok(Done::Created(name))
    }

    async fn preview(&self, spec: JobSpec) -> Result<Preview, Unfit> {
        drop(self.shared.check(&spec).await.map_err(unfit)?);
        let spec = Box::new(spec);
        let plan = |answer| Event::PlanJob { spec: spec.clone(), answer };
        let planned = self.shared.dispatch.ask(plan).await.map_err(Refusal::from)?;
        let planned = planned.map_err(|refused| {
            Unfit::Wrong(Wrong { what: refused.to_string(), hint: refused.hint() })
        })?;
        let prices = self.shared.dispatch.prices();
        let cost = |trial: &TrialBrief| {
            let quote = prices.quote(trial.instance_types.first()?, DEFAULT_REGION)?;
            let hours = trial.expected.as_secs_f64() / 3600.0;
            (!trial.emulated).then(|| quote.usd_per_hour.as_usd() * hours)
        };
        let costs: Option<Vec<f64>> = planned.trials.iter().map(cost).collect();
        let named = |trial: &TrialBrief| {
            let types: Vec<&str> = trial.instance_types.iter().map(|name| name.as_str()).collect();
            format!("{}, {}", types.join(", "), trial.serving)
        };
        Ok(Preview {
            trials: planned.trials.iter().map(named).collect(),
            expected: planned.expected,
            usd: costs.map(|costs| costs.iter().sum()),
            warnings: planned.warnings,
            spec,
        })
    }

    async fn new_job(
        &self,
        visitor: &Visitor,
        fields: Fields,
        wrong: Wrong,
    ) -> Result<NewJob, Refusal> {
        // No job may refer yet to the one that is chosen.
        let mut models: Vec<ArtifactRef> =
            self.artifact(&fields.known_model).await?.into_iter().collect();
        for model in self.shared.store.known_models(MOST_KNOWN_MODELS).await? {
            let is_new = models.iter().all(|other| other.sha256 != model.sha256);
            if is_new && self.shared.artifacts.holds(&model) {
                models.push(model);
            }
        }
        let known = models.into_iter().map(|model| KnownModel {
            sha256: model.sha256,
            name: model.name,
            size: model.size_bytes,
        });
        Ok(NewJob {
            frame: visitor.frame(Some(Section::Jobs)),
            fields,
            known: known.collect(),
            types: self.offered_types().await?,
            error: wrong.what,
            hint: wrong.hint,
            preview: None,
        })
    }

    /// The file of this checksum, if it is there.
    async fn artifact(&self, sha256: &str) -> Result<Option<ArtifactRef>, Refusal> {
        let Ok(sha256) = sha256.trim().parse() else { return Ok(None) };
        let found = self.shared.store.artifact(&sha256).await?;
        Ok(found.filter(|found| self.shared.artifacts.holds(found)))
    }

    /// What connected agents are, with prices.
    async fn offered_types(&self) -> Result<Vec<OfferedType>, Refusal> {
        let agents = self.shared.dispatch.ask(|answer| Event::ListAgents { answer }).await?;
        let mut by_type: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for agent in agents.into_iter().filter(|agent| agent.connected && !agent.draining) {
            let names = by_type.entry(agent.facts.instance_type).or_default();
            names.push(agent.facts.name.to_string());
        }
        let (prices, now) = (self.shared.dispatch.prices(), self.shared.clock.now());
        let offered = by_type.into_iter().map(|(name, agents)| {
            let quote = prices.quote(&name, DEFAULT_REGION);
            OfferedType {
                name: name.to_string(),
                agents: agents.join(", "),
                is_old: quote.as_ref().is_some_and(|quote| is_old(quote, now)),
                price: quote.map(|quote| (quote.usd_per_hour.as_usd(), quote.as_of)),
            }
        });
        Ok(offered.collect())
    }

    /// Keeps a file for a job that is still to come.
    async fn keep(&self, received: Received) -> Result<ArtifactRef, Unfit> {
        let (artifacts, now) = (&self.shared.artifacts, self.shared.clock.now());
        let artifact = received.artifact().clone();
        // Promised first: it must still be there when the job comes.
        artifacts.promise(&artifact.sha256, now).await;
        if !artifacts.holds(&artifact) {
            received.keep().await.map_err(unstored)?;
        }
        let stored = Change::ArtifactStored { artifact: artifact.clone(), at: now };
        self.shared.store.commit(vec![stored]).await?;
        Ok(artifact)
    }
}
