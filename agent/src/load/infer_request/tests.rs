//! Requests, from outside: what is sent for each format, and what is refused.

use super::*;

fn npy_file(header: &str, data: &[u8]) -> Bytes {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    Bytes::from(file)
}

fn encoded(
    body: Bytes,
    content_type: &str,
    inputs: &[&str],
) -> Result<ModelInferRequest, RequestError> {
    let payload =
        Payload { bodies: vec![body], content_type: content_type.to_owned(), ..Payload::default() };
    let inputs: Vec<InputSpec> = inputs.iter().map(|input| input.parse().unwrap()).collect();
    let message = encode("m", Some(&payload), &inputs)?.remove(0);
    assert_eq!(message[0], 0);
    assert_eq!(u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize, message.len() - 5);
    Ok(ModelInferRequest::decode(&message[5..]).unwrap())
}

#[test]
fn an_npy_file_tells_its_tensor() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n";
    let request = encoded(npy_file(header, &[1; 8]), "application/x-npy", &[]).unwrap();
    assert_eq!(request.model_name, "m");
    assert_eq!(request.inputs[0].name, "input_0");
    assert_eq!(
        (request.inputs[0].datatype.as_str(), &request.inputs[0].shape[..]),
        ("FP32", &[1, 2][..])
    );
    assert_eq!(request.raw_input_contents[0], vec![1; 8]);
    let scalar = encoded(
        npy_file("{'descr': '|b1', 'fortran_order': False, 'shape': ()}", &[1]),
        "x",
        &["t=bool[]"],
    )
    .unwrap();
    assert_eq!((scalar.inputs[0].name.as_str(), scalar.inputs[0].shape.len()), ("t", 0));
}

/// `{NAME}.npy` for each, as `numpy.savez` packs them.
fn npz_file(members: &[(&str, Bytes)]) -> Bytes {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, npy) in members {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        std::io::Write::write_all(&mut archive, npy).unwrap();
    }
    Bytes::from(archive.finish().unwrap().into_inner())
}

#[test]
fn an_npz_file_is_taken_apart_into_its_named_tensors() {
    let ids = npy_file("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }", &[2; 16]);
    let mask = npy_file("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", &[1; 2]);
    let body = npz_file(&[("input_ids", ids.clone()), ("attention_mask", mask)]);
    for declared in [&[][..], &["input_ids=int64[1,2]", "attention_mask=bool[2]"]] {
        let request = encoded(body.clone(), "application/x-npz", declared).unwrap();
        let told: Vec<_> = request
            .inputs
            .iter()
            .map(|input| (input.name.as_str(), input.datatype.as_str(), &input.shape[..]))
            .collect();
        let expected: [(_, _, &[i64]); 2] =
            [("input_ids", "INT64", &[1, 2]), ("attention_mask", "BOOL", &[2])];
        assert_eq!(told, expected);
        assert_eq!(request.raw_input_contents[0], vec![2; 16]);
    }
    let nameless = npz_file(&[("arr_0", ids)]);
    let request = encoded(nameless.clone(), "application/x-npz", &["x=int64[1,2]"]).unwrap();
    assert_eq!(request.inputs[0].name, "x");
    let request = encoded(nameless, "application/x-npz", &[]).unwrap();
    assert_eq!(request.inputs[0].name, "arr_0");
    let error = encoded(body.slice(..40), "application/x-npz", &[]).unwrap_err().to_string();
    assert!(error.starts_with("the body is no usable .npz file"), "{error}");
}

#[test]
fn json_is_taken_apart_into_named_tensors_of_the_declared_types() {
    let encoded = |body: &'static str, inputs: &[&str]| {
        encoded(Bytes::from(body), "application/json", inputs)
    };
    let request = encoded(r#"{"ids": [[1, 2]], "scale": 0.5, "on": [true]}"#, &[]).unwrap();
    let mut told: Vec<_> = request
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.datatype.as_str(), &input.shape[..]))
        .collect();
    told.sort_unstable();
    let expected: [(_, _, &[i64]); 3] =
        [("ids", "INT64", &[1, 2]), ("on", "BOOL", &[1]), ("scale", "FP32", &[])];
    assert_eq!(told, expected);
    for wrapped in ["[[5, 3]]", r#"{"inputs": [[5, 3]]}"#, r#"{"instances": [[5, 3]]}"#] {
        let request = encoded(wrapped, &["x=float32[1,2]"]).unwrap();
        assert_eq!(request.inputs[0].name, "x");
        let data = [5f32.to_le_bytes(), 3f32.to_le_bytes()].concat();
        assert_eq!(
            (request.inputs[0].datatype.as_str(), &request.raw_input_contents[0][..]),
            ("FP32", &data[..])
        );
    }
    for (bad, why) in [
        ("[[1], [1, 2]]", "ragged"),
        ("[1, [2]]", "ragged"),
        ("[[1], 2]", "ragged"),
        (r#"["a"]"#, "neither a number nor an array"),
        ("{}", "names no array"),
        ("[1", "EOF"),
    ] {
        let error = encoded(bad, &[]).unwrap_err().to_string();
        assert!(error.starts_with("the body is no usable JSON") && error.contains(why), "{error}");
    }
    let error = encoded("[300]", &["uint8[1]"]).unwrap_err().to_string();
    assert!(error.ends_with("300 cannot be uint8"), "{error}");
}

#[test]
fn raw_bytes_are_cut_into_the_declared_tensors() {
    let request = encoded(
        Bytes::from(vec![7; 24]),
        "application/octet-stream",
        &["a=int64[1,2]", "b=float32[2]"],
    )
    .unwrap();
    assert_eq!(request.raw_input_contents.iter().map(Bytes::len).collect::<Vec<_>>(), [16, 8]);
    assert_eq!(request.inputs[1].name, "b");
}

#[test]
fn what_makes_no_request_says_why() {
    assert!(matches!(encode("m", None, &[]), Err(RequestError::NoPayload)));
    let raw = Bytes::from_static(b"1,2");
    let octets = "application/octet-stream";
    assert!(matches!(encoded(raw.clone(), octets, &[]), Err(RequestError::NoInputs(_))));
    for content_type in ["text/csv", "image/png", "application/jsonlines; charset=utf-8"] {
        let error = encoded(raw.clone(), content_type, &["float32[1]"]).unwrap_err();
        assert!(matches!(error, RequestError::NoTensors(_)), "{content_type}: {error}");
    }
    assert!(matches!(
        encoded(raw, octets, &["float32[1]"]),
        Err(RequestError::Size { have: 3, need: 4 })
    ));
    let header = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}}}")
    };
    let bad = [
        (header("<f4", "True", "(1,)"), 4),
        (header(">f4", "False", "(1,)"), 4),
        (header("<c8", "False", "(1,)"), 8),
        (header("<f4", "False", "(2,)"), 4),
        (header("<f4", "False", "(-1,)"), 4),
        (header("<f4", "False", "(9999999999,9999999999)"), 4),
        ("{}".to_owned(), 0),
    ];
    let is_no_npy = |error: &RequestError| {
        matches!(error, RequestError::Unreadable { format: ".npy file", .. })
    };
    for (header, bytes) in bad {
        let error =
            encoded(npy_file(&header, &vec![0; bytes]), "application/x-npy", &[]).unwrap_err();
        assert!(is_no_npy(&error), "{header}: {error}");
    }
    let cut = npy_file("{", &[]).slice(..9);
    assert!(is_no_npy(&encoded(cut, "application/x-npy", &[]).unwrap_err()));
}
