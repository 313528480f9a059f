//! The whole system as users run it: real binaries, real processes, real models, started, stopped,
//! interrupted and killed. Models are small; what is measured is not judged here, only that it was.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bad_input;
mod exactly;
mod faults;
mod fleet;
mod known;
mod operators;
mod process_tree;
mod recommend;
mod store_lost;
mod workbench;
