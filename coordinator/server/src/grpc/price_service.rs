//! `PriceService`: what instance types cost, and the operator's own prices.

use assay_measure::{ids::InstanceTypeName, money::PricePerHour};
use assay_planning::{
    price_file::PriceRow,
    prices::{DEFAULT_REGION, PriceQuote, Prices},
};
use assay_proto::v1::{self, price_service_server::PriceService};
use jiff::tz::TimeZone;
use tonic::{Request, Response, Status};

use super::{Shared, status::id};
use crate::dispatch::Event;

const EVERY_REGION: &str = "*";

#[tonic::async_trait]
impl PriceService for Shared {
    async fn list_prices(
        &self,
        request: Request<v1::ListPricesRequest>,
    ) -> Result<Response<v1::ListPricesResponse>, Status> {
        let v1::ListPricesRequest { region, name_contains } = request.into_inner();
        let region = if region.is_empty() { DEFAULT_REGION } else { &region };
        let prices = self.dispatch.prices();
        let listed = prices
            .instance_types()
            .filter(|name| name.as_str().contains(&name_contains))
            .map(|name| price(&prices, name, region));
        Ok(Response::new(v1::ListPricesResponse { prices: listed.collect() }))
    }

    async fn set_price(
        &self,
        request: Request<v1::SetPriceRequest>,
    ) -> Result<Response<v1::SetPriceResponse>, Status> {
        let request = request.into_inner();
        let instance_type: InstanceTypeName = id(&request.instance_type)?;
        let today = self.clock.now().to_zoned(TimeZone::UTC).date();
        let or =
            |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let row = PriceRow {
            instance_type,
            region: or(request.region, EVERY_REGION),
            usd_per_hour: PricePerHour::from_pico_usd(request.pico_usd_per_hour),
            source: or(request.source, "operator"),
            as_of: today.to_string(),
        };
        let set = row.clone();
        self.dispatch.ask(|answer| Event::SetPrice { row: set, answer }).await?;
        let price = price(&self.dispatch.prices(), &row.instance_type, &row.region);
        Ok(Response::new(v1::SetPriceResponse { price: Some(price) }))
    }
}

fn price(prices: &Prices, name: &InstanceTypeName, region: &str) -> v1::Price {
    let own = prices.operator_table().find(name, region).is_some();
    let known = v1::Price { instance_type: name.to_string(), own, ..v1::Price::default() };
    match prices.quote(name, region) {
        Some(PriceQuote { usd_per_hour, region, source, as_of, estimate, note: _ }) => v1::Price {
            region,
            pico_usd_per_hour: Some(usd_per_hour.pico_usd()),
            source,
            as_of,
            estimate,
            ..known
        },
        None => v1::Price { region: region.to_owned(), ..known },
    }
}
