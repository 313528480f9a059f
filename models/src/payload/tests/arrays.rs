//! npy, npz and raw bodies.

use super::*;
use crate::tensor::byte_length;

pub(super) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

pub(super) fn npz(members: &[(&str, &[u8])], compression: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer
            .start_file(*name, SimpleFileOptions::default().compression_method(compression))
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

proptest! {
    #[test]
    fn every_tensor_survives_npy(
        dtype in proptest::sample::select(DType::ALL.to_vec()),
        shape in proptest::collection::vec(0i64..5, 0..4),
        seed in any::<u8>(),
    ) {
        let length = byte_length(dtype, &shape).unwrap();
        let data: Vec<u8> = (0..length).map(|i| seed.wrapping_add(u8::try_from(i % 251).unwrap())).collect();
        let mut body = assay_measure::npy::header(dtype, &shape);
        prop_assert_eq!(body.len() % 64, 0);
        body.extend(&data);
        let tensors = decode(ContentType::Npy, &body.into(), &[], &DecodeSettings::default()).unwrap();
        prop_assert_eq!(tensors, vec![WireTensor { name: String::new(), dtype, shape, data: data.into() }]);
    }
}

#[test]
fn a_little_endian_array_shares_the_bodys_memory() {
    let body = Bytes::from(npy("<f4", false, "(1, 2)", &f32_bytes(&[1.0, 2.0])));
    let tensor = decode_with(ContentType::Npy, body.clone(), &[]).unwrap().remove(0);
    assert_eq!(tensor.data.as_ptr_range().end, body.as_ptr_range().end);
    assert_eq!((tensor.shape.clone(), floats(&tensor)), (vec![1, 2], vec![1.0, 2.0]));
}

#[test]
fn big_endian_and_fortran_order_are_converted() {
    let big: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| v.to_be_bytes()).collect();
    assert_eq!(
        floats(&decode_with(ContentType::Npy, npy(">f4", false, "(2,)", &big), &[]).unwrap()[0]),
        [1.5, -2.0]
    );
    // Columns of [[1, 2, 3], [4, 5, 6]].
    let columns = f32_bytes(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let tensor =
        decode_with(ContentType::Npy, npy("<f4", true, "(2, 3)", &columns), &[]).unwrap().remove(0);
    assert_eq!(floats(&tensor), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn versions_two_and_three_have_a_longer_length_field() {
    for version in [2, 3] {
        let first = npy("<i8", false, "()", &7i64.to_le_bytes());
        let mut body = first[..6].to_vec();
        body.extend([version, 0, first[8], first[9], 0, 0]);
        body.extend(&first[10..]);
        let tensor = decode_with(ContentType::Npy, body, &[]).unwrap().remove(0);
        assert_eq!((tensor.shape.clone(), integers(&tensor)), (vec![], vec![7]));
    }
}

#[test]
fn two_byte_integers_are_bfloat16_when_that_was_declared() {
    let body = npy("<u2", false, "(1,)", &[0x80, 0x3f]);
    assert_eq!(
        decode_with(ContentType::Npy, body.clone(), &["bfloat16[1]"]).unwrap()[0].dtype,
        DType::Bfloat16
    );
    assert!(message(ContentType::Npy, body, &["int64[1]"]).contains("cast it to int64"));
}

#[test]
fn a_bad_npy_is_refused_with_the_reason() {
    let cases: [(Vec<u8>, &str); 9] = [
        (b"PK\x03\x04".to_vec(), "does not start with \\x93NUMPY"),
        (b"\x93NUMPY\x01\x00\xff".to_vec(), "inside the header"),
        (b"\x93NUMPY\x09\x00\x00\x00\x00\x00\x00".to_vec(), "format version 9"),
        (npy("<f4", false, "(3,)", &[0; 8]), "8 bytes follow the header, but float32[3] takes 12"),
        (npy("<f4", false, "(-3,)", &[0; 8]), "shape has \"-3\""),
        (npy("|O", false, "(1,)", &[0; 8]), "Python objects"),
        (npy("<c8", false, "(1,)", &[0; 8]), "complex"),
        (npy("<f4", false, "(9223372036854775807, 9223372036854775807)", &[]), "too many elements"),
        (npy("<f4", false, "(1,1,1,1,1,1,1,1,1)", &[0; 4]), "9 dimensions"),
    ];
    for (body, expected) in cases {
        let message = message(ContentType::Npy, body, &[]);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn the_members_of_an_npz_are_named_inputs_stored_or_deflated() {
    let a = npy("<f4", false, "(2,)", &f32_bytes(&[1.0, 2.0]));
    let b = npy("<i8", false, "(1, 1)", &9i64.to_le_bytes());
    for compression in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let tensors = decode_with(
            ContentType::Npz,
            npz(&[("a.npy", &a), ("mask.npy", &b)], compression),
            &[],
        )
        .unwrap();
        assert_eq!(tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "mask"]);
        assert_eq!((floats(&tensors[0]), integers(&tensors[1])), (vec![1.0, 2.0], vec![9]));
    }
}

#[test]
fn an_archive_that_unpacks_beyond_the_limit_is_refused() {
    let zeros = npy("|u1", false, "(1000000,)", &vec![0; 1_000_000]);
    let bomb = npz(&[("a.npy", &zeros), ("b.npy", &zeros)], CompressionMethod::Deflated);
    assert!(bomb.len() < 10_000);
    let settings = DecodeSettings { limit_bytes: 1_500_000, ..DecodeSettings::default() };
    let error = decode(ContentType::Npz, &bomb.into(), &[], &settings).unwrap_err();
    assert!(matches!(error, PayloadError::TooLarge { .. }), "{error}");
}

#[test]
fn a_bad_npz_is_refused_with_the_members_name() {
    let short = npy("<f4", false, "(3,)", &[0; 4]);
    let message_of = |members: &[(&str, &[u8])]| {
        message(ContentType::Npz, npz(members, CompressionMethod::Stored), &[])
    };
    assert!(message_of(&[("x.npy", &short)]).contains("after the header of \"x\""));
    assert!(
        message_of(&[("x.txt", b"hello")])
            .contains("member \"x.txt\": its name does not end in .npy")
    );
    assert!(message_of(&[]).contains("holds 0 arrays"));
    assert!(message(ContentType::Npz, "not a zip", &[]).contains("in the archive"));
}

#[test]
fn raw_bytes_take_the_declared_shape_and_a_free_batch() {
    let shape_of = |length: usize, declared: &str| {
        decode_with(ContentType::OctetStream, vec![0; length], &[declared])
            .map(|tensors| tensors[0].shape.clone())
    };
    assert_eq!(shape_of(24, "float32[1,2,3]"), Ok(vec![1, 2, 3]));
    assert_eq!(shape_of(72, "float32[1,2,3]"), Ok(vec![3, 2, 3]));
    assert_eq!(shape_of(8, "int64[]"), Ok(vec![]));
    let error = shape_of(25, "x=float32[1,2,3]").unwrap_err().to_string();
    assert!(
        error.contains("float32[1,2,3]") && error.contains("25 bytes, which is no multiple of 24"),
        "{error}"
    );
    assert!(shape_of(16, "int64[]").is_err());
}

#[test]
fn raw_bytes_without_a_declaration_are_refused_with_the_flag_that_helps() {
    assert!(message(ContentType::OctetStream, "1234", &[]).contains("--input NAME=DTYPE[SHAPE]"));
    assert!(
        message(ContentType::OctetStream, "1234", &["a=float32[1]", "b=float32[1]"])
            .contains("application/x-npz")
    );
}
