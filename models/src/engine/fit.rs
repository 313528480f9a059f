//! Whether the tensors of a request fit `forward`, and which goes where. Pure.
//!
//! What was declared binds: element type, rank and every dimension but the first, which is free so
//! that clients may batch. What was not declared is left for the model to judge.

use assay_measure::input_spec::InputSpec;

use super::{InputFacts, batch::Inputs};
use crate::{
    tensor::{WireTensor, notation},
    torch::description::{Argument, ArgumentKind},
};

/// The inputs of a model, as requests are checked against.
#[derive(Debug)]
pub(super) struct Signature {
    inputs: Vec<InputFacts>,
    /// All tensors go into one list or dict.
    collects: Option<ArgumentKind>,
}

impl Signature {
    /// Joins what `forward` says with what was declared.
    pub(super) fn new(arguments: &[Argument], declared: &[InputSpec]) -> Result<Self, String> {
        if let [Argument { kind: kind @ (ArgumentKind::List | ArgumentKind::Dict), .. }] = arguments
        {
            let nameless = declared.iter().any(|spec| spec.name().is_none());
            if *kind == ArgumentKind::Dict && nameless {
                let all = "forward() takes a dict of tensors, so every declared input needs a name";
                return Err(all.to_owned());
            }
            let inputs = declared.iter().zip(0..).map(|(spec, index)| declared_facts(spec, index));
            return Ok(Self { inputs: inputs.collect(), collects: Some(*kind) });
        }
        if let Some(argument) = arguments.iter().find(|a| !a.optional && !fillable(a.kind)) {
            return Err(format!(
                "argument {:?} of forward() is a {}, which no payload can fill",
                argument.name, argument.type_name
            ));
        }
        let mut inputs: Vec<InputFacts> = arguments
            .iter()
            .map(|a| InputFacts {
                name: a.name.clone(),
                dtype: None,
                shape: None,
                optional: a.optional,
            })
            .collect();
        declare(&mut inputs, declared)?;
        Ok(Self { inputs, collects: None })
    }

    pub(super) fn inputs(&self) -> &[InputFacts] {
        &self.inputs
    }

    /// Puts the tensors in the order of the arguments.
    pub(super) fn fit(&self, tensors: Vec<WireTensor>) -> Result<Inputs, String> {
        if let Some(bad) = tensors.iter().find(|tensor| !tensor.is_whole()) {
            return Err(format!(
                "{} has {} bytes of data, which is not its shape",
                label(bad),
                bad.data.len()
            ));
        }
        if let Some(kind) = self.collects {
            return self.fit_collected(tensors, kind);
        }
        let required = self.inputs.iter().filter(|input| !input.optional).count();
        if tensors.len() < required || tensors.len() > self.inputs.len() {
            return Err(format!(
                "forward() takes {}, got {}",
                self.expectation(),
                counted(tensors.len())
            ));
        }
        let placed = if self.are_named(&tensors)? {
            self.by_name(tensors)?
        } else {
            tensors.into_iter().map(Some).collect()
        };
        for (tensor, input) in placed.iter().zip(&self.inputs) {
            match tensor {
                Some(tensor) => check_declared(tensor, input)?,
                None if input.optional => {}
                None => return Err(format!("input {:?} is missing", input.name)),
            }
        }
        Ok(placed)
    }

    fn fit_collected(
        &self,
        tensors: Vec<WireTensor>,
        kind: ArgumentKind,
    ) -> Result<Inputs, String> {
        if tensors.is_empty() {
            return Err("forward() takes tensors, got none".to_owned());
        }
        if kind == ArgumentKind::Dict
            && let Some(nameless) = tensors.iter().find(|tensor| tensor.name.is_empty())
        {
            return Err(format!(
                "forward() takes a dict of tensors, and {} has no name",
                label(nameless)
            ));
        }
        for (index, tensor) in tensors.iter().enumerate() {
            let declared = if kind == ArgumentKind::Dict {
                self.inputs.iter().find(|input| input.name == tensor.name)
            } else {
                self.inputs.get(index)
            };
            if let Some(input) = declared {
                check_declared(tensor, input)?;
            }
        }
        Ok(tensors.into_iter().map(Some).collect())
    }

