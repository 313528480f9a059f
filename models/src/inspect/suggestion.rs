//! What to give to a model whose author did not say: guesses from the weights that its arguments meet,
//! each tried before it is suggested.

use std::time::{Duration, Instant};

use assay_measure::{
    input_spec::{DType, InputSpec, InputSpecError},
    units,
};

use crate::{
    clock,
    sample::random_inputs,
    tensor::WireTensor,
    torch::{
        Module,
        description::{Argument, ArgumentKind, Description, FirstUse, dtype_by_torch_name},
    },
};

/// The usual side of a picture, and those of other well-known data sets and networks.
const IMAGE_SIDES: [u64; 5] = [224, 32, 28, 64, 299];
/// Tokens in a row, also where a table of positions has fewer places.
const SEQUENCES: [u64; 3] = [128, 64, 16];
/// More combinations are not tried.
const MOST_TRIES: usize = 24;
/// What all tries may take together.
const TRYING: Duration = Duration::from_secs(30);
/// What one may take of memory besides the model.
const MEMORY: units::Bytes = units::Bytes::gib(4);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// The model runs with these, one per required argument.
    Runs(Vec<InputSpec>),
    /// None of the guesses runs; this was the first one.
    NoneRuns(Vec<InputSpec>),
    /// An argument shows nothing of what it takes.
    Unknown,
}

impl Suggestion {
    /// Guesses, and tries the guesses. Call it while no other thread is at work.
    pub(super) fn find(module: &Module, description: &Description) -> Self {
        let Some(options) = options(description) else { return Self::Unknown };
        let mut first = None;
        let started = clock::now();
        for specs in combinations(&options).take(MOST_TRIES) {
            if runs(module, &specs, started) {
                return Self::Runs(specs);
            }
            first.get_or_insert(specs);
            if started.elapsed() >= TRYING {
                break;
            }
        }
        first.map_or(Self::Unknown, Self::NoneRuns)
    }

    /// The inputs that the model runs with.
    pub(super) fn inputs(&self) -> Option<&[InputSpec]> {
        match self {
            Self::Runs(specs) => Some(specs),
            Self::NoneRuns(_) | Self::Unknown => None,
        }
    }

    /// What an argument seems to be, in words; nothing where trying has shown that it is something else.
    pub(super) fn in_words(&self, description: &Description, argument: usize) -> Option<String> {
        let first_use = first_use(description, argument)?;
        let own = first_use.guesses(floats(description));
        let agrees = match self {
            Self::Unknown => !first_use.joined,
            Self::NoneRuns(_) => false,
            Self::Runs(specs) => {
                let place = required(description).position(|(index, _)| index == argument)?;
                let spec = specs.get(place)?;
                own.first().is_some_and(|(dtype, shape)| {
                    (*dtype, shape.len()) == (spec.dtype(), spec.shape().len())
                })
            }
        };
        agrees.then(|| first_use.in_words())?
    }
}

/// One tensor per required argument, of a shape that means nothing; none where an argument is no tensor.
pub(super) fn placeholders(description: &Description) -> Option<Vec<InputSpec>> {
    required(description)
        .map(|(_, argument)| {
            let tensor = argument.kind == ArgumentKind::Tensor;
            tensor.then(|| named(None, floats(description), vec![1, 8]).ok())?
        })
        .collect()
}

type Guess = (DType, Vec<u64>);

/// The guesses for one argument, likeliest first, and its name.
struct Options {
    name: Option<String>,
    guesses: Vec<Guess>,
}

/// Whether the model gives outputs, whatever they are, in what is left of the time.
fn runs(module: &Module, specs: &[InputSpec], started: Instant) -> bool {
    let tensors = random_inputs(specs);
    let given: Vec<Option<&WireTensor>> = tensors.iter().map(Some).collect();
    let left = TRYING.saturating_sub(started.elapsed());
    module
        .runs(&given, left, MEMORY)
        .inspect_err(|error| tracing::debug!(%error, "a guess cannot be tried"))
        .unwrap_or(false)
}

