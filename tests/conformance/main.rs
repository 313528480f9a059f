//! Public formats and protocols, held against their committed descriptions and other people's clients.

mod oip;
mod schemas;
