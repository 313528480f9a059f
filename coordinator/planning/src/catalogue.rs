//! Every SageMaker hosting instance type: processors, memory, accelerators, and the EC2 price where one is known.
//!
//! The facts come from `data/instance-types.csv`, each with its source. Where the source has a gap the
//! figure is absent, never guessed. Hosting prices are kept apart, in [`crate::prices`].

use std::{str::FromStr, sync::LazyLock};

use assay_measure::{
    hardware::Shape,
    ids::{BadId, InstanceTypeName},
    money::{NotAPrice, PricePerHour},
    units::{Bytes, UnitError},
};
use indexmap::IndexMap;
use serde::Deserialize;
use thiserror::Error;

static BUILTIN: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::parse(include_str!("../data/instance-types.csv"))
        .expect("the built-in catalogue is checked by tests")
});

/// How similar a known name must be to be suggested for an unknown one.
const SIMILAR_ENOUGH: f64 = 0.85;

#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    /// Its name, such as `ml.c5.large`.
    pub name: InstanceTypeName,
    /// The EC2 instance type behind it.
    pub ec2_type: String,
    /// Processors and memory, where the source gives both.
    pub shape: Option<Shape>,
    /// GPUs or other accelerators; absent when there are none, or when the source does not say.
    pub accelerators: Option<Accelerators>,
    /// The on-demand price of `ec2_type` in us-east-1.
    pub ec2_us_east_1: Option<PricePerHour>,
    /// Where that price comes from; empty without one.
    pub ec2_price_source: String,
}

/// The accelerators of an instance type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerators {
    /// Vendor and model, such as `NVIDIA T4`.
    pub model: String,
    pub count: u32,
    pub memory_bytes: Bytes,
}

impl Accelerators {
    /// Whether these run CUDA; Inferentia and Trainium do not.
    #[must_use]
    pub fn are_cuda_gpus(&self) -> bool {
        self.model.starts_with("NVIDIA ")
    }
}

/// The instruction set of an instance type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86,
    Arm,
}

impl Architecture {
    /// The word that the kernel uses (`uname -m`).
    #[must_use]
    pub const fn machine(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }
}

/// No instance type has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown instance type {name:?}")]
pub struct UnknownInstanceType {
    pub name: String,
    /// The known name that comes closest.
    pub suggestion: Option<InstanceTypeName>,
}

impl UnknownInstanceType {
    /// One thing to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.suggestion {
            Some(known) => format!("did you mean {known}?"),
            None => format!(
                "describe an own instance type by its shape, like {}=2x4GiB@0.10",
                self.name
            ),
        }
    }
}

