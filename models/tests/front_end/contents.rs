//! Payloads and answers in every format.

use std::{
    io::{Cursor, Write as _},
    sync::Arc,
};

use assay_host::reference;

use crate::support::{Behaviour, Host, StandIn, engine, f32_bytes, floats, npy};

/// 64 values, no two alike, in the input's order.
fn values() -> Vec<f32> {
    (0..64u8).map(|i| f32::from(i) / 16.0 - 2.0).collect()
}

fn npz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn every_array_format_reaches_the_model_with_the_same_numbers() {
    let host = Host::of_reference("mlp");
    let values = values();
    let raw = f32_bytes(&values);
    let json = serde_json::to_string(&[&values]).unwrap();
    let array = npy("<f4", "(1, 64)", &raw);
    let csv: Vec<String> = values.iter().map(f32::to_string).collect();
    let bodies: [(&str, Vec<u8>); 8] = [
        ("application/octet-stream", raw.clone()),
        ("application/x-npy", array.clone()),
        ("application/x-npz", npz(&[("x.npy", &array)])),
        ("application/json", json.clone().into_bytes()),
        ("application/json; charset=utf-8", format!(r#"{{"inputs": {json}}}"#).into_bytes()),
        ("application/json", format!(r#"{{"instances": {json}}}"#).into_bytes()),
        ("application/json", format!(r#"{{"inputs": {{"x": {json}}}}}"#).into_bytes()),
        ("text/csv", csv.join(",").into_bytes()),
    ];
    let first = host.post("/invocations", bodies[0].0, &bodies[0].1);
    assert_eq!(first.status, 200, "{}", first.text());
    let expected = first.json();
    assert!(expected["outputs"][0].as_array().is_some_and(|row| !row.is_empty()));
    for (content_type, body) in &bodies[1..] {
        let answer = host.post("/invocations", content_type, body);
        assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{content_type}");
    }
}

#[test]
fn a_batch_of_raw_rows_has_one_answer_per_row() {
    let host = Host::of_reference("mlp");
    let answer =
        host.post("/invocations", "application/octet-stream", &f32_bytes(&values()).repeat(3));
    assert_eq!(answer.json()["outputs"].as_array().map(Vec::len), Some(3), "{}", answer.text());
}

#[test]
fn pictures_become_normalized_tensors() {
    let host = Host::of(StandIn::new(&["float32[1,3,8,8]"], Behaviour::Echo));
    let picture = image::RgbImage::from_pixel(20, 30, image::Rgb([255, 0, 0]));
    for (content_type, format) in [
        ("image/png", image::ImageFormat::Png),
        ("image/jpeg", image::ImageFormat::Jpeg),
        ("image/webp", image::ImageFormat::WebP),
        ("image/bmp", image::ImageFormat::Bmp),
        ("application/x-image", image::ImageFormat::Jpeg),
        ("application/x-image", image::ImageFormat::Bmp),
    ] {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        let answer = host.post("/invocations", content_type, &file.into_inner());
        let outputs = &answer.json()["outputs"][0];
        let red = outputs[0][7][7].as_f64().unwrap();
        assert!((red - (1.0 - 0.485) / 0.229).abs() < 0.05, "{red}");
        assert_eq!(
            (outputs.as_array().unwrap().len(), outputs[2][7].as_array().unwrap().len()),
            (3, 8)
        );
    }
}

#[test]
fn the_accept_header_chooses_the_answers_format() {
    let host = Host::of_reference("mlp");
    let raw = f32_bytes(&values());
    let get = |accept: &str| {
        host.send(
            "POST",
            "/invocations",
            &[("Content-Type", "application/octet-stream"), ("Accept", accept)],
            &raw,
        )
    };
    let bare = get("application/octet-stream");
    assert_eq!(
        bare.header("x-assay-outputs").map(|layout| layout.starts_with("output=float32[1,")),
        Some(true),
        "{}",
        bare.headers
    );
    let array = get("application/json;q=0.1, application/x-npy");
    assert_eq!(array.header("content-type"), Some("application/x-npy"));
    assert_eq!(floats(&array.body[array.body.len() - bare.body.len()..]), floats(&bare.body));
    let archive = get("application/x-npz");
    let mut read = zip::ZipArchive::new(Cursor::new(&archive.body)).unwrap();
    assert_eq!(read.by_index(0).unwrap().name().unwrap(), "output.npy");
    let json = get("application/json").json();
    let numbers: Vec<f64> =
        json["outputs"][0].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(
        numbers
            .iter()
            .zip(floats(&bare.body))
            .all(|(json, bare)| (json - f64::from(bare)).abs() < 1e-6)
    );
}

#[test]
fn several_inputs_and_outputs_go_by_name() {
    let host = Host::of_reference("multi");
    let body = br#"{"inputs": {"right": [[1, 1, 1, 1]], "left": [[1, 2, 3, 4]]}}"#;
    let answer = host.post("/invocations", "application/json", body);
    let outputs = &answer.json()["outputs"];
    assert_eq!(outputs["sum"].to_string(), "[[2.0,3.0,4.0,5.0]]", "{}", answer.text());
    assert_eq!(outputs["difference"].to_string(), "[[0.0,1.0,2.0,3.0]]");
    let npy_wanted = [("Content-Type", "application/json"), ("Accept", "application/x-npy")];
    let refused = host.send("POST", "/invocations", &npy_wanted, body);
    assert_eq!(refused.status, 406);
    assert!(refused.text().contains("application/x-npz"), "{}", refused.text());
}

#[test]
fn a_tuple_has_numbered_outputs() {
    let host = Host::of_reference("tuple");
    let outputs =
        host.post("/invocations", "application/json", b"[[1, 2, 3, 4]]").json()["outputs"].clone();
    assert_eq!(
        (outputs["output_0"].to_string(), outputs["output_1"].to_string()),
        ("[[2.0,3.0,4.0,5.0]]".to_owned(), "[10.0]".to_owned())
    );
}

#[test]
fn nan_outputs_are_answered_as_null_and_counted() {
    let host = Host::of_reference("faulty-nan");
    let answer = host.post("/invocations", "application/json", b"[[1, 2, 3, 4]]");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"outputs":[[null,null,null,null]]}"#)
    );
    let counted = host.counted("faulty-nan");
    assert_eq!((&counted["nan_outputs"], &counted["errors"]), (&4.into(), &0.into()));
}

/// A built-in model of which nothing is declared.
fn undeclared(name: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.pt");
    reference::write(name, &file).unwrap();
    Host::of(Arc::new(engine(&file, name, &[])))
}

#[test]
fn whole_numbers_without_a_declared_type_become_what_the_model_takes() {
    let linear = undeclared("mlp");
    let whole = format!("[{:?}]", [1; 64]);
    let fractional = whole.replace('1', "1.0");
    let line = &whole[1..whole.len() - 1];
    let csv = [1; 64].map(|one| one.to_string()).join(",");
    // Twice: found out by trying, and then remembered.
    let answers = [
        ("application/json", whole.as_str()),
        ("application/json", &whole),
        ("application/json", &fractional),
        ("application/jsonlines", line),
        ("text/csv", &csv),
    ]
    .map(|(content_type, body)| linear.post("/invocations", content_type, body.as_bytes()));
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), answers[2].json());
    }

    let embedding = undeclared("transformer");
    let tokens = [7; 128].map(|token| token.to_string()).join(",");
    let answers = [("application/json", format!("[[{tokens}]]")), ("text/csv", tokens)]
        .map(|(content_type, body)| embedding.post("/invocations", content_type, body.as_bytes()));
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json(), answers[0].json());
    }
    // What no type helps against is told of the numbers as they were written.
    let refused = embedding.post("/invocations", "application/json", b"[[-5]]");
    assert!(refused.status >= 400 && refused.text().contains("index"), "{}", refused.text());
}
