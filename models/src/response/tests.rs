//! Formats are chosen as HTTP says, and every encoding can be read back.

use assay_measure::input_spec::InputSpec;

use super::*;
use crate::payload::{ContentType, DecodeSettings, ExpectedInput, decode};

fn tensor(name: &str, dtype: DType, shape: &[i64], data: impl Into<Bytes>) -> WireTensor {
    WireTensor { name: name.to_owned(), dtype, shape: shape.to_vec(), data: data.into() }
}

fn floats(name: &str, shape: &[i64], values: &[f32]) -> WireTensor {
    tensor(
        name,
        DType::Float32,
        shape,
        values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
    )
}

fn json_of(outputs: &[WireTensor]) -> String {
    String::from_utf8(encode(ResponseFormat::Json, outputs).unwrap().body.to_vec()).unwrap()
}

#[test]
fn names_that_an_archive_cannot_hold_are_refused_and_not_a_panic() {
    let twice = [floats("a", &[1], &[1.0]), floats("a", &[1], &[2.0])];
    let long = [floats(&"n".repeat(70_000), &[1], &[1.0])];
    for outputs in [&twice[..], &long[..]] {
        let refused = encode(ResponseFormat::Npz, outputs).unwrap_err();
        assert!(matches!(&refused, NotAcceptable::Name { name, .. } if name.len() <= 100));
    }
}

#[test]
fn the_accept_header_chooses_the_format() {
    let choose = |accept| ResponseFormat::negotiate(Some(accept)).unwrap();
    assert_eq!(ResponseFormat::negotiate(None), Ok(ResponseFormat::Json));
    assert_eq!(choose("*/*"), ResponseFormat::Json);
    assert_eq!(choose("application/x-npy"), ResponseFormat::Npy);
    assert_eq!(choose("*/*, application/x-npy"), ResponseFormat::Npy);
    assert_eq!(choose("application/json;q=0.2, application/x-npz;q=0.9"), ResponseFormat::Npz);
    assert_eq!(choose("application/json;q=0, application/*;q=0.1"), ResponseFormat::Npy);
    assert_eq!(choose("text/html, Application/Octet-Stream"), ResponseFormat::OctetStream);
    let message = ResponseFormat::negotiate(Some("text/html")).unwrap_err().to_string();
    assert!(message.contains("text/html") && message.contains("application/x-npz"));
    assert!(ResponseFormat::negotiate(Some("*/*;q=0")).is_err());
}

#[test]
fn one_output_is_an_array_and_several_are_an_object() {
    let one = floats("output", &[2, 1], &[1.5, -0.1]);
    let mask = tensor("mask", DType::Bool, &[2], vec![1, 0]);
    assert_eq!(json_of(std::slice::from_ref(&one)), r#"{"outputs":[[1.5],[-0.1]]}"#);
    assert_eq!(
        json_of(&[one, mask]),
        r#"{"outputs":{"output":[[1.5],[-0.1]],"mask":[true,false]}}"#
    );
    assert_eq!(
        json_of(&[tensor("n", DType::Int64, &[], (-7i64).to_le_bytes().to_vec())]),
        r#"{"outputs":-7}"#
    );
    assert_eq!(
        json_of(&[tensor("n", DType::Float32, &[2, 0], Bytes::new())]),
        r#"{"outputs":[[],[]]}"#
    );
}

#[test]
fn nan_and_infinity_are_null_in_json() {
    assert_eq!(
        json_of(&[floats("x", &[3], &[f32::NAN, f32::INFINITY, 1.0])]),
        r#"{"outputs":[null,null,1.0]}"#
    );
}

#[test]
fn every_format_can_be_read_back() {
    for dtype in DType::ALL {
        let data: Vec<u8> =
            (0..6 * dtype.size_bytes()).map(|i| u8::try_from(i % 2).unwrap()).collect();
        let output = tensor("y", *dtype, &[2, 3], data);
        let declared = InputSpec::new(Some("y".to_owned()), *dtype, vec![2, 3]).unwrap();
        for (format, content_type) in [
            (ResponseFormat::Npy, ContentType::Npy),
            (ResponseFormat::Npz, ContentType::Npz),
            (ResponseFormat::OctetStream, ContentType::OctetStream),
        ] {
            let body = encode(format, std::slice::from_ref(&output)).unwrap().body;
            let read = decode(
                content_type,
                &body,
                &[ExpectedInput::from(&declared)],
                &DecodeSettings::default(),
            )
            .unwrap();
            let named = WireTensor { name: "y".to_owned(), ..read[0].clone() };
            assert_eq!((read.len(), named), (1, output.clone()), "{dtype} as {content_type}");
        }
    }
}

#[test]
fn several_outputs_do_not_fit_one_npy() {
    let outputs = [floats("a", &[1], &[1.0]), floats("b", &[1], &[2.0])];
    assert_eq!(encode(ResponseFormat::Npy, &outputs), Err(NotAcceptable::SeveralOutputs(2)));
    let raw = encode(ResponseFormat::OctetStream, &outputs).unwrap();
    assert_eq!((raw.body.len(), raw.layout.as_deref()), (8, Some("a=float32[1], b=float32[1]")));
}
