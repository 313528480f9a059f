//! What an instance type costs per hour, where that is known, and an honest label where it is not.
//!
//! The lookup, first hit wins: the job's own price; the operator's price file; a sourced SageMaker
//! hosting price for exactly this region; an estimate (another component or region, then EC2 in
//! us-east-1 times the ratio seen over all sourced rows); unpriced. Every quote carries region, source
//! and date, and every estimate says that it is one and why. Amounts are integers throughout.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use assay_measure::{ids::InstanceTypeName, job::JobSpec, money::PricePerHour};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Catalogue, InstanceType},
    price_file::PriceTable,
};

/// Whose prices count where nobody says.
pub const DEFAULT_REGION: &str = "us-east-1";

/// A price, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceQuote {
    pub usd_per_hour: PricePerHour,
    pub region: String,
    pub source: String,
    /// When it was true: a date, a year, or `unverified`.
    pub as_of: String,
    /// It was derived from something else than a hosting price for this region.
    pub estimate: bool,
    /// How the estimate was made, or another remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All prices that a coordinator knows.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    operator: PriceTable,
}

impl Prices {
    /// Every instance type that may have a price: the operator's own, then those of the catalogue.
    pub fn instance_types(&self) -> impl Iterator<Item = &InstanceTypeName> {
        let own: BTreeSet<&InstanceTypeName> =
            self.operator.rows().iter().map(|row| &row.instance_type).collect();
        let known = Catalogue::builtin().iter().map(|known| &known.name);
        let others: Vec<&InstanceTypeName> = known.filter(|name| !own.contains(*name)).collect();
        own.into_iter().chain(others)
    }

    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The built-in prices below an operator's own.
    #[must_use]
    pub fn with_operator_table(operator: PriceTable) -> Self {
        Self { operator }
    }

    #[must_use]
    pub fn operator_table(&self) -> &PriceTable {
        &self.operator
    }

    /// The price of an instance type in a job; `None` when it is unpriced.
    #[must_use]
    pub fn quote_for_job(&self, spec: &JobSpec, name: &InstanceTypeName) -> Option<PriceQuote> {
        own_price(spec, name).or_else(|| self.quote(name, &spec.region))
    }

    /// The price of an instance type in a region, apart from any job; `None` when it is unpriced.
    #[must_use]
    pub fn quote(&self, name: &InstanceTypeName, region: &str) -> Option<PriceQuote> {
        self.operator_price(name, region)
            .or_else(|| hosting_price(name, region))
            .or_else(|| other_price(name, region))
            .or_else(|| from_ec2(Catalogue::builtin().get(name)?, region))
    }

    /// The prices of the given types in a job, to be kept with it: later changes do not move its ranking.
    pub fn freeze<'a>(
        &self,
        spec: &JobSpec,
        names: impl IntoIterator<Item = &'a InstanceTypeName>,
    ) -> BTreeMap<InstanceTypeName, PriceQuote> {
        names
            .into_iter()
            .filter_map(|name| Some((name.clone(), self.quote_for_job(spec, name)?)))
            .collect()
    }

    fn operator_price(&self, name: &InstanceTypeName, region: &str) -> Option<PriceQuote> {
        let row = self.operator.find(name, region)?;
        Some(PriceQuote {
            usd_per_hour: row.usd_per_hour,
            region: region.to_owned(),
            source: row.source.clone(),
            as_of: row.as_of.clone(),
            estimate: false,
            note: None,
        })
    }
}

fn own_price(spec: &JobSpec, name: &InstanceTypeName) -> Option<PriceQuote> {
    let overridden =
        spec.price_overrides.iter().rev().find(|(known, _)| known == name).map(|(_, price)| *price);
    let given_with_the_type =
        || spec.instance_types.iter().find(|known| known.name == *name)?.price;
    Some(PriceQuote {
        usd_per_hour: overridden.or_else(given_with_the_type)?,
        region: spec.region.clone(),
        source: "given with the job".to_owned(),
        as_of: "unverified".to_owned(),
        estimate: false,
        note: None,
    })
}

/// A price of some SageMaker component, as it was sourced.
#[derive(Clone, Debug, Deserialize)]
struct SourcedPrice {
    instance_type: InstanceTypeName,
    region: String,
    component: Component,
    usd_per_hour: String,
    source: String,
    as_of: String,
}

