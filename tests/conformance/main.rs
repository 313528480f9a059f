//! Public formats and protocols, held against their committed descriptions and other people's clients.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod oip;
mod sagemaker;
mod schemas;
mod signatures;
