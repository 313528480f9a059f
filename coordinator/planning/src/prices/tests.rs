//! The lookup order and its labels.

use assay_measure::job::JobSpec;

use super::*;
use crate::{price_file::PriceFileFormat, testing};

fn name(text: &str) -> InstanceTypeName {
    text.parse().unwrap()
}

fn quote(text: &str, region: &str) -> Option<PriceQuote> {
    Prices::builtin().quote(&name(text), region)
}

fn job() -> JobSpec {
    testing::job(&["ml.c5.xlarge"])
}

#[test]
fn a_sourced_hosting_price_for_the_region_is_no_estimate() {
    let quote = quote("ml.c5.xlarge", "us-east-1").unwrap();
    assert_eq!(quote.usd_per_hour.to_string(), "0.204");
    assert_eq!(
        (quote.estimate, quote.region.as_str(), quote.as_of.as_str()),
        (false, "us-east-1", "2025-01-26")
    );
    assert_eq!(
        Prices::builtin()
            .quote(&name("ml.c5d.large"), "us-east-1")
            .unwrap()
            .usd_per_hour
            .to_string(),
        "0.115"
    );
}

#[test]
fn a_price_of_another_component_or_region_is_an_estimate_and_says_so() {
    let other = quote("ml.c5.large", "us-east-1").unwrap();
    assert_eq!((other.usd_per_hour.to_string().as_str(), other.estimate), ("0.102", true));
    assert_eq!(other.region, "us-west-2");
    assert_eq!(
        other.note.unwrap(),
        "a price for Studio, not for hosting; none is sourced for us-east-1"
    );
    let other = quote("ml.c5.xlarge", "eu-west-1").unwrap();
    assert_eq!(other.note.unwrap(), "none is sourced for eu-west-1");
}

#[test]
fn without_any_sourced_price_the_ec2_price_is_scaled_by_the_ratio_of_its_kind() {
    for (kind, expected) in [
        ("ml.c6i.large", Some("0.102")),   // 0.085 × 1.20
        ("ml.g5.16xlarge", Some("5.12")),  // sourced in us-west-2
        ("ml.g6.8xlarge", Some("2.518")),  // sourced in us-west-2
        ("ml.p5.4xlarge", Some("7.912")),  // 6.88 × 1.15
        ("ml.m7i.large", Some("0.12096")), // 0.1008 × 1.20
        ("ml.inf1.xlarge", None),
        ("ml.trn1.2xlarge", None),
        ("ml.dl1.24xlarge", None),
        ("ml.p6-b200.48xlarge", None),
        ("ml.p2.xlarge", None),
    ] {
        let found = quote(kind, "us-east-1");
        let shown = found.as_ref().map(|quote| quote.usd_per_hour.to_string());
        assert_eq!(shown.as_deref(), expected, "{kind}");
        assert!(found.is_none_or(|quote| quote.estimate && quote.note.is_some()), "{kind}");
    }
    assert_eq!(quote("ml.c6i.large", "eu-west-1"), None);
    let scaled = quote("ml.c6i.large", "us-east-1").unwrap();
    assert!(scaled.note.unwrap().starts_with("EC2 c6i.large 0.085 × 1.20"));
    assert_eq!(scaled.as_of, "2026-07-20");
}

#[test]
fn ratios_distinguish_small_and_large_gpu_types() {
    let per_mille =
        |kind: &str| hosting_over_ec2_per_mille(Catalogue::builtin().require(kind).unwrap());
    for (kind, expected) in [
        ("ml.g6e.xlarge", Some(1400)),
        ("ml.g6e.16xlarge", Some(1250)),
        ("ml.p3.8xlarge", Some(1250)),
        ("ml.p4d.24xlarge", Some(1150)),
        ("ml.t2.medium", Some(1200)),
        ("ml.trn2.48xlarge", None),
        ("ml.p4de.24xlarge", None),
    ] {
        assert_eq!(per_mille(kind), expected, "{kind}");
    }
}

#[test]
fn an_own_price_beats_the_operators_and_that_beats_the_sourced_one() {
    let text =
        "instance_type,region,usd_per_hour,source,as_of\nml.c5.xlarge,*,0.15,contract,2026-01-02\n";
    let table = PriceTable::parse(text, PriceFileFormat::Csv).unwrap();
    let prices = Prices::with_operator_table(table);
    let (mut job, kind) = (job(), name("ml.c5.xlarge"));
    let at = |job: &JobSpec| prices.quote_for_job(job, &kind).unwrap().usd_per_hour.to_string();
    assert_eq!(at(&job), "0.15");
    job.instance_types[0].price = "0.12".parse().ok();
    assert_eq!(at(&job), "0.12");
    job.price_overrides.push((kind.clone(), "0.11".parse().unwrap()));
    assert_eq!(at(&job), "0.11");
    assert_eq!(
        Prices::builtin().quote_for_job(&self::job(), &kind).unwrap().usd_per_hour.to_string(),
        "0.204"
    );
}

#[test]
fn a_type_without_any_price_is_unpriced_and_frozen_prices_leave_it_out() {
    assert_eq!(quote("onprem.h200", "us-east-1"), None);
    let (own, known) = (name("onprem.h200"), name("ml.m5.large"));
    let frozen = Prices::builtin().freeze(&job(), [&own, &known]);
    assert_eq!(frozen.keys().collect::<Vec<_>>(), [&known]);
}

#[test]
fn every_built_in_hosting_price_belongs_to_a_known_type() {
    assert_eq!(SOURCED.len(), 84);
    // Notebooks run on types that hosting does not offer, such as t3.
    for (row, _) in SOURCED.iter().filter(|(row, _)| row.component == Component::Hosting) {
        assert!(Catalogue::builtin().get(&row.instance_type).is_some(), "{}", row.instance_type);
    }
}
