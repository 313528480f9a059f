//! The host's front_end through real sockets: HTTP, the Open Inference Protocol over HTTP and gRPC, and what
//! happens when callers or signals cut in.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests end the test when something is not as it should be"
)]

mod contents;
mod disturbances;
mod oip_grpc;
mod oip_http;
mod refusals;
mod support;
