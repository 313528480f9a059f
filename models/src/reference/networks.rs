//! The networks, written with tch so that any number of rows may come in (sizes are never read back from
//! the input: tracing would make constants of them).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{
    Device, Kind, Tensor,
    nn::{self, Module as _, ModuleT, Path, VarStore},
};

use crate::torch::{
    Module, TorchError,
    trace::{TracedWeight, trace},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Resnet18,
    Resnet50,
    MobilenetV2,
    Mlp,
    Transformer,
}

type Forward = Box<dyn Fn(&Tensor) -> Tensor>;

const CLASSES: i64 = 1000;
const SEED: u64 = 2024;

impl Network {
    /// Builds the network with weights from the seed, and traces it.
    pub(super) fn traced(self, name: &str) -> Result<Module, TorchError> {
        let mut variables = VarStore::new(Device::Cpu);
        let forward = self.built(&variables.root());
        variables.freeze();
        let mut weights: Vec<TracedWeight> = variables
            .variables()
            .into_iter()
            .map(|(name, tensor)| TracedWeight {
                is_buffer: name.contains("running_"),
                name,
                tensor,
            })
            .collect();
        weights.sort_by(|one, other| one.name.cmp(&other.name));
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        weights.iter_mut().for_each(|weight| initialize(weight, &mut rng));
        let (input_name, input) = self.example();
        trace(name, &weights, (input_name, &input), &*forward)
    }

    fn built(self, root: &Path<'_>) -> Forward {
        match self {
            Self::Resnet18 => resnet(root, false, [2, 2, 2, 2]),
            Self::Resnet50 => resnet(root, true, [3, 4, 6, 3]),
            Self::MobilenetV2 => {
                let network = tch::vision::mobilenet::v2(root, CLASSES);
                Box::new(move |x| network.forward_t(x, false))
            }
            Self::Mlp => mlp(root),
            Self::Transformer => transformer(root),
        }
    }

    fn example(self) -> (&'static str, Tensor) {
        match self {
            Self::Resnet18 | Self::Resnet50 | Self::MobilenetV2 => {
                ("image", Tensor::zeros([1, 3, 224, 224], (Kind::Float, Device::Cpu)))
            }
            Self::Mlp => ("x", Tensor::zeros([1, 64], (Kind::Float, Device::Cpu))),
            Self::Transformer => ("tokens", Tensor::zeros([1, TOKENS], (Kind::Int64, Device::Cpu))),
        }
    }
}

/// Fills a weight from the generator, whose numbers are the same on every machine (libtorch's own differ
/// between processors). Uniform, as wide as keeps activations from growing or dying out.
fn initialize(weight: &mut TracedWeight, rng: &mut ChaCha8Rng) {
    let shape = weight.tensor.size();
    if weight.is_buffer || (shape.len() == 1 && weight.name.ends_with("weight")) {
        return set_constant(weight);
    }
    let inputs: i64 = shape.iter().skip(1).product();
    let gain = if shape.len() == 4 { 6.0f32 } else { 3.0 };
    let bound = if shape.len() == 1 { 0.05 } else { (gain / inputs as f32).sqrt() };
    let values: Vec<f32> =
        (0..weight.tensor.numel()).map(|_| rng.random_range(-bound..bound)).collect();
    weight.tensor.copy_(&Tensor::from_slice(&values).view(&shape[..]));
}

/// Norms start as the identity.
fn set_constant(weight: &mut TracedWeight) {
    let value = if weight.name.ends_with("running_mean") { 0.0 } else { 1.0 };
    let _same = weight.tensor.fill_(value);
}

fn mlp(root: &Path<'_>) -> Forward {
    let hidden = nn::linear(root / "hidden", 64, 64, nn::LinearConfig::default());
    let output = nn::linear(root / "output", 64, 10, nn::LinearConfig::default());
    Box::new(move |x| output.forward(&hidden.forward(x).relu()))
}

fn convolution(path: Path<'_>, inputs: i64, outputs: i64, size: i64, stride: i64) -> nn::Conv2D {
    let config =
        nn::ConvConfig { stride, padding: size / 2, bias: false, ..nn::ConvConfig::default() };
    nn::conv2d(path, inputs, outputs, size, config)
}

/// A convolution and its norm.
struct Normed(nn::Conv2D, nn::BatchNorm);

impl Normed {
    fn new(
        path: &Path<'_>,
        index: &str,
        (inputs, outputs): (i64, i64),
        size: i64,
        stride: i64,
    ) -> Self {
        Self(
            convolution(path / format!("conv{index}"), inputs, outputs, size, stride),
            nn::batch_norm2d(path / format!("bn{index}"), outputs, nn::BatchNormConfig::default()),
        )
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.1.forward_t(&self.0.forward(x), false)
    }
}

/// A residual block: convolutions with ReLU between, the shortcut added, ReLU.
struct Block {
    path: Vec<Normed>,
    shortcut: Option<Normed>,
}

