//! From the fields and files of a form to the job that they ask for.

use std::{fmt::Display, str::FromStr};

use assay_measure::{
    environment::BaseEnvironment,
    input_spec::InputSpec,
    job::{CandidateType, Demand, Goals, Importance, JobSpec, JobSubject, ResourceLimits, Sweep},
    payload_file,
    slo::Slo,
    trial::{ArtifactRef, Payload},
    units::{Rate, parse_duration},
};
use assay_planning::{made_up_name, prices::DEFAULT_REGION};

use super::{NO_LIMIT_OF_ITS_OWN, Sent, Unfit, Web, Wrong, unstored};
use crate::sample_payload;

/// Payloads that are made up are the same for everybody: results can be compared.
const SEED: u64 = 1;

impl Web {
    /// The job that a form asks for.
    pub(super) async fn spec(&self, sent: &Sent) -> Result<JobSpec, Unfit> {
        let fields = &sent.fields;
        let model = self.model(sent).await?;
        let inputs: Vec<InputSpec> =
            lines(&fields.inputs, "An input is written like float32[1,3,224,224].")?;
        let payload = match &sent.payload {
            Some(artifact) => sent_payload(artifact.clone(), &fields.content_type)?,
            None => self.made_up_payload(&inputs).await?,
        };
        let now = self.shared.clock.now();
        let name = match fields.name.trim() {
            "" => made_up_name::of(&model.name, now),
            name => parsed(name, "Letters, digits and hyphens make a name.")?,
        };
        let mut instance_types: Vec<CandidateType> = Vec::new();
        let more = fields.more_types.split(',').map(str::trim).filter(|name| !name.is_empty());
        for name in fields.types.iter().map(String::as_str).chain(more) {
            instance_types
                .push(parsed(name, "A type is written like ml.c5.large or own=2x4GiB@0.10.")?);
        }
        Ok(JobSpec {
            name,
            subject: JobSubject::Model { model },
            payload,
            inputs,
            environment: BaseEnvironment::default(),
            instance_types,
            emulate: true,
            sweep: Sweep::default(),
            constraints: lines::<Slo>(
                &fields.constraints,
                "A constraint is written like p95<=50ms.",
            )?,
            goals: goals(&fields.goals)?,
            mode: parsed(fields.mode.trim(), "It is quick or full.")?,
            seed: SEED,
            soak: None,
            load: None,
            limits: ResourceLimits::default(),
            region: DEFAULT_REGION.to_owned(),
            demand: demand(&fields.demand, &fields.headroom)?,
            max_duration: parse_duration(fields.max_duration.trim())
                .map_err(|error| Unfit::Wrong(Wrong::new(error, "It is written like 30m.")))?,
            ready_timeout: None,
            price_overrides: Vec::new(),
        })
    }

    async fn model(&self, sent: &Sent) -> Result<ArtifactRef, Unfit> {
        let hint = "Choose a TorchScript file, or a model that is here already.";
        let known = sent.fields.known_model.trim();
        match (&sent.model, known) {
            (Some(model), _) => Ok(model.clone()),
            (None, "") => Err(Unfit::Wrong(Wrong::new("There is no model to measure.", hint))),
            (None, known) => {
                let gone =
                    || Unfit::Wrong(Wrong::new("The chosen model is not here any more.", hint));
                let found = self.artifact(known).await?.ok_or_else(gone)?;
                // It must still be there when the job comes.
                self.shared.artifacts.promise(&found.sha256, self.shared.clock.now()).await;
                Ok(found)
            }
        }
    }

    async fn made_up_payload(&self, inputs: &[InputSpec]) -> Result<Payload, Unfit> {
        if inputs.is_empty() {
            return Err(Unfit::Wrong(Wrong::new(
                "Nothing says what the model takes.",
                "Declare its inputs, or send a payload; `assay-host inspect MODEL.pt` shows what forward() takes.",
            )));
        }
        let sample = sample_payload::for_inputs(inputs, SEED)
            .map_err(|error| Unfit::Wrong(Wrong::new(format!("The inputs make {error}."), "")))?;
        let mut reception =
            self.shared.artifacts.receive(sample.file_name.to_owned(), NO_LIMIT_OF_ITS_OWN);
        reception.take(sample.body.into()).await;
        let artifact = self.keep(reception.finish().await.map_err(unstored)?).await?;
        Ok(Payload { artifact, is_archive: false, content_type: sample.content_type.to_owned() })
    }
}

fn sent_payload(artifact: ArtifactRef, content_type: &str) -> Result<Payload, Unfit> {
    let name = artifact.name.to_ascii_lowercase();
    let is_archive = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    let by_name = if is_archive { None } else { payload_file::content_type(&artifact.name) };
    let content_type = match content_type.trim() {
        "" => by_name.map(str::to_owned).ok_or_else(|| {
            let what =
                format!("The content type of {:?} cannot be told from its name.", artifact.name);
            Unfit::Wrong(Wrong::new(what, "Say it, such as application/x-npy."))
        })?,
        given => given.to_owned(),
    };
    Ok(Payload { artifact, is_archive, content_type })
}

fn parsed<T: FromStr<Err: Display>>(text: &str, hint: &'static str) -> Result<T, Unfit> {
    text.parse().map_err(|error| Unfit::Wrong(Wrong::new(error, hint)))
}

/// One thing in each line that is not empty.
fn lines<T: FromStr<Err: Display>>(text: &str, hint: &'static str) -> Result<Vec<T>, Unfit> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| parsed(line, hint)).collect()
}

/// Goals that are not chosen count lowest, unless none is chosen.
fn goals(chosen: &[String; 3]) -> Result<Option<Goals>, Unfit> {
    if chosen.iter().all(|word| word.trim().is_empty()) {
        return Ok(None);
    }
    let of = |word: &String| match word.trim() {
        "" => Ok(Importance::Lowest),
        word => parsed(word, ""),
    };
    let [cost, latency, throughput] = chosen;
    Ok(Some(Goals { cost: of(cost)?, latency: of(latency)?, throughput: of(throughput)? }))
}

fn demand(text: &str, headroom: &str) -> Result<Option<Demand>, Unfit> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let rate: Rate = parsed(text.trim(), "A demand is written like 40000/min or 700/s.")?;
    if rate.as_per_second() <= 0.0 {
        return Err(Unfit::Wrong(Wrong::new(
            "A demand of nothing needs no instance.",
            "Say what must be carried, or leave it out.",
        )));
    }
    let share = headroom.trim().parse().ok().filter(|share| (1..=100).contains(share));
    let headroom_pct = share.ok_or_else(|| {
        let what = format!("{headroom:?} is no share of a capacity.");
        Unfit::Wrong(Wrong::new(what, "It is a whole number of per cent, 1 to 100."))
    })?;
    Ok(Some(Demand { rate, headroom_pct }))
}