    /// Whether the tensors are to be matched by name: when any carries the name of an argument, and there
    /// are several arguments to choose from.
    fn are_named(&self, tensors: &[WireTensor]) -> Result<bool, String> {
        let known = |tensor: &WireTensor| self.inputs.iter().any(|input| input.name == tensor.name);
        if !tensors.iter().any(known) {
            return Ok(false);
        }
        match tensors.iter().find(|tensor| !known(tensor)) {
            Some(stranger) if self.inputs.len() > 1 => Err(format!(
                "no input is called {:?}; forward() takes {}",
                stranger.name,
                self.expectation()
            )),
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }

    fn by_name(&self, tensors: Vec<WireTensor>) -> Result<Inputs, String> {
        let mut placed: Inputs = self.inputs.iter().map(|_| None).collect();
        for tensor in tensors {
            let place = self.inputs.iter().position(|input| input.name == tensor.name);
            match place.and_then(|index| placed.get_mut(index)) {
                Some(empty @ None) => *empty = Some(tensor),
                Some(Some(_)) => return Err(format!("input {:?} is given twice", tensor.name)),
                None => return Err(format!("no input is called {:?}", tensor.name)),
            }
        }
        // Arguments at the end that were left out need not be passed at all.
        while placed.last().is_some_and(Option::is_none) && placed.len() > self.required_prefix() {
            placed.pop();
        }
        Ok(placed)
    }

    fn required_prefix(&self) -> usize {
        self.inputs.iter().rposition(|input| !input.optional).map_or(0, |last| last + 1)
    }

    fn expectation(&self) -> String {
        let names: Vec<String> = self
            .inputs
            .iter()
            .map(
                |input| {
                    if input.optional { format!("[{}]", input.name) } else { input.name.clone() }
                },
            )
            .collect();
        format!("{} ({})", counted(self.inputs.len()), names.join(", "))
    }
}

fn fillable(kind: ArgumentKind) -> bool {
    matches!(
        kind,
        ArgumentKind::Tensor | ArgumentKind::Int | ArgumentKind::Float | ArgumentKind::Bool
    )
}

fn declared_facts(spec: &InputSpec, index: usize) -> InputFacts {
    InputFacts {
        name: spec.name().map_or_else(|| format!("input_{index}"), str::to_owned),
        dtype: Some(spec.dtype()),
        shape: Some(free_first(spec)),
        optional: false,
    }
}

fn free_first(spec: &InputSpec) -> Vec<i64> {
    let mut shape: Vec<i64> =
        spec.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
    if let Some(first) = shape.first_mut() {
        *first = -1;
    }
    shape
}

/// Puts declared types and shapes to the arguments: by name where the names are those of arguments, by
/// position otherwise (traced modules often have arguments called `x.1`; then the declared names serve).
fn declare(inputs: &mut [InputFacts], declared: &[InputSpec]) -> Result<(), String> {
    if declared.len() > inputs.len() {
        return Err(format!(
            "{} declared, but forward() takes {}",
            counted(declared.len()),
            counted(inputs.len())
        ));
    }
    let by_name = declared
        .iter()
        .all(|spec| spec.name().is_some_and(|name| inputs.iter().any(|i| i.name == name)));
    for (index, spec) in declared.iter().enumerate() {
        let place = if by_name {
            inputs.iter().position(|i| Some(i.name.as_str()) == spec.name())
        } else {
            Some(index)
        };
        let Some(input) = place.and_then(|index| inputs.get_mut(index)) else { continue };
        if input.dtype.is_some() {
            return Err(format!("input {:?} is declared twice", input.name));
        }
        input.dtype = Some(spec.dtype());
        input.shape = Some(free_first(spec));
        if let Some(name) = spec.name() {
            input.name = name.to_owned();
        }
    }
    match inputs
        .iter()
        .find(|input| !declared.is_empty() && !input.optional && input.dtype.is_none())
    {
        Some(missing) => Err(format!(
            "forward() takes {}, but input {:?} is not declared",
            counted(inputs.len()),
            missing.name
        )),
        None => Ok(()),
    }
}

fn check_declared(tensor: &WireTensor, input: &InputFacts) -> Result<(), String> {
    if let Some(dtype) = input.dtype
        && dtype != tensor.dtype
    {
        return Err(format!("input {:?} must be {dtype}, got {}", input.name, label(tensor)));
    }
    let Some(shape) = &input.shape else { return Ok(()) };
    let fits = shape.len() == tensor.shape.len()
        && shape
            .iter()
            .zip(&tensor.shape)
            .all(|(&declared, &given)| declared == -1 || declared == given);
    if fits {
        return Ok(());
    }
    let declared = notation(input.dtype.unwrap_or(tensor.dtype), shape, "*");
    Err(format!("input {:?} must be {declared}, got {}", input.name, label(tensor)))
}

/// `float32[1,4,224,224]`, or `image=float32[1,4,224,224]`.
fn label(tensor: &WireTensor) -> String {
    let name = if tensor.name.is_empty() { String::new() } else { format!("{}=", tensor.name) };
    name + &tensor.kind()
}

fn counted(inputs: usize) -> String {
    if inputs == 1 { "1 input".to_owned() } else { format!("{inputs} inputs") }
}

#[cfg(test)]
mod tests;