impl Block {
    fn new(path: &Path<'_>, bottleneck: bool, inputs: i64, width: i64, stride: i64) -> Self {
        let outputs = if bottleneck { 4 * width } else { width };
        let convolutions = if bottleneck {
            vec![
                Normed::new(path, "1", (inputs, width), 1, 1),
                Normed::new(path, "2", (width, width), 3, stride),
                Normed::new(path, "3", (width, outputs), 1, 1),
            ]
        } else {
            vec![
                Normed::new(path, "1", (inputs, width), 3, stride),
                Normed::new(path, "2", (width, outputs), 3, 1),
            ]
        };
        let shortcut = (stride != 1 || inputs != outputs)
            .then(|| Normed::new(&(path / "downsample"), "", (inputs, outputs), 1, stride));
        Self { path: convolutions, shortcut }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut y = x.shallow_clone();
        for (index, convolution) in self.path.iter().enumerate() {
            y = convolution.forward(&y);
            if index + 1 < self.path.len() {
                y = y.relu();
            }
        }
        let shortcut = self
            .shortcut
            .as_ref()
            .map_or_else(|| x.shallow_clone(), |shortcut| shortcut.forward(x));
        (y + shortcut).relu()
    }
}

/// He et al. 2015, <https://arxiv.org/abs/1512.03385>, with the stride of a bottleneck in its 3×3
/// convolution, as torchvision has it.
fn resnet(root: &Path<'_>, bottleneck: bool, counts: [i64; 4]) -> Forward {
    let stem = Normed::new(root, "1", (3, 64), 7, 2);
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for (stage, count) in (0..).zip(counts) {
        let width = 64 << stage;
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let path = root / format!("layer{}", stage + 1) / index;
            blocks.push(Block::new(&path, bottleneck, inputs, width, stride));
            inputs = if bottleneck { 4 * width } else { width };
        }
    }
    let classifier = nn::linear(root / "fc", inputs, CLASSES, nn::LinearConfig::default());
    Box::new(move |x| {
        let x = stem.forward(x).relu().max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let x = blocks.iter().fold(x, |x, block| block.forward(&x));
        classifier.forward(&x.adaptive_avg_pool2d([1, 1]).flatten(1, -1))
    })
}

const TOKENS: i64 = 128;
const VOCABULARY: i64 = 1000;
const WIDTH: i64 = 128;
const HEADS: i64 = 4;
const LAYERS: i64 = 4;

/// One layer of an encoder, norms first.
struct EncoderLayer {
    norms: [nn::LayerNorm; 2],
    query_key_value: nn::Linear,
    projection: nn::Linear,
    feed_forward: [nn::Linear; 2],
}

impl EncoderLayer {
    fn new(path: &Path<'_>) -> Self {
        let norm = |name| nn::layer_norm(path / name, vec![WIDTH], nn::LayerNormConfig::default());
        let linear = |name, inputs, outputs| {
            nn::linear(path / name, inputs, outputs, nn::LinearConfig::default())
        };
        Self {
            norms: [norm("norm1"), norm("norm2")],
            query_key_value: linear("qkv", WIDTH, 3 * WIDTH),
            projection: linear("projection", WIDTH, WIDTH),
            feed_forward: [linear("up", WIDTH, 4 * WIDTH), linear("down", 4 * WIDTH, WIDTH)],
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let [before_attention, before_feed_forward] = &self.norms;
        let x = x + self.attention(&before_attention.forward(x));
        let [up, down] = &self.feed_forward;
        let y = down.forward(&up.forward(&before_feed_forward.forward(&x)).gelu("none"));
        x + y
    }

    fn attention(&self, x: &Tensor) -> Tensor {
        let parts = self.query_key_value.forward(x).chunk(3, -1);
        let heads = |part: &Tensor| part.view([-1, TOKENS, HEADS, WIDTH / HEADS]).transpose(1, 2);
        let [query, key, value] = [0, 1, 2].map(|index: usize| heads(&parts[index]));
        let scale = 1.0 / ((WIDTH / HEADS) as f64).sqrt();
        let weights = (query.matmul(&key.transpose(-2, -1)) * scale).softmax(-1, Kind::Float);
        let mixed = weights.to_kind(value.kind()).matmul(&value);
        self.projection.forward(&mixed.transpose(1, 2).reshape([-1, TOKENS, WIDTH]))
    }
}

fn transformer(root: &Path<'_>) -> Forward {
    let embedding =
        nn::embedding(root / "embedding", VOCABULARY, WIDTH, nn::EmbeddingConfig::default());
    let positions = root.var("positions", &[1, TOKENS, WIDTH], nn::Init::Const(0.0));
    let layers: Vec<EncoderLayer> =
        (0..LAYERS).map(|index| EncoderLayer::new(&(root / "layers" / index))).collect();
    let norm = nn::layer_norm(root / "norm", vec![WIDTH], nn::LayerNormConfig::default());
    let head = nn::linear(root / "head", WIDTH, 2, nn::LinearConfig::default());
    Box::new(move |tokens| {
        let x = embedding.forward(tokens) + &positions;
        let x = layers.iter().fold(x, |x, layer| layer.forward(&x));
        head.forward(&norm.forward(&x).mean_dim([1i64].as_slice(), false, None::<Kind>))
    })
}
