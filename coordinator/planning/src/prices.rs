//! What an instance type costs per hour, where that is known, and an honest label where it is not.
//!
//! The lookup, first hit wins: the job's own price; the operator's price file; a sourced SageMaker
//! hosting price for exactly this region; an estimate (another component or region, then EC2 in
//! us-east-1 times the ratio seen over all sourced rows); unpriced. Every quote carries region, source
//! and date, and every estimate says that it is one and why. Amounts are integers throughout.

use std::{collections::BTreeMap, sync::LazyLock};

use assay_measure::{ids::InstanceTypeName, job::JobSpec, money::PricePerHour};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{Catalogue, InstanceType},
    price_file::{PriceRow, PriceTable},
};

/// A price, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceQuote {
    /// The price.
    pub usd_per_hour: PricePerHour,
    /// The region it is for.
    pub region: String,
    /// Where it comes from.
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
    /// The built-in prices alone.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The built-in prices below an operator's own.
    #[must_use]
    pub fn with_operator_table(operator: PriceTable) -> Self {
        Self { operator }
    }

    /// The operator's own prices.
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
        todo!("{name}{region}")
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
}

fn own_price(_spec: &JobSpec, _name: &InstanceTypeName) -> Option<PriceQuote> {
    todo!()
}