/// A line of a catalogue is not an instance type.
#[derive(Debug, Error)]
pub enum CatalogueError {
    #[error(transparent)]
    Csv(#[from] csv::Error),
    #[error(transparent)]
    Name(#[from] BadId),
    #[error(transparent)]
    Memory(#[from] UnitError),
    #[error(transparent)]
    Price(#[from] NotAPrice),
}

/// Instance types by name, in the order of their source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    types: IndexMap<InstanceTypeName, InstanceType>,
}

#[derive(Deserialize)]
struct Line {
    instance_type: String,
    ec2_type: String,
    vcpu: Option<u32>,
    memory_gib: Option<String>,
    accelerator_model: Option<String>,
    accelerator_count: Option<u32>,
    accelerator_memory_gib: Option<String>,
    ec2_usd_per_hour_us_east_1: Option<String>,
    ec2_price_source: Option<String>,
}

impl Catalogue {
    /// The built-in catalogue, parsed once.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// Reads a catalogue from CSV.
    ///
    /// # Errors
    /// [`CatalogueError`] for the first line that is not an instance type.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut types = IndexMap::new();
        for line in csv::Reader::from_reader(text.as_bytes()).deserialize::<Line>() {
            let known = InstanceType::try_from(line?)?;
            types.insert(known.name.clone(), known);
        }
        Ok(Self { types })
    }

    #[must_use]
    pub fn get(&self, name: &InstanceTypeName) -> Option<&InstanceType> {
        self.types.get(name)
    }

    /// The instance type of this name, or which one was probably meant.
    ///
    /// # Errors
    /// [`UnknownInstanceType`] with the closest known name.
    pub fn require(&self, name: &str) -> Result<&InstanceType, UnknownInstanceType> {
        let known = InstanceTypeName::new(name).ok().and_then(|name| self.types.get(&name));
        known.ok_or_else(|| UnknownInstanceType {
            name: name.to_owned(),
            suggestion: self.suggest(name).cloned(),
        })
    }

    /// The known name closest to a text, if any is close.
    #[must_use]
    pub fn suggest(&self, text: &str) -> Option<&InstanceTypeName> {
        let text = text.to_lowercase();
        let similarity = |name: &InstanceTypeName| {
            let full = strsim::normalized_damerau_levenshtein(&text, name.as_str());
            let bare = strsim::normalized_damerau_levenshtein(
                &text,
                name.as_str().trim_start_matches("ml."),
            );
            full.max(bare)
        };
        self.types
            .keys()
            .map(|name| (similarity(name), name))
            .filter(|(score, _)| *score >= SIMILAR_ENOUGH)
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(_, name)| name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &InstanceType> {
        self.types.values()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
}

impl TryFrom<Line> for InstanceType {
    type Error = CatalogueError;
    fn try_from(line: Line) -> Result<Self, CatalogueError> {
        let gib = |text: String| Bytes::from_str(&format!("{text}GiB"));
        let memory = line.memory_gib.map(gib).transpose()?;
        let accelerator_memory = line.accelerator_memory_gib.map(gib).transpose()?;
        Ok(Self {
            name: line.instance_type.parse()?,
            ec2_type: line.ec2_type,
            shape: line.vcpu.zip(memory).map(|(vcpus, memory_bytes)| Shape { vcpus, memory_bytes }),
            accelerators: line
                .accelerator_model
                .zip(line.accelerator_count)
                .zip(accelerator_memory)
                .map(|((model, count), memory_bytes)| Accelerators { model, count, memory_bytes }),
            ec2_us_east_1: line
                .ec2_usd_per_hour_us_east_1
                .map(|price| price.parse())
                .transpose()?,
            ec2_price_source: line.ec2_price_source.unwrap_or_default(),
        })
    }
}

impl InstanceType {
    /// The family, such as `c5` in `ml.c5.large`.
    #[must_use]
    pub fn family(&self) -> &str {
        self.name.family()
    }

    /// The size, such as `large` in `ml.c5.large`.
    #[must_use]
    pub fn size(&self) -> &str {
        self.name.as_str().rsplit('.').next().unwrap_or_default()
    }

    /// The instruction set, told from the family.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        // AWS names Graviton families with a `g` after the generation digit (c7g, m6gd, c6gn); the
        // GPU families g4dn, g5, g6 … begin with theirs.
        let after_generation = self.family().trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = after_generation.trim_start_matches(|c: char| c.is_ascii_digit());
        if suffix.starts_with('g') { Architecture::Arm } else { Architecture::X86 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static InstanceType {
        Catalogue::builtin().require(name).unwrap()
    }

    #[test]
    fn the_built_in_catalogue_has_every_type_and_keeps_the_gaps_of_its_source() {
        let catalogue = Catalogue::builtin();
        assert_eq!(catalogue.len(), 277);
        assert_eq!(catalogue.iter().filter(|known| known.shape.is_some()).count(), 272);
        assert_eq!(catalogue.iter().filter(|known| known.ec2_us_east_1.is_some()).count(), 274);
        assert_eq!(named("ml.p2.xlarge").shape, None);
        assert_eq!(named("ml.p5e.48xlarge").ec2_us_east_1, None);
    }

    #[test]
    fn figures_are_read_with_their_units() {
        let shape = named("ml.c4.large").shape.unwrap();
        assert_eq!((shape.vcpus, shape.memory_bytes), (2, Bytes::mib(3840)));
        let gpus = named("ml.g4dn.12xlarge").accelerators.clone().unwrap();
        assert_eq!(
            (gpus.model.as_str(), gpus.count, gpus.memory_bytes),
            ("NVIDIA T4", 4, Bytes::gib(16))
        );
        assert!(gpus.are_cuda_gpus());
        assert!(!named("ml.inf2.xlarge").accelerators.clone().unwrap().are_cuda_gpus());
        assert_eq!(named("ml.c5.large").ec2_us_east_1, Some("0.085".parse().unwrap()));
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_closest_known_one() {
        let error = Catalogue::builtin().require("ml.c5.lrage").unwrap_err();
        assert_eq!(error.to_string(), r#"unknown instance type "ml.c5.lrage""#);
        assert_eq!(error.hint(), "did you mean ml.c5.large?");
        assert_eq!(
            Catalogue::builtin().require("c5.large").unwrap_err().hint(),
            "did you mean ml.c5.large?"
        );
        assert_eq!(Catalogue::builtin().require("onprem.h200").unwrap_err().suggestion, None);
    }

    #[test]
    fn family_architecture_and_burst_credits_follow_from_the_name() {
        for (name, family, architecture, burstable) in [
            ("ml.c5.large", "c5", Architecture::X86, false),
            ("ml.t2.medium", "t2", Architecture::X86, true),
            ("ml.m7i.large", "m7i", Architecture::X86, false),
            ("ml.c6gn.large", "c6gn", Architecture::Arm, false),
            ("ml.r7gd.large", "r7gd", Architecture::Arm, false),
            ("ml.g4dn.xlarge", "g4dn", Architecture::X86, false),
            ("ml.p6-b200.48xlarge", "p6-b200", Architecture::X86, false),
        ] {
            let known = named(name);
            assert_eq!(known.family(), family);
            assert_eq!(known.architecture(), architecture, "{name}");
            assert_eq!(known.name.is_burstable(), burstable, "{name}");
        }
        assert_eq!(named("ml.c5.2xlarge").size(), "2xlarge");
    }
}
