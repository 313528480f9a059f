//! A request body made up from the declared inputs: seeded, so that the same job sends the same bytes.
//!
//! One unnamed input becomes an `.npy`, several or named ones an `.npz`. Floats are standard normal,
//! integers lie in 0..100 (token ids that every vocabulary has), booleans are fair coins.

use std::io::{Cursor, Write};

use assay_measure::{
    input_spec::{DType, InputSpec},
    payload_file::{self, OverLimit},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A body and its `Content-Type`.
#[derive(Debug, PartialEq, Eq)]
pub struct SamplePayload {
    pub file_name: &'static str,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// Makes up a body for these inputs.
///
/// # Errors
/// [`OverLimit`] when it would be larger than a body may be; nothing is allocated then.
pub fn for_inputs(inputs: &[InputSpec], seed: u64) -> Result<SamplePayload, OverLimit> {
    let bytes =
        |input: &InputSpec| input.size_bytes().saturating_add(npy_header(input).len() as u64);
    payload_file::check_body(inputs.iter().map(bytes).fold(0, u64::saturating_add))?;
    let sample = made_up(inputs, seed);
    // What holds the entries of an archive together counts as well.
    payload_file::check_body(sample.body.len() as u64)?;
    Ok(sample)
}

fn made_up(inputs: &[InputSpec], seed: u64) -> SamplePayload {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    match inputs {
        [single] if single.name().is_none() => SamplePayload {
            file_name: "sample.npy",
            content_type: "application/x-npy",
            body: npy(single, &mut rng),
        },
        several => SamplePayload {
            file_name: "sample.npz",
            content_type: "application/x-npz",
            body: npz(several, &mut rng),
        },
    }
}

fn npz(inputs: &[InputSpec], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (index, input) in inputs.iter().enumerate() {
        let name =
            input.name().map_or_else(|| format!("arr_{index}.npy"), |name| format!("{name}.npy"));
        archive.start_file(name, options).expect("a fresh archive in memory takes any entry");
        archive.write_all(&npy(input, rng)).expect("writing to memory does not fail");
    }
    archive.finish().expect("writing to memory does not fail").into_inner()
}

/// What NumPy's format, version 1.0, has in front of the elements.
fn npy_header(input: &InputSpec) -> Vec<u8> {
    let dims: String = input.shape().iter().map(|dim| format!("{dim}, ")).collect();
    let descr = input.dtype().npy_name();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version and length take 10 bytes; data begins at a multiple of 64.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = u16::try_from(header.len()).expect("eight dimensions make a short header");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes
}

fn npy(input: &InputSpec, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = npy_header(input);
    bytes.reserve_exact(usize::try_from(input.size_bytes()).unwrap_or(0));
    for _ in 0..input.elements() {
        push_element(&mut bytes, input.dtype(), rng);
    }
    bytes
}

fn push_element(bytes: &mut Vec<u8>, dtype: DType, rng: &mut ChaCha8Rng) {
    match dtype {
        DType::Float64 => bytes.extend(normal(rng).to_le_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is meant")]
        DType::Float32 => bytes.extend((normal(rng) as f32).to_le_bytes()),
        DType::Float16 => bytes.extend(half::f16::from_f64(normal(rng)).to_le_bytes()),
        DType::Bfloat16 => bytes.extend(half::bf16::from_f64(normal(rng)).to_le_bytes()),
        DType::Int64 => bytes.extend(i64::from(small(rng)).to_le_bytes()),
        DType::Int32 => bytes.extend(i32::from(small(rng)).to_le_bytes()),
        DType::Int16 => bytes.extend(i16::from(small(rng)).to_le_bytes()),
        DType::Int8 | DType::Uint8 => bytes.push(small(rng)),
        DType::Bool => bytes.push(u8::from(rng.random_bool(0.5))),
    }
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

fn small(rng: &mut impl RngExt) -> u8 {
    rng.random_range(0..100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(texts: &[&str]) -> Vec<InputSpec> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let inputs = specs(&["float32[2,3]"]);
        assert_eq!(for_inputs(&inputs, 1), for_inputs(&inputs, 1));
        assert_ne!(for_inputs(&inputs, 1), for_inputs(&inputs, 2));
    }

    #[test]
    fn an_npy_has_an_aligned_header_and_all_its_elements() {
        for (text, size) in
            [("float32[1,3,4]", 48), ("int64[5]", 40), ("bool[]", 1), ("bfloat16[3]", 6)]
        {
            let payload = for_inputs(&specs(&[text]), 1).unwrap();
            let header_length = usize::from(u16::from_le_bytes([payload.body[8], payload.body[9]]));
            assert_eq!((10 + header_length) % 64, 0, "{text}");
            assert_eq!(payload.body.len() - 10 - header_length, size, "{text}");
            assert_eq!(payload.content_type, "application/x-npy");
        }
    }

    #[test]
    fn named_inputs_travel_together_in_an_npz() {
        let payload = for_inputs(&specs(&["tokens=int64[1,4]", "mask=bool[1,4]"]), 1).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(payload.body)).unwrap();
        assert_eq!(archive.len(), 2);
        assert!(archive.by_name("tokens.npy").is_ok());
    }

    #[test]
    fn an_absurd_declaration_is_not_allocated() {
        let error = for_inputs(&specs(&["float64[100000,100000]"]), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a body of 74.5 GiB (80000000128 bytes), and one may have 256 MiB"
        );
        // The elements alone would fit.
        let brim = for_inputs(&specs(&["uint8[268435456]"]), 1).unwrap_err();
        assert!(brim.to_string().contains("268435584 bytes"), "{brim}");
    }
}
