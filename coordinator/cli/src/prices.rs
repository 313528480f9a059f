//! `assay prices`: the catalogue, built in or of a coordinator with the operator's own prices.

use std::path::Path;

use assay_measure::{ids::InstanceTypeName, money::PricePerHour};
use assay_planning::{catalogue::Catalogue, prices::Prices};
use assay_proto::v1;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use crate::{
    cli::PricesCommand,
    client::Client,
    config::Settings,
    failure::{ExitCode, Failure},
    job_request::read_prices,
    output::{self, Listing},
    progress::ProgressView,
};

/// Performs one of the commands.
pub(crate) async fn run(command: &PricesCommand, settings: &Settings) -> Result<ExitCode, Failure> {
    match command {
        PricesCommand::List { region, name_contains } => {
            listing(&known(settings, region, name_contains).await?).write(settings.output)?;
        }
        PricesCommand::Get { instance_type, region } => {
            let all = known(settings, region, instance_type).await?;
            let exact: Vec<_> =
                all.into_iter().filter(|price| price.instance_type == *instance_type).collect();
            if exact.is_empty() {
                return Err(unknown(instance_type));
            }
            listing(&exact).write(settings.output)?;
        }
        PricesCommand::Set { instance_type, per_hour, region, source } => {
            let mut client = Client::connect(settings).await?;
            let request = v1::SetPriceRequest {
                instance_type: instance_type.clone(),
                region: region.clone(),
                pico_usd_per_hour: per_hour.pico_usd(),
                source: source.clone(),
            };
            client.prices.set_price(request).await?;
        }
        PricesCommand::Import { file } => import(file, settings).await?,
        PricesCommand::Check { file } => return check(file),
    }
    Ok(ExitCode::Done)
}

/// Prices of the coordinator when one is named, otherwise those built in.
async fn known(
    settings: &Settings,
    region: &str,
    name_contains: &str,
) -> Result<Vec<v1::Price>, Failure> {
    if settings.server.is_some() {
        let mut client = Client::connect(settings).await?;
        let request = v1::ListPricesRequest {
            region: region.to_owned(),
            name_contains: name_contains.to_owned(),
        };
        return Ok(client.prices.list_prices(request).await?.into_inner().prices);
    }
    let prices = Prices::builtin();
    let types = Catalogue::builtin().iter().filter(|t| t.name.as_str().contains(name_contains));
    Ok(types.map(|t| built_in(&prices, &t.name, region)).collect())
}

fn built_in(prices: &Prices, name: &InstanceTypeName, region: &str) -> v1::Price {
    let quote = prices.quote(name, region);
    v1::Price {
        instance_type: name.to_string(),
        region: quote.as_ref().map_or_else(|| region.to_owned(), |quote| quote.region.clone()),
        pico_usd_per_hour: quote.as_ref().map(|quote| quote.usd_per_hour.pico_usd()),
        source: quote.as_ref().map(|quote| quote.source.clone()).unwrap_or_default(),
        as_of: quote.as_ref().map(|quote| quote.as_of.clone()).unwrap_or_default(),
        estimate: quote.is_some_and(|quote| quote.estimate),
        own: false,
    }
}

fn unknown(instance_type: &str) -> Failure {
    let failure = Failure::new(
        ExitCode::NotFound,
        format!("instance type {instance_type:?} is not in the catalogue"),
    );
    match Catalogue::builtin().suggest(instance_type) {
        Some(name) => failure.hint(format!("did you mean {name}?")),
        None => failure.hint("`assay prices list` shows every type"),
    }
}

fn listing(prices: &[v1::Price]) -> Listing {
    let usd = |price: &v1::Price| price.pico_usd_per_hour.map(PricePerHour::from_pico_usd);
    let rows = prices.iter().map(|price| {
        vec![
            price.instance_type.clone(),
            price.region.clone(),
            usd(price).map_or_else(|| "unpriced".to_owned(), |usd| usd.to_string()),
            if price.own {
                "own"
            } else if price.estimate {
                "estimate"
            } else {
                "sourced"
            }
            .to_owned(),
            price.as_of.clone(),
            price.source.clone(),
        ]
    });
    let json = prices.iter().map(|price| {
        let mut object = json!({
            "instance_type": price.instance_type,
            "region": price.region,
            "source": price.source,
            "as_of": price.as_of,
            "estimate": price.estimate,
            "own": price.own,
        });
        if let Some(usd) = usd(price) {
            object["usd_per_hour"] = json!(usd.as_usd());
        }
        object
    });
    Listing {
        header: vec!["INSTANCE", "REGION", "$/HOUR", "KIND", "AS OF", "SOURCE"],
        rows: rows.collect(),
        json: json.collect(),
        empty: "no such instance type".to_owned(),
    }
}

async fn import(file: &Path, settings: &Settings) -> Result<(), Failure> {
    let table = read_prices(file)?;
    let mut client = Client::connect(settings).await?;
    for row in table.rows() {
        let request = v1::SetPriceRequest {
            instance_type: row.instance_type.to_string(),
            region: row.region.clone(),
            pico_usd_per_hour: row.usd_per_hour.pico_usd(),
            source: row.source.clone(),
        };
        client.prices.set_price(request).await?;
    }
    ProgressView::new(settings.progress, false).line(&format!("{} prices set", table.rows().len()));
    Ok(())
}

fn check(file: &Path) -> Result<ExitCode, Failure> {
    let table = read_prices(file)?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let findings = table.check(Catalogue::builtin(), today);
    for finding in &findings {
        output::write(&finding.to_string())?;
    }
    Ok(if findings.is_empty() { ExitCode::Done } else { ExitCode::Failed })
}
