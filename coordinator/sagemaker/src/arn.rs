//! Amazon resource names of what this server keeps: `arn:aws:sagemaker:<region>:<account>:<kind>/<name>`.
//!
//! Region and account are the operator's choice; a name from another account or region is not ours.

use std::fmt;

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    region: String,
    id: String,
}

/// A text is no region or no account id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadAccount {
    #[error(
        "{0:?} is not a region: 9 to 16 lower-case letters, digits and hyphens, such as us-east-1"
    )]
    Region(String),
    #[error("{0:?} is not an account id: 12 digits")]
    Id(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    InferenceRecommendationsJob(String),
    Model(String),
    ModelPackageGroup(String),
    /// A model package without versions.
    ModelPackage(String),
    ModelPackageVersion {
        group: String,
        /// Counts from 1.
        version: u32,
    },
}

/// A text names none of our resources.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} does not name a resource of this account and region")]
pub struct NotOurs(pub String);

impl Account {
    /// An account in a region.
    ///
    /// # Errors
    /// [`BadAccount`] when clients would not accept the names made from it.
    pub fn new(region: &str, id: &str) -> Result<Self, BadAccount> {
        let in_region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(9..=16).contains(&region.len()) || !region.bytes().all(in_region) {
            return Err(BadAccount::Region(region.to_owned()));
        }
        if id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadAccount::Id(id.to_owned()));
        }
        Ok(Self { region: region.to_owned(), id: id.to_owned() })
    }

    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn arn(&self, resource: &Resource) -> String {
        format!("{}{resource}", self.prefix("sagemaker"))
    }

    #[must_use]
    pub fn log_stream_arn(&self, group: &str, stream: &str) -> String {
        format!("{}log-group:{group}:log-stream:{stream}", self.prefix("logs"))
    }

    /// The resource that a name means.
    ///
    /// # Errors
    /// [`NotOurs`] for anything else than the name of a resource of this account and region.
    pub fn parse(&self, arn: &str) -> Result<Resource, NotOurs> {
        arn.strip_prefix(&self.prefix("sagemaker"))
            .and_then(Resource::parse)
            .ok_or_else(|| NotOurs(arn.chars().take(300).collect()))
    }

    /// The group that a name or an ARN means.
    ///
    /// # Errors
    /// [`NotOurs`] for the ARN of anything else.
    pub fn group(&self, name_or_arn: &str) -> Result<String, NotOurs> {
        if !name_or_arn.starts_with("arn:") {
            return Ok(name_or_arn.to_owned());
        }
        match self.parse(name_or_arn)? {
            Resource::ModelPackageGroup(name) => Ok(name),
            Resource::InferenceRecommendationsJob(_)
            | Resource::Model(_)
            | Resource::ModelPackage(_)
            | Resource::ModelPackageVersion { .. } => Err(NotOurs(name_or_arn.to_owned())),
        }
    }

    /// The package that a name, `<group>/<version>` or an ARN means.
    ///
    /// # Errors
    /// [`NotOurs`] for the ARN of anything else.
    pub fn package(&self, name_or_arn: &str) -> Result<Resource, NotOurs> {
        let not_ours = || NotOurs(name_or_arn.to_owned());
        if !name_or_arn.starts_with("arn:") {
            return package(name_or_arn).ok_or_else(not_ours);
        }
        match self.parse(name_or_arn)? {
            found @ (Resource::ModelPackage(_) | Resource::ModelPackageVersion { .. }) => Ok(found),
            Resource::InferenceRecommendationsJob(_)
            | Resource::Model(_)
            | Resource::ModelPackageGroup(_) => Err(not_ours()),
        }
    }

    fn prefix(&self, service: &str) -> String {
        format!("arn:aws:{service}:{}:{}:", self.region, self.id)
    }
}

impl Resource {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let plain = || Some(name.to_owned()).filter(|name| is_name(name));
        match kind {
            "inference-recommendations-job" => plain().map(Self::InferenceRecommendationsJob),
            "model" => plain().map(Self::Model),
            "model-package-group" => plain().map(Self::ModelPackageGroup),
            "model-package" => package(name),
            _ => None,
        }
    }
}

fn package(text: &str) -> Option<Resource> {
    let Some((group, version)) = text.split_once('/') else {
        return is_name(text).then(|| Resource::ModelPackage(text.to_owned()));
    };
    let is_number = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    let version = version.parse().ok().filter(|_| is_number)?;
    is_name(group).then(|| Resource::ModelPackageVersion { group: group.to_owned(), version })
}

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=64).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for Resource {
    /// What stands after the account: `model/resnet18`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InferenceRecommendationsJob(name) => {
                write!(f, "inference-recommendations-job/{name}")
            }
            Self::Model(name) => write!(f, "model/{name}"),
            Self::ModelPackageGroup(name) => write!(f, "model-package-group/{name}"),
            Self::ModelPackage(name) => write!(f, "model-package/{name}"),
            Self::ModelPackageVersion { group, version } => {
                write!(f, "model-package/{group}/{version}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new("us-east-1", "123456789012").unwrap()
    }

    fn every_kind() -> [Resource; 5] {
        let name = || "resnet-18".to_owned();
        [
            Resource::InferenceRecommendationsJob(name()),
            Resource::Model(name()),
            Resource::ModelPackageGroup(name()),
            Resource::ModelPackage(name()),
            Resource::ModelPackageVersion { group: name(), version: 3 },
        ]
    }

    #[test]
    fn names_are_printed_and_read_back() {
        for resource in every_kind() {
            let arn = account().arn(&resource);
            assert_eq!(account().parse(&arn), Ok(resource));
        }
        let version = Resource::ModelPackageVersion { group: "g".to_owned(), version: 3 };
        assert_eq!(
            account().arn(&version),
            "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/3"
        );
    }

    #[test]
    fn names_of_others_and_of_nothing_are_not_ours() {
        let ours = "arn:aws:sagemaker:us-east-1:123456789012:";
        for arn in [
            "",
            "model/a",
            "arn:aws:sagemaker:eu-west-1:123456789012:model/a",
            "arn:aws:sagemaker:us-east-1:210987654321:model/a",
            &format!("{ours}model"),
            &format!("{ours}model/"),
            &format!("{ours}model/a/b"),
            &format!("{ours}model/-a"),
            &format!("{ours}model-package/g/0"),
            &format!("{ours}model-package/g/01"),
            &format!("{ours}model-package/g/+1"),
            &format!("{ours}model-package/g/99999999999"),
            &format!("{ours}endpoint/a"),
        ] {
            assert!(account().parse(arn).is_err(), "{arn}");
        }
    }

    #[test]
    fn groups_and_packages_go_by_name_or_arn() {
        let [_, model, group, package, version] = every_kind().map(|one| account().arn(&one));
        assert_eq!(account().group("g").unwrap(), "g");
        assert_eq!(account().group(&group).unwrap(), "resnet-18");
        assert!(account().group(&package).is_err());
        assert_eq!(account().package("g/2").unwrap().to_string(), "model-package/g/2");
        assert_eq!(account().package(&version).unwrap().to_string(), "model-package/resnet-18/3");
        assert!(account().package(&model).is_err());
    }

    #[test]
    fn an_account_that_clients_would_refuse_is_refused() {
        for (region, id) in [
            ("local", "123456789012"),
            ("US-EAST-1", "123456789012"),
            ("us-east-1", "12345678901x"),
        ] {
            assert!(Account::new(region, id).is_err(), "{region} {id}");
        }
    }
}
