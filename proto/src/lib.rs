//! The wire: Protobuf messages and services, and their conversions to and from domain types.
//!
//! [`v1`] is Assay's own protocol (agents dial in, clients manage jobs), [`inference`] the Open
//! Inference Protocol v2. Wire types stop at the door: [`agent`] and [`jobs`] turn them into validated
//! domain types of `assay-measure`, and nothing beyond matches on them.

#![warn(missing_docs)]

pub mod agent;
pub mod jobs;

/// The version of the agent protocol. Both sides of `AgentService.Attach` must speak the same one.
pub const PROTOCOL_VERSION: u32 = 1;

/// Assay's own protocol, as generated from `proto/assay/v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("assay.v1");
}

/// The Open Inference Protocol v2, as generated from `proto/inference`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in the .proto files"
)]
pub mod inference {
    tonic::include_proto!("inference");
}

/// All of the above as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/assay_descriptor.bin"));
