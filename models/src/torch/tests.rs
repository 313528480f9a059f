use super::*;

fn floats(values: &[f32], shape: &[i64]) -> WireTensor {
    WireTensor {
        name: String::new(),
        dtype: DType::Float32,
        shape: shape.to_vec(),
        data: Bytes::copy_from_slice(bytemuck::cast_slice(values)),
    }
}

fn defined(source: &str) -> Module {
    Module::define("Test", source, &[]).unwrap()
}

fn values(tensor: &WireTensor) -> Vec<f32> {
    tensor.data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn a_call_returns_what_forward_computes() {
    let module = defined("def forward(self, x: Tensor) -> Tensor:\n  return x * 2 + 1\n");
    let outputs = module.call(&[Some(&floats(&[1.0, 2.0], &[2]))]).unwrap();
    assert_eq!((outputs[0].name.as_str(), &outputs[0].shape[..]), ("output", &[2][..]));
    assert_eq!(values(&outputs[0]), [3.0, 5.0]);
}

#[test]
fn only_the_useful_lines_of_an_exception_are_kept() {
    let module =
        defined("def forward(self, x: Tensor) -> Tensor:\n  assert False, 'the cup is empty'\n");
    let error = module.call(&[Some(&floats(&[1.0], &[1]))]).unwrap_err();
    assert_eq!(error, CallError::Raised("AssertionError: the cup is empty".to_owned()));

    let module = defined(
        "def forward(self, x: Tensor) -> Tensor:\n  return torch.matmul(x, torch.ones([3, 3]))\n",
    );
    let CallError::Raised(message) = module.call(&[Some(&floats(&[1.0; 4], &[2, 2]))]).unwrap_err()
    else {
        panic!()
    };
    assert!(message.starts_with("mat1 and mat2 shapes cannot be multiplied"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn a_module_that_writes_into_its_input_leaves_the_payload_alone() {
    let module = defined(
        "def forward(self, x: Tensor) -> Tensor:\n  y = x.view([-1])\n  y.add_(1)\n  return x\n",
    );
    assert!(module.describe().unwrap().writes_inputs);
    let input = floats(&[1.0, 2.0], &[2]);
    let outputs = module.call(&[Some(&input)]).unwrap();
    assert_eq!(values(&outputs[0]), [2.0, 3.0]);
    assert_eq!(values(&input), [1.0, 2.0]);
}

#[test]
fn a_misaligned_payload_is_read_all_the_same() {
    let module = defined("def forward(self, x: Tensor) -> Tensor:\n  return x + 1\n");
    let mut shifted = vec![0u8];
    shifted.extend_from_slice(bytemuck::cast_slice(&[1.0f32, 2.0]));
    let mut input = floats(&[1.0, 2.0], &[2]);
    input.data = Bytes::from(shifted).slice(1..);
    assert_eq!(values(&module.call(&[Some(&input)]).unwrap()[0]), [2.0, 3.0]);
}

#[test]
fn every_element_type_goes_in_and_comes_out_unchanged() {
    let module = defined("def forward(self, x: Tensor) -> Tensor:\n  return x.clone()\n");
    for &dtype in DType::ALL {
        let data =
            Bytes::from([1u8, 0, 0, 0, 0, 0, 0, 0].repeat(3)).slice(..3 * dtype.size_bytes());
        let input = WireTensor { name: String::new(), dtype, shape: vec![3, 1], data };
        let outputs = module.call(&[Some(&input)]).unwrap();
        assert_eq!(outputs[0], WireTensor { name: "output".to_owned(), ..input }, "{dtype}");
    }
}

#[test]
fn tuples_dicts_and_nests_are_flattened_with_names() {
    let names = |source: &str| -> Vec<String> {
        let outputs = defined(source).call(&[Some(&floats(&[1.0], &[1]))]).unwrap();
        outputs.into_iter().map(|output| output.name).collect()
    };
    assert_eq!(
        names("def forward(self, x: Tensor):\n  return (x, x + 1)\n"),
        ["output_0", "output_1"]
    );
    assert_eq!(names("def forward(self, x: Tensor):\n  return ((x, x), [x, x])\n").len(), 4);
    assert_eq!(
        names("def forward(self, x: Tensor):\n  return {'logits': x, 'mask': x}\n"),
        ["logits", "mask"]
    );
    assert_eq!(
        names("def forward(self, x: Tensor):\n  return (x, {'a': x})\n"),
        ["output_0", "1_a"]
    );
    assert_eq!(names("def forward(self, x: Tensor):\n  return (x, 3, 0.5, True)\n").len(), 4);
}

#[test]
fn outputs_whose_ways_join_to_one_name_get_names_of_their_own() {
    let names = |returned: &str| -> Vec<String> {
        let source = format!("def forward(self, x: Tensor):\n  return {returned}\n");
        let outputs = defined(&source).call(&[Some(&floats(&[1.0], &[1]))]).unwrap();
        outputs.into_iter().map(|output| output.name).collect()
    };
    assert_eq!(names("{'a': {'b_c': x}, 'a_b': {'c': x}}"), ["a_b_c", "a_b_c_2"]);
    assert_eq!(names("({'0': x}, {'x': x, '1_x': x})"), ["0_0", "1_x", "1_1_x"]);
    // The number that would be next is taken: also by one that comes later.
    assert_eq!(
        names("{'a': {'b': x, 'b_2': x}, 'a_b': {'': x}, 'a_b_': {'': x}}"),
        ["a_b", "a_b_2", "a_b_", "a_b__"]
    );
    assert_eq!(
        names("{'a': {'b_c': x}, 'a_b': {'c': x}, 'a_b_c': {'2': x}}"),
        ["a_b_c", "a_b_c_3", "a_b_c_2"]
    );
}

#[test]
fn an_element_type_that_cannot_be_sent_is_named() {
    for (returned, word) in [
        ("torch.complex(x, x)", "complex64"),
        ("x.to(27)", "uint16"),
        ("torch.complex(x.to(7), x.to(7))", "complex128"),
    ] {
        let source = format!("def forward(self, x: Tensor) -> Tensor:\n  return {returned}\n");
        let error = defined(&source).call(&[Some(&floats(&[1.0], &[1]))]).unwrap_err();
        let expected =
            format!("output \"output\" has the element type {word}, which cannot be sent");
        assert_eq!(error, CallError::Unsendable(expected));
    }
}

#[test]
fn a_model_that_wants_a_gpu_by_name_is_told_in_a_line() {
    let module = defined(
        "def forward(self, x: Tensor) -> Tensor:\n  return x + torch.ones([1], device='cuda:0')\n",
    );
    let error = module.call(&[Some(&floats(&[1.0], &[1]))]).unwrap_err();
    let CallError::Raised(message) = error else { panic!("{error:?}") };
    assert!(message.starts_with("the model's code asks for a CUDA device by name"), "{message}");
    assert!(message.ends_with("it runs on the CPU here"), "{message}");
}

#[test]
fn a_module_without_forward_tells_its_methods_and_is_refused_when_called() {
    let module = defined("def predict(self, x: Tensor) -> Tensor:\n  return x\n");
    let description = module.describe().unwrap();
    assert!(!description.has_forward && description.methods == ["predict"], "{description:?}");
    let input = floats(&[1.0], &[1]);
    let without = CallError::Raised("the module has no forward()".to_owned());
    assert_eq!(module.call(&[Some(&input)]), Err(without.clone()));
    assert_eq!(module.run_in_a_loop(&[Some(&input)], 1, Duration::ZERO), Err(without));
    assert!(Module::define("Empty", "", &[]).unwrap().describe().unwrap().methods.is_empty());
}

#[test]
fn what_a_model_does_when_it_is_tried_stays_in_that_process() {
    let tried = |source: &str, seconds: u64| {
        let input = floats(&[1.0], &[1]);
        let module = defined(&format!("def forward(self, x: Tensor) -> Tensor:\n{source}"));
        module.runs(&[Some(&input)], Duration::from_secs(seconds), units::Bytes::mib(64)).unwrap()
    };
    assert!(tried("  return x + 1\n", 20));
    assert!(!tried("  return x.view([7])\n", 20));
    assert!(!tried("  return torch.ones([1000, 1000, 1000])\n", 20), "four gigabytes");
    assert!(!tried("  while bool((x < 2).all()):\n    x = x * 1\n  return x\n", 1), "for ever");
    let crash = "  y = torch.as_strided(x, [1], [1], 1000000000000)\n  return y + 1\n";
    tried(crash, 20);
}

#[test]
fn an_output_that_is_no_tensor_is_an_error_that_says_so() {
    let module = defined("def forward(self, x: Tensor) -> str:\n  return 'cat'\n");
    let error = module.call(&[Some(&floats(&[1.0], &[1]))]).unwrap_err();
    assert_eq!(
        error,
        CallError::Unsendable("the model returns a String, which is not a tensor".to_owned())
    );
}

#[test]
fn lists_dicts_numbers_and_defaults_can_be_given() {
    let list = defined("def forward(self, xs: List[Tensor]) -> Tensor:\n  return xs[0] - xs[1]\n");
    let (three, one) = (floats(&[3.0], &[1]), floats(&[1.0], &[1]));
    assert_eq!(values(&list.call(&[Some(&three), Some(&one)]).unwrap()[0]), [2.0]);

    let dict = defined(
        "def forward(self, xs: Dict[str, Tensor]) -> Tensor:\n  return xs['a'] - xs['b']\n",
    );
    let named =
        |tensor: &WireTensor, name: &str| WireTensor { name: name.to_owned(), ..tensor.clone() };
    let outputs = dict.call(&[Some(&named(&one, "b")), Some(&named(&three, "a"))]).unwrap();
    assert_eq!(values(&outputs[0]), [2.0]);

    let numbers = defined(
        "def forward(self, x: Tensor, n: int = 5, f: float = 0.5) -> Tensor:\n  return x * n * f\n",
    );
    let two = WireTensor {
        dtype: DType::Int64,
        data: Bytes::copy_from_slice(&2i64.to_le_bytes()),
        ..one.clone()
    };
    assert_eq!(values(&numbers.call(&[Some(&three), Some(&two)]).unwrap()[0]), [3.0]);
    assert_eq!(values(&numbers.call(&[Some(&three), None, Some(&one)]).unwrap()[0]), [15.0]);
    let many = floats(&[1.0, 2.0], &[2]);
    let error = numbers.call(&[Some(&three), Some(&many)]).unwrap_err();
    assert!(matches!(&error, CallError::Refused(m) if m.contains("single number")), "{error:?}");
}

#[test]
fn the_share_of_a_payload_is_given_back_after_the_call() {
    let module = defined("def forward(self, x: Tensor) -> Tensor:\n  return x.view([-1])\n");
    let data = Bytes::from(vec![0u8; 4096]);
    let input = WireTensor {
        name: String::new(),
        dtype: DType::Float32,
        shape: vec![1024],
        data: data.clone(),
    };
    module.call(&[Some(&input)]).unwrap();
    drop(input);
    assert!(data.is_unique(), "the share that libtorch held was not given back");
}

#[test]
fn a_share_is_given_back_even_when_an_earlier_input_is_refused() {
    let module = defined("def forward(self, n: int, x: Tensor) -> Tensor:\n  return x\n");
    let data = Bytes::from(vec![0u8; 8]);
    let input = WireTensor {
        name: String::new(),
        dtype: DType::Float32,
        shape: vec![2],
        data: data.clone(),
    };
    assert!(module.call(&[Some(&input), Some(&input)]).is_err());
    drop(input);
    assert!(data.is_unique());
}

#[test]
fn reduced_precision_stays_inside() {
    let source = "def forward(self, x: Tensor) -> Tensor:\n  return torch.matmul(x, x)\n";
    for precision in [Precision::Bfloat16, Precision::Float16] {
        let mut module = defined(source);
        module.prepare(Device::Cpu, precision, Graph::Plain).unwrap();
        let output =
            module.call(&[Some(&floats(&[1.0, 1e-3, 0.0, 1.0], &[2, 2]))]).unwrap().remove(0);
        assert_eq!(output.dtype, DType::Float32);
        assert!((values(&output)[1] - 2e-3).abs() > 1e-8, "computed in {precision}");
        assert!((values(&output)[1] - 2e-3).abs() < 1e-4);
    }
}

#[test]
fn a_signature_is_described() {
    let module = defined(
        "def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:\n  return x * scale\n",
    );
    let description = module.describe().unwrap();
    assert!(description.has_forward && !description.writes_inputs);
    assert_eq!(description.arguments.len(), 2);
    assert_eq!(description.arguments[0].kind, ArgumentKind::Tensor);
    assert!(description.arguments[1].optional);
    assert_eq!(description.returns, ["Tensor"]);
}
