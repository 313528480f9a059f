//! The header of NumPy's `.npy` format, version 1.0, as all that is written here has it.

use std::{fmt::Display, iter::repeat_n};

use crate::input_spec::DType;

/// What stands in front of the elements of a little-endian array in C order; padded, so that they start at a
/// multiple of 64 bytes.
#[must_use]
pub fn header(dtype: DType, shape: &[impl Display]) -> Vec<u8> {
    let descr = dtype.npy_name();
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    // Python's tuple of one keeps its comma.
    let dims = if shape.len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version and length take 10 bytes, and a line feed ends the text.
    let unpadded = 10 + text.len() + 1;
    text.extend(repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // At most eight dimensions of at most twenty characters: far below what 16 bits hold.
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elements_start_at_a_multiple_of_64_and_the_header_says_its_length() {
        for (shape, dims) in [(&[][..], "()"), (&[7], "(7,)"), (&[1, 3, 4], "(1, 3, 4)")] {
            let header = header(DType::Float32, shape);
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            assert_eq!((header.len() % 64, header.len()), (0, 10 + length));
            let text = String::from_utf8_lossy(&header[10..]);
            assert!(text.contains(&format!("'shape': {dims}")) && text.ends_with('\n'), "{text}");
        }
    }
}
