//! What a TorchScript module says about itself, as the shim prints it.

use std::{collections::BTreeMap, str::FromStr};

use assay_measure::input_spec::DType;
use serde::Deserialize;

/// What a module says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Description {
    /// The qualified name of its class.
    pub class: String,
    pub parameters: u64,
    pub buffers: u64,
    /// Elements per element type, by libtorch's name of it (`Float`, `BFloat16`).
    pub parameter_types: BTreeMap<String, u64>,
    /// Whether there is a `forward`.
    pub has_forward: bool,
    pub methods: Vec<String>,
    /// Whether `forward` may write into its inputs, which are then copied first.
    pub writes_inputs: bool,
    /// The arguments of `forward` without `self`.
    pub arguments: Vec<Argument>,
    /// The types that `forward` returns.
    pub returns: Vec<String>,
    /// Where arguments first meet weights, which shows what shape they have.
    pub first_uses: Vec<FirstUse>,
}

impl Description {
    /// `forward(x: Tensor, scale: float = …) -> Tensor`
    pub(crate) fn signature(&self) -> String {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|a| format!("{}: {}{}", a.name, a.type_name, if a.optional { " = …" } else { "" }))
            .collect();
        format!("forward({}) -> {}", arguments.join(", "), self.returns.join(", "))
    }
}

/// One argument of `forward`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Argument {
    pub name: String,
    /// Its TorchScript type, as written.
    #[serde(rename = "type")]
    pub type_name: String,
    pub kind: ArgumentKind,
    /// Whether it has a default value.
    pub optional: bool,
}

/// What can be given for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ArgumentKind {
    Tensor,
    /// An integer; a tensor of one element serves.
    Int,
    /// A float; a tensor of one element serves.
    Float,
    /// A truth value; a tensor of one element serves.
    Bool,
    /// A list of tensors: takes all inputs when it is the only argument.
    List,
    /// A dict from names to tensors: takes all inputs when it is the only argument.
    Dict,
    /// Anything else, which no payload can fill.
    Other,
}

/// The first operator with weights that an argument reaches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct FirstUse {
    pub argument: usize,
    /// The operator, such as `aten::conv2d`.
    pub operator: String,
    pub weight_shape: Vec<i64>,
    /// Whether other arguments have a part in what reaches it.
    pub joined: bool,
}

/// The element type by libtorch's name of it, such as `BFloat16`.
pub(crate) fn dtype_by_torch_name(name: &str) -> Option<DType> {
    match name {
        "Float" => Some(DType::Float32),
        "Double" => Some(DType::Float64),
        "Half" => Some(DType::Float16),
        "Long" => Some(DType::Int64),
        "Int" => Some(DType::Int32),
        "Short" => Some(DType::Int16),
        "Char" => Some(DType::Int8),
        "Byte" => Some(DType::Uint8),
        _ => DType::from_str(&name.to_lowercase()).ok(),
    }
}

/// The element type in NumPy's words, by libtorch's name of it: `complex64` for `ComplexFloat`.
pub(crate) fn type_word(name: &str) -> String {
    match name {
        "ComplexHalf" => "complex32".to_owned(),
        "ComplexFloat" => "complex64".to_owned(),
        "ComplexDouble" => "complex128".to_owned(),
        _ => {
            dtype_by_torch_name(name).map_or_else(|| name.to_lowercase(), |dtype| dtype.to_string())
        }
    }
}
