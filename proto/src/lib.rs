//! The wire: Protobuf messages and services, and their conversions to and from domain types.
//!
//! [`v1`] is Assay's own protocol (agents dial in, clients manage jobs), [`inference`] the Open
//! Inference Protocol v2. Wire types stop here: [`agent`] and [`jobs`] turn them into validated
//! domain types of `assay-measure`, and nothing beyond matches on them.

#![warn(missing_docs)]

use assay_measure::bounded_text;
use tonic::{Code, Status};

pub mod agent;
mod fields;
pub mod jobs;

/// The version of the agent protocol. Both sides of `AgentService.Attach` must speak the same one.
pub const PROTOCOL_VERSION: u32 = 1;

/// The largest request that a coordinator takes, and the largest command to an agent, in bytes: room for a
/// specification of a thousand candidates and for a price list of every type in every region. Files come
/// in parts.
pub const LARGEST_REQUEST: usize = 16 << 20;

/// The largest answer that a client takes, in bytes: a report with the steps and histograms of a thousand
/// trials.
pub const LARGEST_ANSWER: usize = 256 << 20;

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

/// The longest text of a refusal in bytes. It travels in a header, where a byte may become three, and gRPC
/// libraries read 8 KiB of headers; a longer one arrives as a broken connection.
pub const LONGEST_REFUSAL: usize = 2 << 10;

/// A refusal. Of a text that is too long, because it repeats what was sent or what a model raised, the
/// beginning is told.
#[must_use]
pub fn refusal(code: Code, text: impl Into<String>) -> Status {
    Status::new(code, bounded_text::beginning(text.into(), LONGEST_REFUSAL))
}
