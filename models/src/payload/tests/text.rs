//! JSON and CSV bodies.

use super::*;

fn json(body: &str, declared: &[&str]) -> Vec<WireTensor> {
    decode_with(ContentType::Json, body.to_owned(), declared).unwrap()
}

fn json_message(body: &str, declared: &[&str]) -> String {
    message(ContentType::Json, body.to_owned(), declared)
}

#[test]
fn nested_arrays_are_a_tensor_bare_or_wrapped() {
    for body in [
        "[[1, 2, 3], [4, 5, 6]]",
        r#"{"inputs": [[1,2,3],[4,5,6]]}"#,
        r#"{"id": "x", "instances": [[1,2,3],[4,5,6]], "parameters": {"k": ["v"]}}"#,
    ] {
        let tensors = json(body, &["float32[2,3]"]);
        assert_eq!(tensors.len(), 1);
        assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("", &[2, 3][..]));
        assert_eq!(floats(&tensors[0]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}

#[test]
fn named_arrays_are_several_inputs_each_with_its_own_type() {
    for body in [
        r#"{"inputs": {"mask": [true], "tokens": [[1, 2]]}}"#,
        r#"{"mask": [true], "tokens": [[1, 2]]}"#,
    ] {
        let tensors = json(body, &["tokens=int64[1,2]", "mask=bool[1]"]);
        assert_eq!(
            tensors.iter().map(|t| (t.name.as_str(), t.dtype)).collect::<Vec<_>>(),
            [("mask", DType::Bool), ("tokens", DType::Int64)]
        );
    }
}

#[test]
fn without_a_declared_type_numbers_become_what_torch_would_make_of_them() {
    assert_eq!(json("[1, 2]", &[])[0].dtype, DType::Int64);
    assert_eq!(json("[1, 2.5]", &[])[0].dtype, DType::Float32);
    assert_eq!(json("[true, false]", &[])[0].dtype, DType::Bool);
    let scalar = json(r#"{"inputs": 3.5}"#, &[]).remove(0);
    assert_eq!((scalar.dtype, scalar.shape.len()), (DType::Float32, 0));
}

#[test]
fn ragged_arrays_are_refused_with_the_path() {
    let cases = [
        ("[[1, 2], [3]]", "[1] has 1 elements, the arrays before it have 2"),
        ("[[1, 2], 3]", "a number stands at [1], where other rows have an array"),
        ("[1, [2]]", "an array stands at [1], where other rows have a number"),
        (r#"{"inputs": {"x": [[[1], [2]], [[3], [4, 5]]]}}"#, "x[1][1] has 2 elements"),
        ("[[], [[]]]", "ragged"),
    ];
    for (body, expected) in cases {
        let message = json_message(body, &[]);
        assert!(message.contains(expected) && message.contains("at line 1"), "{body}: {message}");
    }
}

#[test]
fn tokens_that_are_not_json_are_named() {
    for token in ["NaN", "-Infinity", "Infinity"] {
        let message = json_message(&format!("[[1.0,\n {token}]]"), &[]);
        assert!(
            message.contains(&format!("{token} is not JSON")) && message.contains("line 2"),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_number_is_refused_with_its_place() {
    let cases = [
        ("[1, null]", "null stands at [1]"),
        (r#"[[1], ["a"]]"#, r#"the text "a" stands at [1][0]"#),
        (r#"{"inputs": [{"x": 1}]}"#, "an object stands at inputs[0]"),
        ("{}", "names no array"),
        (r#"{"x": [1], "x": [2]}"#, "given twice"),
        (r#"{"inputs": [1], "y": [2]}"#, "name all arrays or none"),
        ("[[[[[[[[[1]]]]]]]]]", "more than 8 deep"),
        ("[1] 2", "trailing"),
        ("[1e999]", "out of range"),
    ];
    for (body, expected) in cases {
        let message = json_message(body, &[]);
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[test]
fn a_number_that_does_not_fit_the_declared_type_is_refused_with_its_place() {
    assert_eq!(
        json_message("[[1, 2.5]]", &["int64[1,2]"]),
        "2.5 at [0][1] cannot be int64: it is no integer (or too large for one)"
    );
    assert!(
        json_message("[300]", &["uint8[1]"])
            .contains("300 at [0] cannot be uint8: it is out of range")
    );
    assert!(json_message("[1e300]", &["float32[1]"]).contains("out of range"));
    assert!(json_message("[2]", &["bool[1]"]).contains("neither true, false"));
}

#[test]
fn a_json_body_with_more_numbers_than_the_limit_is_refused() {
    let settings = DecodeSettings { limit_bytes: 1600, ..DecodeSettings::default() };
    let body = format!("[{}1]", "1,".repeat(200));
    assert!(decode(ContentType::Json, &body.into(), &[], &settings).is_err());
}

proptest! {
    #[test]
    fn floats_survive_json(rows in 1usize..4, columns in 1usize..5, values in proptest::collection::vec(-1e30f32..1e30, 20)) {
        let nested: Vec<&[f32]> = values.chunks(columns).take(rows).collect();
        let tensors = json(&serde_json::to_string(&nested).unwrap(), &["float32[1]"]);
        prop_assert_eq!(&tensors[0].shape, &vec![i64::try_from(rows).unwrap(), i64::try_from(columns).unwrap()]);
        prop_assert_eq!(floats(&tensors[0]), &values[..rows * columns]);
    }

    #[test]
    fn integers_survive_json(values in proptest::collection::vec(any::<i64>(), 1..20)) {
        prop_assert_eq!(integers(&json(&serde_json::to_string(&values).unwrap(), &["int64[1]"])[0]), values);
    }
}

fn csv(body: &str, declared: &[&str]) -> WireTensor {
    decode_with(ContentType::Csv, body.to_owned(), declared).unwrap().remove(0)
}

#[test]
fn csv_rows_are_items() {
    let tensor = csv("1, 2,3\r\n4,5,6\r\n", &[]);
    assert_eq!(
        (tensor.shape.clone(), floats(&tensor)),
        (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    );
    assert_eq!(csv("1,2,3,4\n5,6,7,8\n", &["float32[1,2,2]"]).shape, [2, 2, 2]);
    assert_eq!(csv("1,2,3,4\n", &["float32[4]"]).shape, [4]);
    assert_eq!(csv("1,2\n3,4\n", &["float32[1,1,2,2]"]).shape, [1, 1, 2, 2]);
    assert_eq!(integers(&csv("7\n", &["int64[1,1]"])), [7]);
}

#[test]
fn a_bad_cell_is_refused_with_row_and_column() {
    let message_of =
        |body: &str, declared: &str| message(ContentType::Csv, body.to_owned(), &[declared]);
    assert_eq!(
        message_of("1,2\n3,x\n", "float32[2,2]"),
        "\"x\" in row 2, column 2 cannot be float32: it is no number"
    );
    assert!(message_of("width,height\n1,2\n", "float32[1,2]").contains("no header row"));
    assert!(
        message_of("1,2\n3\n", "float32[2,2]")
            .contains("in row 2: it has 1 columns, the first row has 2")
    );
    assert!(message_of("1.5\n", "int64[1,1]").contains("cannot be int64"));
}

#[test]
fn the_lines_of_a_jsonlines_body_are_the_rows_of_a_batch() {
    let lines = "[1, 2]\n\n[3, 4]\r\n[5, 6]";
    let tensor = decode_with(ContentType::JsonLines, lines, &[]).unwrap().remove(0);
    assert_eq!((tensor.dtype, tensor.shape.as_slice()), (DType::Int64, &[3, 2][..]));
    assert_eq!(integers(&tensor), [1, 2, 3, 4, 5, 6]);
    let tensor = decode_with(ContentType::JsonLines, lines, &["float32[1,2]"]).unwrap().remove(0);
    assert_eq!(floats(&tensor), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Lines with as many dimensions as the input are batches themselves.
    let batches = "[[1, 2]]\n[[3, 4], [5, 6]]\n";
    let tensor = decode_with(ContentType::JsonLines, batches, &["int64[1,2]"]).unwrap().remove(0);
    assert_eq!(tensor.shape, [3, 2]);
    let named = "{\"a\": [1], \"b\": 0.5}\n{\"b\": 1.5, \"a\": [2]}";
    let tensors = decode_with(ContentType::JsonLines, named, &[]).unwrap();
    assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("a", &[2, 1][..]));
    assert_eq!((tensors[1].name.as_str(), floats(&tensors[1])), ("b", vec![0.5, 1.5]));
}

#[test]
fn a_line_that_does_not_fit_those_before_it_is_named() {
    for (body, why) in [
        ("[1, 2]\n[3]", "in line 2"),
        ("[1, 2]\n\nnot JSON", "in line 3"),
        ("{\"a\": [1]}\n{\"b\": [1]}", "no array \"b\""),
        ("{\"a\": [1]}\n{\"a\": [1], \"b\": [1]}", "2 arrays"),
        ("\n \n", "no lines"),
    ] {
        let error = message(ContentType::JsonLines, body, &[]);
        assert!(error.contains(why), "{body:?}: {error}");
    }
}
