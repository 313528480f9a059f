//! A request body for the reference models: one seeded image tensor as `.npy`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{checkout::Checkout, console::Console, demo};

/// What the body is, for the server that decodes it.
pub(crate) const CONTENT_TYPE: &str = "application/x-npy";

/// A reference model's file, and beside it a body of that shape.
pub(crate) fn model_and_body(
    checkout: &Checkout,
    console: Console,
    model: &str,
    shape: &[usize],
) -> Result<(PathBuf, PathBuf)> {
    let file = demo::reference_model(checkout, console, checkout.program("assay-host"), model)?;
    let body = file.with_extension("npy");
    write_npy(&body, shape)?;
    Ok((file, body))
}

/// `assay-agent load` with so many users in a closed loop, each sending that body; prints JSON.
pub(crate) fn closed_loop(
    checkout: &Checkout,
    target: &str,
    body: &Path,
    users: u32,
    duration: &str,
) -> Command {
    let mut load = checkout.program("assay-agent");
    load.args(["load", "--target", target, "--content-type", CONTENT_TYPE, "--payload"]).arg(body);
    load.args(["--users", &users.to_string(), "--duration", duration, "-o", "json"]);
    load
}

/// Writes a float32 tensor of that shape with values in [0, 1), the same ones every time.
pub(crate) fn write_npy(path: &Path, shape: &[usize]) -> Result<()> {
    fs::write(path, npy(shape)).with_context(|| format!("cannot write {}", path.display()))
}

fn npy(shape: &[usize]) -> Vec<u8> {
    let dimensions: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dimensions}), }}");
    // The format wants the data to begin at a multiple of 64 bytes, after a line feed.
    let begin = 10 + header.len() + 1;
    header.push_str(&" ".repeat(begin.next_multiple_of(64) - begin));
    header.push('\n');
    let header_length = u16::try_from(header.len()).expect("a header of one shape is short");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(header_length.to_le_bytes());
    file.extend(header.as_bytes());
    // Knuth's MMIX generator: chance enough for pixels, and no dependency.
    let mut state: u64 = 1;
    for _ in 0..shape.iter().product() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = u16::try_from(state >> 48).expect("16 bits are left");
        file.extend((f32::from(high) / 65_536.0).to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_aligned_and_complete() {
        let file = npy(&[1, 3, 4]);
        let header_length = usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!((10 + header_length) % 64, 0);
        assert_eq!(file.len(), 10 + header_length + 12 * 4);
        assert!(String::from_utf8_lossy(&file).contains("'shape': (1, 3, 4, )"));
    }
}