/// One list of guesses per required argument, or none if there is no guess for one of them.
fn options(description: &Description) -> Option<Vec<Options>> {
    let only = required(description).count() == 1;
    let floats = floats(description);
    let tokens = description.first_uses.iter().find(|first_use| first_use.takes_tokens());
    required(description)
        .map(|(index, argument)| {
            let guesses = match argument.kind {
                ArgumentKind::Tensor => {
                    tensor_guesses(first_use(description, index), tokens, floats)
                }
                ArgumentKind::Int => vec![(DType::Int64, Vec::new())],
                ArgumentKind::Float => vec![(DType::Float32, Vec::new())],
                ArgumentKind::Bool => vec![(DType::Bool, Vec::new())],
                ArgumentKind::List | ArgumentKind::Dict | ArgumentKind::Other => Vec::new(),
            };
            let name = (!only).then(|| argument.name.clone());
            (!guesses.is_empty()).then_some(Options { name, guesses })
        })
        .collect()
}

/// Beside tokens, an argument that is joined with other data before it meets weights of its own is
/// likely one thing per token, such as a mask.
fn tensor_guesses(
    first_use: Option<&FirstUse>,
    tokens: Option<&FirstUse>,
    floats: DType,
) -> Vec<Guess> {
    let own = first_use.map_or_else(Vec::new, |first_use| first_use.guesses(floats));
    let like_tokens = tokens.map_or_else(Vec::new, |tokens| tokens.guesses(floats));
    let joined = first_use.is_none_or(|first_use| first_use.joined);
    let (mut guesses, rest) = if joined { (like_tokens, own) } else { (own, like_tokens) };
    for guess in rest {
        if !guesses.contains(&guess) {
            guesses.push(guess);
        }
    }
    guesses
}

/// All first guesses, all second ones and so on, since arguments of one kind go together; then the rest.
fn combinations(options: &[Options]) -> impl Iterator<Item = Vec<InputSpec>> + '_ {
    let most = options.iter().map(|option| option.guesses.len()).max().unwrap_or(0);
    let together: Vec<Vec<usize>> = (0..most)
        .map(|place| options.iter().map(|option| place.min(option.guesses.len() - 1)).collect())
        .collect();
    let count =
        options.iter().fold(1_usize, |all, option| all.saturating_mul(option.guesses.len()));
    let mut places = together.clone();
    // A few of what may be very many.
    let rest = (0..count.min(MOST_TRIES * 2)).map(|number| digits(number, options));
    places.extend(rest.filter(|places| !together.contains(places)));
    places.into_iter().filter_map(|places| {
        let spec = |(option, place): (&Options, usize)| {
            let (dtype, shape) = option.guesses.get(place)?.clone();
            named(option.name.as_deref(), dtype, shape).ok()
        };
        options.iter().zip(places).map(spec).collect()
    })
}

/// A number whose digits count the guesses of each argument.
fn digits(mut number: usize, options: &[Options]) -> Vec<usize> {
    let digit = |option: &Options| {
        let place = number % option.guesses.len();
        number /= option.guesses.len();
        place
    };
    options.iter().map(digit).collect()
}

/// The name is left out where it is the only one, and where tracing made one that cannot be written.
fn named(name: Option<&str>, dtype: DType, shape: Vec<u64>) -> Result<InputSpec, InputSpecError> {
    let nameless = InputSpec::new(None, dtype, shape.clone());
    match name {
        None => nameless,
        Some(name) => InputSpec::new(Some(name.to_owned()), dtype, shape).or(nameless),
    }
}

fn required(description: &Description) -> impl Iterator<Item = (usize, &Argument)> {
    description.arguments.iter().enumerate().filter(|(_, argument)| !argument.optional)
}

/// The element type of the weights.
fn floats(description: &Description) -> DType {
    let known = description.parameter_types.keys().find_map(|name| dtype_by_torch_name(name));
    known.unwrap_or(DType::Float32)
}

fn first_use(description: &Description, argument: usize) -> Option<&FirstUse> {
    description.first_uses.iter().find(|first_use| first_use.argument == argument)
}

impl FirstUse {
    fn takes_tokens(&self) -> bool {
        self.operator == "aten::embedding"
    }

    /// Whether it seems to be a colour picture.
    pub(super) fn takes_colours(&self) -> bool {
        self.weight_shape.len() == 4
            && self.operator != "aten::linear"
            && self.operator != "aten::embedding"
            && self.weight_shape.get(1) == Some(&3)
    }