/// What a sourced price buys; declared in the order of how well it stands for hosting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Component {
    Hosting,
    BatchTransform,
    Studio,
    Unstated,
}

impl Component {
    const fn shown(self) -> &'static str {
        match self {
            Self::Hosting => "hosting",
            Self::BatchTransform => "batch transform",
            Self::Studio => "Studio",
            Self::Unstated => "unstated use",
        }
    }
}

static SOURCED: LazyLock<Vec<(SourcedPrice, PricePerHour)>> = LazyLock::new(|| {
    csv::Reader::from_reader(include_str!("../data/hosting-prices.csv").as_bytes())
        .deserialize::<SourcedPrice>()
        .map(|row| {
            let row = row.expect("the built-in prices are checked by tests");
            let price = row.usd_per_hour.parse().expect("the built-in prices are checked by tests");
            (row, price)
        })
        .collect()
});

fn sourced(name: &InstanceTypeName) -> impl Iterator<Item = &'static (SourcedPrice, PricePerHour)> {
    SOURCED.iter().filter(move |(row, _)| row.instance_type == *name)
}

fn hosting_price(name: &InstanceTypeName, region: &str) -> Option<PriceQuote> {
    let (row, price) = sourced(name)
        .find(|(row, _)| row.region == region && row.component == Component::Hosting)?;
    let note = (row.as_of == "unverified").then(|| "one source only, not verified".to_owned());
    Some(quote_of(row, *price, false, note))
}

fn other_price(name: &InstanceTypeName, region: &str) -> Option<PriceQuote> {
    let (row, price) = sourced(name).min_by_key(|(row, _)| {
        (
            row.region != region,
            row.region == "unstated",
            row.component,
            std::cmp::Reverse(row.as_of.clone()),
        )
    })?;
    let mut reasons = Vec::new();
    if row.component != Component::Hosting {
        reasons.push(format!("a price for {}, not for hosting", row.component.shown()));
    }
    if row.region != region {
        reasons.push(format!("none is sourced for {region}"));
    }
    Some(quote_of(row, *price, true, Some(reasons.join("; "))))
}

fn quote_of(
    row: &SourcedPrice,
    price: PricePerHour,
    estimate: bool,
    note: Option<String>,
) -> PriceQuote {
    PriceQuote {
        usd_per_hour: price,
        region: row.region.clone(),
        source: row.source.clone(),
        as_of: row.as_of.clone(),
        estimate,
        note,
    }
}

fn from_ec2(known: &InstanceType, region: &str) -> Option<PriceQuote> {
    let per_mille = hosting_over_ec2_per_mille(known).filter(|_| region == "us-east-1")?;
    let ec2 = known.ec2_us_east_1?;
    Some(PriceQuote {
        usd_per_hour: ec2.scaled_per_mille(per_mille)?,
        region: region.to_owned(),
        source: known.ec2_price_source.clone(),
        as_of: date_in(&known.ec2_price_source),
        estimate: true,
        note: Some(format!(
            "EC2 {} {ec2} × {}.{:02}, the ratio seen over all sourced prices of such types",
            known.ec2_type,
            per_mille / 1000,
            per_mille % 1000 / 10
        )),
    })
}

/// How many thousandths of the EC2 price a hosting instance costs, as observed over all sourced rows.
/// `None` where no ratio was observed.
fn hosting_over_ec2_per_mille(known: &InstanceType) -> Option<u32> {
    let family = known.family();
    let mut letters = family.chars();
    match family {
        "g4dn" | "g5" | "g6" | "g6e" if known.size() == "xlarge" => Some(1400),
        "g4dn" | "g5" | "g6" | "g6e" | "p3" => Some(1250),
        "p4d" | "p5" => Some(1150),
        _ => {
            let is_cpu_family = letters.next().is_some_and(|letter| "cmrt".contains(letter))
                && letters.next().is_some_and(|generation| generation.is_ascii_digit());
            is_cpu_family.then_some(1200)
        }
    }
}

fn date_in(source: &str) -> String {
    let is_date = |word: &&str| word.parse::<jiff::civil::Date>().is_ok();
    source.split_whitespace().find(is_date).unwrap_or("unverified").to_owned()
}

#[cfg(test)]
mod tests;
