use assay_measure::input_spec::DType;

use super::*;

fn argument(name: &str, kind: ArgumentKind, optional: bool) -> Argument {
    Argument { name: name.to_owned(), type_name: format!("{kind:?}"), kind, optional }
}

fn tensor(name: &str, dtype: DType, shape: &[i64]) -> WireTensor {
    let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
    let data = vec![0u8; count * dtype.size_bytes()].into();
    WireTensor { name: name.to_owned(), dtype, shape: shape.to_vec(), data }
}

fn specs(texts: &[&str]) -> Vec<InputSpec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn two() -> Signature {
    let arguments = [
        argument("left", ArgumentKind::Tensor, false),
        argument("right", ArgumentKind::Tensor, false),
    ];
    Signature::new(&arguments, &specs(&["float32[1,2]", "int64[1]"])).unwrap()
}

#[test]
fn inputs_go_by_name_when_the_names_are_those_of_arguments() {
    let right_first =
        vec![tensor("right", DType::Int64, &[1]), tensor("left", DType::Float32, &[1, 2])];
    let placed = two().fit(right_first).unwrap();
    assert_eq!(placed[0].as_ref().unwrap().name, "left");
    let nameless = vec![tensor("", DType::Float32, &[1, 2]), tensor("", DType::Int64, &[1])];
    assert!(two().fit(nameless).is_ok());
    let foreign =
        vec![tensor("INPUT0", DType::Float32, &[1, 2]), tensor("INPUT1", DType::Int64, &[1])];
    assert!(two().fit(foreign).is_ok());
}

#[test]
fn a_wrong_count_or_name_is_refused_with_what_is_expected() {
    let message = two().fit(vec![tensor("", DType::Float32, &[1, 2])]).unwrap_err();
    assert_eq!(message, "forward() takes 2 inputs (left, right), got 1 input");
    let half_known =
        vec![tensor("left", DType::Float32, &[1, 2]), tensor("rihgt", DType::Int64, &[1])];
    let message = two().fit(half_known).unwrap_err();
    assert!(message.starts_with("no input is called \"rihgt\""), "{message}");
    let twice =
        vec![tensor("left", DType::Float32, &[1, 2]), tensor("left", DType::Float32, &[1, 2])];
    assert_eq!(two().fit(twice).unwrap_err(), "input \"left\" is given twice");
}

#[test]
fn a_declared_type_and_shape_bind_except_for_the_first_dimension() {
    let image = Signature::new(
        &[argument("x", ArgumentKind::Tensor, false)],
        &specs(&["float32[1,3,8,8]"]),
    )
    .unwrap();
    assert!(image.fit(vec![tensor("x", DType::Float32, &[5, 3, 8, 8])]).is_ok());
    let message = image.fit(vec![tensor("", DType::Float32, &[1, 4, 8, 8])]).unwrap_err();
    assert_eq!(message, "input \"x\" must be float32[*,3,8,8], got float32[1,4,8,8]");
    let message = image.fit(vec![tensor("", DType::Float64, &[1, 3, 8, 8])]).unwrap_err();
    assert_eq!(message, "input \"x\" must be float32, got float64[1,3,8,8]");
    assert!(image.fit(vec![tensor("", DType::Float32, &[3, 8, 8])]).is_err());
}

#[test]
fn data_that_does_not_fill_its_shape_is_refused() {
    let mut short = tensor("x", DType::Float32, &[2]);
    short.data = short.data.slice(..7);
    let any = Signature::new(&[argument("x", ArgumentKind::Tensor, false)], &[]).unwrap();
    assert!(any.fit(vec![short]).unwrap_err().contains("7 bytes"));
    let negative = WireTensor { shape: vec![-1], ..tensor("x", DType::Float32, &[1]) };
    assert!(any.fit(vec![negative]).is_err());
}

#[test]
fn optional_arguments_may_be_left_out() {
    let arguments = [
        argument("x", ArgumentKind::Tensor, false),
        argument("mask", ArgumentKind::Tensor, true),
        argument("scale", ArgumentKind::Float, true),
    ];
    let signature = Signature::new(&arguments, &[]).unwrap();
    assert_eq!(signature.fit(vec![tensor("", DType::Float32, &[1])]).unwrap().len(), 1);
    let named = vec![tensor("x", DType::Float32, &[1]), tensor("scale", DType::Float32, &[1])];
    let placed = signature.fit(named).unwrap();
    assert!(placed[1].is_none() && placed[2].is_some());
    let missing = vec![tensor("mask", DType::Float32, &[1])];
    assert_eq!(signature.fit(missing).unwrap_err(), "input \"x\" is missing");
}

#[test]
fn arguments_that_no_payload_can_fill_and_false_declarations_are_refused() {
    let odd = [argument("vocabulary", ArgumentKind::Other, false)];
    assert!(Signature::new(&odd, &[]).unwrap_err().contains("vocabulary"));
    let one = [argument("x", ArgumentKind::Tensor, false)];
    assert!(
        Signature::new(&one, &specs(&["float32[1]", "float32[1]"]))
            .unwrap_err()
            .contains("2 inputs declared")
    );
    let pair =
        [argument("x", ArgumentKind::Tensor, false), argument("y", ArgumentKind::Tensor, false)];
    assert!(
        Signature::new(&pair, &specs(&["x=float32[1]"]))
            .unwrap_err()
            .contains("\"y\" is not declared")
    );
    assert!(
        Signature::new(&pair, &specs(&["x=float32[1]", "x=float32[1]"]))
            .unwrap_err()
            .contains("twice")
    );
}

#[test]
fn a_declared_name_serves_for_an_argument_that_tracing_named() {
    let traced = [argument("x.1", ArgumentKind::Tensor, false)];
    let signature = Signature::new(&traced, &specs(&["tokens=int64[1,4]"])).unwrap();
    assert_eq!(signature.inputs()[0].name, "tokens");
}

#[test]
fn a_dict_of_tensors_takes_every_named_input() {
    let dict =
        Signature::new(&[argument("xs", ArgumentKind::Dict, false)], &specs(&["a=float32[1]"]))
            .unwrap();
    assert!(
        dict.fit(vec![tensor("a", DType::Float32, &[1]), tensor("b", DType::Int64, &[7])]).is_ok()
    );
    assert!(dict.fit(vec![tensor("", DType::Float32, &[1])]).unwrap_err().contains("has no name"));
    assert!(dict.fit(vec![tensor("a", DType::Int64, &[1])]).is_err());
    assert!(dict.fit(vec![]).is_err());
}
