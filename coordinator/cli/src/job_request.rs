//! From what a user wrote (flags or a job file) to a complete job: files found and hashed, sweep and
//! load read, a name made up. Nothing is sent yet.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use assay_measure::{
    environment::BaseEnvironment,
    ids::{EndpointName, JobName},
    input_spec::InputSpec,
    job::{Demand, JobSpec, JobSubject, ResourceLimits, Sweep},
    load_profile::{LoadProfile, Recording},
    money::PricePerHour,
    schedule::{Load, fixed_load::FixedLoad, recorded},
    search::Mode,
    slo::Slo,
    stray_file::PassedOver,
    trial::ArtifactRef,
    units::parse_duration,
};
use assay_planning::{
    made_up_name,
    price_file::{PriceFileFormat, PriceTable},
    prices::DEFAULT_REGION,
};
use jiff::Timestamp;

use crate::{
    artifact::{self, LocalFile},
    cli::{JobRequest, parse_percent, parse_ready_timeout},
    failure::{Failure, OrFail},
    payload_files,
};

/// How long a fixed load of users is held when it does not say so itself.
const FIXED_LOAD_DURATION: Duration = Duration::from_secs(60);

/// A job ready to be created, and the files it needs.
#[derive(Debug)]
pub(crate) struct PreparedJob {
    pub(crate) spec: JobSpec,
    /// None when only an endpoint is measured.
    pub(crate) model: Option<LocalFile>,
    pub(crate) payload: LocalFile,
    /// The file of recorded arrivals, if the load is one.
    pub(crate) recording: Option<LocalFile>,
    /// The files of the payload that are not sent.
    pub(crate) passed_over: PassedOver,
}

impl JobRequest {
    /// Opens and checks every file, and settles what was left open. Made-up files go to `scratch`.
    pub(crate) fn prepare(self, scratch: &Path) -> Result<PreparedJob, Failure> {
        if self.demand.is_some_and(|demand| demand.as_per_second() <= 0.0) {
            return Err(Failure::usage("a demand of nothing needs no instance")
                .hint("say what must be carried, such as --demand 40000/min"));
        }
        let model = self.model.as_deref().map(artifact::hash).transpose();
        let model = model.map_err(|failure| failure.hint(MODEL_HINT))?;
        let subject = subject(model.as_ref(), self.endpoint.as_ref())?;
        let payload = payload_files::prepare(&self, scratch)?;
        let mut sweep = Sweep::default();
        for text in &self.sweep {
            sweep.add(text).or_usage(format_args!("--sweep {text}"))?;
        }
        let price_overrides = self.price_overrides()?;
        let (load, recording) = match self.load.as_deref().map(read_load).transpose()? {
            Some((load, recording)) => (Some(load), recording),
            None => (None, None),
        };
        let name = match self.name {
            Some(name) => name,
            None => {
                let file = self.model.as_deref().and_then(Path::file_name);
                let file = file.map(|name| name.to_string_lossy().into_owned());
                let endpoint = self.endpoint.as_ref().map(ToString::to_string);
                made_up_name::of(&file.or(endpoint).unwrap_or_default(), Timestamp::now())
            }
        };
        let spec = JobSpec {
            name,
            subject,
            payload: payload.description,
            inputs: self.inputs,
            environment: BaseEnvironment::default(),
            instance_types: self.instance_types,
            emulate: self.emulate,
            sweep,
            constraints: self.slos,
            goals: self.goal,
            mode: if self.quick { Mode::Quick } else { Mode::Full },
            seed: self.seed,
            soak: self.soak,
            load,
            limits: ResourceLimits::default(),
            region: self.region,
            demand: self.demand.map(|rate| Demand { rate, headroom_pct: self.headroom }),
            max_duration: self.max_duration,
            ready_timeout: self.ready_timeout,
            price_overrides,
        };
        Ok(PreparedJob {
            spec,
            model,
            payload: payload.file,
            recording,
            passed_over: payload.passed_over,
        })
    }

    /// The user's own prices: of `--prices` first, of `--price-per-hour` for candidates without one.
    fn price_overrides(
        &self,
    ) -> Result<Vec<(assay_measure::ids::InstanceTypeName, PricePerHour)>, Failure> {
        let mut prices = Vec::new();
        if let Some(path) = &self.prices {
            let table = read_prices(path)?;
            let of_region = table.rows().iter().filter(|row| row.region == self.region);
            prices.extend(of_region.map(|row| (row.instance_type.clone(), row.usd_per_hour)));
        }
        if let Some(price) = self.price_per_hour {
            let own = self.instance_types.iter().filter(|candidate| candidate.price.is_none());
            let mut names: Vec<_> = own.map(|candidate| candidate.name.clone()).collect();
            if names.is_empty() && self.instance_types.is_empty() {
                names.extend("local".parse());
            }
            names.retain(|name| !prices.iter().any(|(priced, _)| priced == name));
            prices.extend(names.into_iter().map(|name| (name, price)));
        }
        Ok(prices)
    }
}

fn subject(
    model: Option<&LocalFile>,
    endpoint: Option<&EndpointName>,
) -> Result<JobSubject, Failure> {
    match (model.map(LocalFile::reference), endpoint.cloned()) {
        (Some(model), Some(endpoint)) => Ok(JobSubject::ModelAndEndpoint { model, endpoint }),
        (Some(model), None) => Ok(JobSubject::Model { model }),
        (None, Some(endpoint)) => Ok(JobSubject::Endpoint { endpoint }),
        (None, None) => Err(Failure::usage("there is nothing to measure")
            .hint("give a model, an endpoint that an agent offers, or both")),
    }
}

const MODEL_HINT: &str = "give a TorchScript file, such as torch.jit.trace(model, example).save(\"model.pt\"); \
                          `assay-host reference resnet18 --out resnet18.pt` writes one to try";

