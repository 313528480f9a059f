use super::*;

fn inputs(text: &str) -> Vec<String> {
    let declared = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    declared.inputs.iter().map(ToString::to_string).collect()
}

#[test]
fn every_documented_notation_declares_the_same_input() {
    for text in [
        "[[1,3,256,256]]",
        "[1,3,256,256]",
        "[(1, 3, 256, 256)]",
        r#"[{"shape":[1,3,256,256]}]"#,
        r#"[{"shape": [[1,3,256,256], [1,3,160,160]], "default_shape": [1,3,256,256]}]"#,
        r#"{"shape": ["1..10", 3, 256, 256]}"#,
        r#"[{"shape": [-1, 3, None, null], "default_shape": [1, 3, 256, 256], "type": "Tensor"}]"#,
        "\n[ [1, 3, 256, 256,], ]\n",
    ] {
        assert_eq!(inputs(text), ["float32[1,3,256,256]"], "{text}");
    }
    for text in [
        r#"{"input0":[1,3,256,256]}"#,
        r#"{\"input0\":[1,3,256,256]}"#,
        "{'input0':[1,3,256,256]}",
        r#"{"input0": {"shape": [1,3,256,256]}}"#,
        r#"{"input0": {"shape": [[1,3,256,256], [1,3,160,160]]}}"#,
        r#"{"input0": {"shape": ["1..10",3,"128..512",256], "default_shape": [1,3,256,256]}}"#,
        r#"{"input0": {"shape": [1,3,256,256], "type": "Image", "bias": [-1,-1,-1], "scale": 0.0078}}"#,
        r#"[{"name": "input0", "shape": [1,3,256,256]}]"#,
    ] {
        assert_eq!(inputs(text), ["input0=float32[1,3,256,256]"], "{text}");
    }
}

#[test]
fn several_inputs_keep_their_order_names_and_types() {
    assert_eq!(inputs("[[1,3,224,224], [1,2]]"), ["float32[1,3,224,224]", "float32[1,2]"]);
    let dictionary = r#"{"var2": [1,1,28,28], "var1": [1,2]}"#;
    assert_eq!(inputs(dictionary), ["var2=float32[1,1,28,28]", "var1=float32[1,2]"]);
    let typed = r#"{"tokens": {"shape": [1,128], "dtype": "int64"}, "mask": [1,128]}"#;
    assert_eq!(inputs(typed), ["tokens=int64[1,128]", "mask=float32[1,128]"]);
    assert!(inputs("[]").is_empty() && inputs("{}").is_empty(), "XGBoost needs none");
}

#[test]
fn what_was_chosen_and_what_changes_nothing_is_told() {
    let remarks = |text: &str| parse(text).unwrap().remarks.join(" ");
    assert_eq!(remarks("[[1,4]]"), "");
    let ranged = remarks(r#"{"a": {"shape": ["2..10", 4]}}"#);
    assert_eq!(ranged, "a: without a default_shape [2, 4] is taken of what it allows.");
    assert!(remarks(r#"[{"shape": [[1,4],[2,4]]}]"#).contains("[1, 4] is taken"));
    let image = remarks(r#"[{"shape": [1,3,8,8], "type": "Image", "bias": [0,0,0], "scale": 1}]"#);
    assert!(image.contains("bias and scale"), "{image}");
    let foreign = parse(r#"{"input_tensor:0": [1,224,224,3]}"#).unwrap();
    assert_eq!(foreign.inputs[0].to_string(), "float32[1,224,224,3]");
    assert!(foreign.remarks[0].contains("its place counts"), "{:?}", foreign.remarks);
}

#[test]
fn what_is_not_understood_is_refused_with_the_place() {
    for (text, expected) in [
        ("[[0]]", "0 is no dimension"),
        ("[[1,-2]]", "-2 is no dimension"),
        ("[[1.5,4]]", "1.5 is no dimension"),
        ("[[true,4]]", "true is no dimension"),
        ("[[-1,4]]", "there is no default_shape"),
        ("[[\"10..1\",4]]", "\"10..1\" is no dimension"),
        ("[1,[2,3]]", "1 stands beside whole shapes"),
        ("\"1,64\"", "neither a list nor a dictionary"),
        ("1,64", "where the end is expected"),
        ("{", "it ends where a name in quotes is expected"),
        ("{\"a\": [1,2]", "it ends where a comma or \"}\" is expected"),
        ("{\"a\" [1,2]}", "where a colon is expected"),
        ("{\"a\": [1], \"a\": [2]}", "\"a\" stands there twice"),
        ("{\"a: [1]}", "is not closed"),
        ("{\"a\": {\"shape\": [1,2], \"layout\": \"NCHW\"}}", "a: there is no \"layout\""),
        ("{\"a\": {\"type\": \"Tensor\"}}", "a: it has no \"shape\""),
        ("{\"a\": {\"shape\": [1], \"type\": \"Sound\"}}", "Tensor or Image, not \"Sound\""),
        ("{\"a\": {\"shape\": [1], \"dtype\": \"float31\"}}", "float31"),
        (
            "{\"a\": {\"shape\": [\"1..10\",4], \"default_shape\": [11,4]}}",
            "none that the shape allows",
        ),
        (
            "{\"a\": {\"shape\": [[1,4],[2,4]], \"default_shape\": [3,4]}}",
            "none that the shape allows",
        ),
        ("{\"a\": {\"shape\": [1], \"default_shape\": [\"1..2\"]}}", "sizes only"),
        ("[[1,2,3,4,5,6,7,8,9]]", "0 to 8 dimensions"),
        ("[[[[[[[[[[[[1]]]]]]]]]]]]", "nested more than"),
        ("float32[1,4]", "where the end is expected"),
    ] {
        let refused = parse(text).expect_err(text).to_string();
        assert!(refused.contains(expected), "{text}: {refused}");
        assert!(refused.contains("Write it like [[1,3,224,224]]"), "{refused}");
    }
    let long = parse(&"[".repeat(16_384)).unwrap_err().to_string();
    assert!(long.len() < 500, "{long}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in r#"[\[\]{}()'",:.\\0-9a-z -]{0,60}"#) {
        drop(parse(&text));
    }
}
