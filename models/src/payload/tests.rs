//! Decoders, from outside: real files, round trips, and refusals that name the place.

use std::io::{Cursor, Write as _};

use assay_measure::input_spec::DType;
use bytes::Bytes;
use proptest::prelude::*;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

mod arrays;
mod pictures;
mod text;

fn expected(declarations: &[&str]) -> Vec<ExpectedInput> {
    declarations
        .iter()
        .map(|text| ExpectedInput::from(&text.parse::<InputSpec>().unwrap()))
        .collect()
}

fn decode_with(
    format: ContentType,
    body: impl Into<Bytes>,
    declared: &[&str],
) -> Result<Vec<WireTensor>, PayloadError> {
    decode(format, &body.into(), &expected(declared), &DecodeSettings::default())
}

fn message(format: ContentType, body: impl Into<Bytes>, declared: &[&str]) -> String {
    decode_with(format, body, declared).unwrap_err().to_string()
}

fn floats(tensor: &WireTensor) -> Vec<f32> {
    tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn integers(tensor: &WireTensor) -> Vec<i64> {
    tensor.data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn content_types_are_read_with_parameters_and_in_any_case() {
    assert_eq!(ContentType::parse("Application/JSON; charset=utf-8"), Ok(ContentType::Json));
    assert_eq!(ContentType::parse("image/jpg"), Ok(ContentType::Jpeg));
    assert_eq!(ContentType::parse("application/x-ndjson"), Ok(ContentType::JsonLines));
    for format in ContentType::ALL {
        assert_eq!(ContentType::parse(format.as_str()), Ok(format));
    }
}

#[test]
fn an_unknown_content_type_is_answered_with_the_known_ones() {
    let message = ContentType::parse("text/html").unwrap_err().to_string();
    assert!(
        message.contains("\"text/html\"")
            && message.contains("application/x-npy")
            && message.contains("image/png")
    );
}

#[test]
fn an_empty_body_is_no_payload_of_any_type() {
    for format in ContentType::ALL {
        assert!(
            decode_with(format, "", &["float32[1,3,8,8]"]).is_err(),
            "{format} took an empty body"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        format in proptest::sample::select(ContentType::ALL.to_vec()),
        declared in proptest::sample::select(vec!["float32[1,2]", "int64[2,2,2]", "bfloat16[3]", "bool[]"]),
    ) {
        drop(decode_with(format, bytes, &[declared]));
    }

    #[test]
    fn no_damage_to_a_real_file_makes_a_decoder_panic(
        format in proptest::sample::select(ContentType::ALL.to_vec()),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = sample(format);
        for (index, byte) in damage {
            let at = index.index(body.len());
            body[at] = byte;
        }
        body.truncate(1 + cut.index(body.len() * 2));
        drop(decode_with(format, body, &["a=float32[2,3]"]));
    }
}

/// A small valid body of each format.
fn sample(format: ContentType) -> Vec<u8> {
    match format {
        ContentType::Npy => arrays::npy("<f4", false, "(2, 3)", &[0; 24]),
        ContentType::Npz => arrays::npz(
            &[("a.npy", &arrays::npy("<f4", false, "(2, 3)", &[7; 24]))],
            CompressionMethod::Deflated,
        ),
        ContentType::Json => br#"{"inputs": {"a": [[1, 2.5, -3e2], [4, 5, 6]]}}"#.to_vec(),
        ContentType::JsonLines => b"[1, 2.5, -3e2]\n[4, 5, 6]\n".to_vec(),
        ContentType::Csv => b"1,2,3\n4,5,6\n".to_vec(),
        ContentType::OctetStream => vec![1; 24],
        ContentType::Jpeg | ContentType::Png | ContentType::WebP | ContentType::Bmp => {
            pictures::encoded(format, 9, 7)
        }
        ContentType::Image => pictures::encoded(ContentType::WebP, 9, 7),
    }
}