    /// The types and shapes that would fit these weights, likeliest first.
    fn guesses(&self, floats: DType) -> Vec<Guess> {
        let width = self.weight_shape.get(1).and_then(|&width| u64::try_from(width).ok());
        let Some(width) = width else { return Vec::new() };
        match (self.operator.as_str(), self.weight_shape.len()) {
            ("aten::embedding", _) => {
                SEQUENCES.map(|length| (DType::Int64, vec![1, length])).to_vec()
            }
            ("aten::linear", _) => rows(width).map(|shape| (floats, shape)).to_vec(),
            (_, 3) => SEQUENCES.map(|length| (floats, vec![1, width, length])).to_vec(),
            (_, 4) => IMAGE_SIDES.map(|side| (floats, vec![1, width, side, side])).to_vec(),
            _ => Vec::new(),
        }
    }

    fn in_words(&self) -> Option<String> {
        let width = self.weight_shape.get(1)?;
        let rows = self.weight_shape.first()?;
        match (self.operator.as_str(), self.weight_shape.len()) {
            ("aten::embedding", _) => Some(format!("integers below {rows}, such as tokens")),
            ("aten::linear", _) => Some(format!("rows of {width} features")),
            (_, 3) => Some(format!("sequences of {width} channels")),
            (_, 4) if *width == 3 => Some("colour pictures (3 channels, height, width)".to_owned()),
            (_, 4) => Some(format!("pictures of {width} channels")),
            _ => None,
        }
    }
}

/// What a linear layer of this width takes: a row, a sequence of rows, or maps whose mean it sees, with
/// and without a dimension for the batch.
fn rows(width: u64) -> [Vec<u64>; 4] {
    let [length, side] = [SEQUENCES[0], IMAGE_SIDES[0]];
    [vec![1, width], vec![1, length, width], vec![1, width, side, side], vec![width, side, side]]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(source: &str, arguments: &[(&str, &[i64])]) -> Suggestion {
        let module = Module::define("Guessed", source, &[]).unwrap();
        let mut description = module.describe().unwrap();
        description.parameter_types = BTreeMap::new();
        for (place, (operator, weight_shape)) in arguments.iter().enumerate() {
            description.first_uses.push(FirstUse {
                argument: place,
                operator: format!("aten::{operator}"),
                weight_shape: weight_shape.to_vec(),
                joined: false,
            });
        }
        crate::torch::set_intra_op_threads(1);
        Suggestion::find(&module, &description)
    }

    fn texts(suggestion: &Suggestion) -> Vec<String> {
        suggestion.inputs().unwrap_or_default().iter().map(InputSpec::to_string).collect()
    }

    #[test]
    fn what_does_not_run_is_not_suggested_and_the_next_guess_is() {
        let of_28 = "def forward(self, x: Tensor) -> Tensor:\n  return x.view([1, 784])\n";
        assert_eq!(texts(&found(of_28, &[("conv2d", &[8, 1, 3, 3])])), ["float32[1,1,28,28]"]);
        let mean =
            "def forward(self, image: Tensor) -> Tensor:\n  return image.mean([1, 2]).view([3])\n";
        assert_eq!(texts(&found(mean, &[("linear", &[2, 3])])), ["float32[3,224,224]"]);
        let never = "def forward(self, x: Tensor) -> Tensor:\n  return x.view([7, 11, 13])\n";
        let suggestion = found(never, &[("linear", &[2, 3])]);
        let first = vec!["float32[1,3]".parse().unwrap()];
        assert_eq!(suggestion, Suggestion::NoneRuns(first));
    }

    #[test]
    fn beside_tokens_an_argument_without_weights_of_its_own_is_one_thing_per_token() {
        let source = "def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:\n  return tokens.view([1, 16]) * mask.view([1, 16])\n";
        let suggestion = found(source, &[("embedding", &[100, 8])]);
        assert_eq!(texts(&suggestion), ["tokens=int64[1,16]", "mask=int64[1,16]"]);
        let nothing_known =
            "def forward(self, left: Tensor, right: Tensor) -> Tensor:\n  return left - right\n";
        assert_eq!(found(nothing_known, &[]), Suggestion::Unknown);
    }

    #[test]
    fn a_model_whose_outputs_cannot_be_sent_takes_its_inputs_all_the_same() {
        let source = "def forward(self, x: Tensor) -> str:\n  return 'cat'\n";
        assert_eq!(texts(&found(source, &[("linear", &[2, 3])])), ["float32[1,3]"]);
    }
}
