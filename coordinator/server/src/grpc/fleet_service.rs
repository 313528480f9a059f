//! `FleetService`: who is there, and who gets nothing new.

use assay_proto::v1::{self, fleet_service_server::FleetService};
use tonic::{Request, Response, Status};

use super::{Shared, fleet_wire, status::id};
use crate::dispatch::Event;

#[tonic::async_trait]
impl FleetService for Shared {
    async fn list_agents(
        &self,
        _: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let agents = self.dispatch.ask(|answer| Event::ListAgents { answer }).await?;
        let agents = agents.into_iter().map(fleet_wire::agent).collect();
        Ok(Response::new(v1::ListAgentsResponse { agents }))
    }

    async fn drain_agent(
        &self,
        request: Request<v1::DrainAgentRequest>,
    ) -> Result<Response<v1::DrainAgentResponse>, Status> {
        let v1::DrainAgentRequest { name, draining } = request.into_inner();
        let name = id(&name)?;
        let drain = |answer| Event::DrainAgent { name, draining, answer };
        let agent = self.dispatch.ask(drain).await??;
        Ok(Response::new(v1::DrainAgentResponse { agent: Some(fleet_wire::agent(agent)) }))
    }

    async fn forget_agent(
        &self,
        request: Request<v1::ForgetAgentRequest>,
    ) -> Result<Response<v1::ForgetAgentResponse>, Status> {
        let name = id(&request.into_inner().name)?;
        self.dispatch.ask(|answer| Event::ForgetAgent { name, answer }).await??;
        Ok(Response::new(v1::ForgetAgentResponse {}))
    }
}