pub(crate) fn read_prices(path: &Path) -> Result<PriceTable, Failure> {
    let text = std::fs::read_to_string(path)
        .or_usage(format_args!("cannot read the price file {}", path.display()))?;
    let format = PriceFileFormat::of_file_name(&path.display().to_string());
    PriceTable::parse(&text, format).map_err(|error| {
        Failure::usage(format!("the price file {} is wrong", path.display()))
            .because(&error)
            .hint("CSV needs the columns instance_type,region,usd_per_hour,source,as_of")
    })
}

/// Reads `users:…`, `phases:…`, `stairs:…` or `trace:FILE`, with the file of the last.
fn read_load(text: &str) -> Result<(LoadProfile, Option<LocalFile>), Failure> {
    if let Some(path) = text.strip_prefix("trace:") {
        let (recording, file) = read_trace(Path::new(path))?;
        return Ok((LoadProfile::Recorded(recording), Some(file)));
    }
    let load: FixedLoad = text.parse().or_usage(format_args!("--load {text}"))?;
    Ok((LoadProfile::Phases(load.phases(FIXED_LOAD_DURATION)), None))
}

/// Recorded arrivals, from a file: read once to see that they can be replayed.
fn read_trace(path: &Path) -> Result<(Recording, LocalFile), Failure> {
    let wrong = || Failure::usage(format!("cannot replay the trace {}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong().because(&error))?;
    let phase = recorded::parse(&text).map_err(|error| wrong().because(&error))?;
    let file = artifact::hash(path)?;
    let Load::Replay { at_us } = &phase.load else { return Err(wrong()) };
    let recording = Recording {
        artifact: file.reference(),
        arrivals: at_us.len() as u64,
        duration: phase.duration,
    };
    Ok((recording, file))
}

/// A job file: its keys are the long flags of `assay recommend`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct JobFile {
    model: Option<PathBuf>,
    endpoint: Option<EndpointName>,
    #[serde(default)]
    input: Vec<InputSpec>,
    payload: Option<PathBuf>,
    content_type: Option<String>,
    #[serde(default)]
    instance_types: Vec<String>,
    #[serde(default)]
    sweep: Vec<String>,
    #[serde(default)]
    slo: Vec<Slo>,
    goal: Option<String>,
    #[serde(default)]
    quick: bool,
    seed: Option<u64>,
    soak: Option<String>,
    load: Option<String>,
    region: Option<String>,
    demand: Option<String>,
    headroom: Option<toml::Value>,
    max_duration: Option<String>,
    ready_timeout: Option<String>,
    prices: Option<PathBuf>,
    price_per_hour: Option<toml::Value>,
    name: Option<JobName>,
    emulate: Option<bool>,
}

/// Reads a job file; paths in it are relative to its folder.
pub(crate) fn read_job_file(path: &Path) -> Result<JobRequest, Failure> {
    let wrong = || Failure::usage(format!("the job file {} is not valid", path.display()));
    let text = std::fs::read_to_string(path)
        .or_usage(format_args!("cannot read the job file {}", path.display()))?;
    let file: JobFile = toml::from_str(&text).map_err(|error| {
        wrong()
            .cause(error.to_string().trim_end())
            .hint(
                "its keys are the long flags of `assay recommend`; those that may be repeated are lists, \
                 such as slo = [\"p95<=50ms\"]",
            )
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let beside = |path: PathBuf| folder.join(path);
    let duration = |text: String| parse_duration(&text).map_err(|error| wrong().because(&error));
    Ok(JobRequest {
        model: file.model.map(beside),
        endpoint: file.endpoint,
        inputs: file.input,
        op_libraries: Vec::new(),
        payload: file.payload.map(beside),
        content_type: file.content_type,
        instance_types: file
            .instance_types
            .iter()
            .map(|text| text.parse().map_err(|error| wrong().because(&error)))
            .collect::<Result<_, _>>()?,
        sweep: file.sweep,
        slos: file.slo,
        goal: parsed(file.goal, wrong)?,
        quick: file.quick,
        seed: file.seed.unwrap_or(1),
        soak: file.soak.map(duration).transpose()?,
        load: file.load.map(|load| match load.strip_prefix("trace:") {
            Some(trace) => format!("trace:{}", folder.join(trace).display()),
            None => load,
        }),
        region: file.region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        demand: parsed(file.demand, wrong)?,
        headroom: file
            .headroom
            .map(|value| parse_percent(&in_words(value)).map_err(|error| wrong().cause(error)))
            .transpose()?
            .unwrap_or(70),
        max_duration: file
            .max_duration
            .map(duration)
            .transpose()?
            .unwrap_or(Duration::from_secs(30 * 60)),
        ready_timeout: file
            .ready_timeout
            .map(|text| parse_ready_timeout(&text).map_err(|error| wrong().cause(error)))
            .transpose()?,
        prices: file.prices.map(beside),
        price_per_hour: parsed(file.price_per_hour.map(in_words), wrong)?,
        name: file.name,
        emulate: file.emulate.unwrap_or(true),
    })
}

/// A figure may stand without quotes.
fn in_words(value: toml::Value) -> String {
    let written = value.to_string();
    if let toml::Value::String(text) = value { text } else { written }
}

fn parsed<T>(text: Option<String>, wrong: impl Fn() -> Failure) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + 'static,
{
    text.map(|text| text.parse().map_err(|error: T::Err| wrong().because(&error))).transpose()
}

/// The reference under which a file travels.
impl LocalFile {
    pub(crate) fn reference(&self) -> ArtifactRef {
        ArtifactRef { name: self.name.clone(), sha256: self.sha256.clone(), size_bytes: self.size }
    }
}

#[cfg(test)]
mod tests;
