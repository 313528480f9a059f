//! How a picture lies in the tensor that a model wants: which dimension is what, how many channels, which
//! element type.
//!
//! A declared shape decides. With four dimensions the first is the batch; with three there is none. Channels
//! come first (`[1,3,224,224]`, `[3,224,224]`) or last (`[1,224,224,3]`), and are three (RGB) or one (grey);
//! where both readings are possible (`[1,3,224,3]`) they come first. Two dimensions are a grey picture's
//! height and width. A free dimension leaves the size to the settings. Without a declaration it is
//! `[1,3,height,width]`.

use assay_measure::input_spec::DType;
use bytes::Bytes;
use half::{bf16, f16};
use image::RgbImage;

use super::{ContentType, ExpectedInput, ImageSettings, PayloadError};
use crate::tensor::{byte_length, notation};

/// The largest side of a picture that a model may want.
const LARGEST_SIDE: i64 = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channels {
    Rgb,
    Grey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// All of red, then all of green, then all of blue.
    ChannelsFirst,
    ChannelsLast,
    NoChannels,
}

/// Where a picture's numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    dtype: DType,
    channels: Channels,
    order: Order,
    has_batch: bool,
    /// Height and width, where they were declared.
    pub(super) height: Option<u32>,
    pub(super) width: Option<u32>,
}

impl Layout {
    /// What an input wants; [`PayloadError::WrongSize`] when no picture is like that.
    pub(super) fn of(
        format: ContentType,
        input: Option<&ExpectedInput>,
    ) -> Result<Self, PayloadError> {
        let dtype = input.and_then(|input| input.dtype).unwrap_or(DType::Float32);
        let mut shape = input.and_then(|input| input.shape.clone()).unwrap_or(vec![1, 3, -1, -1]);
        if let (Some(first), Some(declared)) =
            (shape.first_mut(), input.and_then(|input| input.declared_first))
        {
            *first = declared;
        }
        let unfit = |reason: &str| PayloadError::WrongSize {
            format,
            declared: notation(dtype, &shape, "?"),
            reason: reason.to_owned(),
        };
        if matches!(dtype, DType::Bool | DType::Int8) {
            return Err(unfit("its elements cannot hold the 256 steps of a picture"));
        }
        let (has_batch, dims) = match shape.as_slice() {
            [_, dims @ ..] if dims.len() == 3 => (true, dims),
            dims @ ([_, _] | [_, _, _]) => (false, dims),
            _ => return Err(unfit(FITTING)),
        };
        let (order, channels, [height, width]) = read(dims).ok_or_else(|| unfit(FITTING))?;
        let side = |length: i64| match length {
            -1 => Ok(None),
            1..=LARGEST_SIDE => Ok(u32::try_from(length).ok()),
            _ => Err(unfit("a picture's sides are 1 to 16384 pixels")),
        };
        Ok(Self { dtype, channels, order, has_batch, height: side(height)?, width: side(width)? })
    }

    /// The tensor's element type, shape and data for the part of a picture that is kept.
    pub(super) fn lay_out(
        &self,
        picture: &RgbImage,
        left: u32,
        top: u32,
        settings: &ImageSettings,
    ) -> (DType, Vec<i64>, Bytes) {
        let (width, height) = (settings.crop_width, settings.crop_height);
        let cut = Cut { picture, left, top, width, height };
        let levels = match self.channels {
            Channels::Rgb => cut.colours(),
            Channels::Grey => cut.grey(),
        };
        let channels = self.channel_count();
        let levels =
            if self.order == Order::ChannelsFirst { in_planes(&levels, channels) } else { levels };
        let pixels = width as usize * height as usize;
        let channel_of = |index: usize| match self.order {
            Order::ChannelsFirst => index / pixels,
            Order::ChannelsLast | Order::NoChannels => index % channels,
        };
        let scales: Vec<(f32, f32)> = (0..channels).map(|c| self.scale(settings, c)).collect();
        let normalized = levels.iter().enumerate().map(|(index, &level)| {
            let (factor, offset) = scales[channel_of(index)];
            f32::from(level) * factor - offset
        });
        let data = match self.dtype {
            DType::Float32 => Bytes::from_owner(Floats(normalized.collect())),
            DType::Float64 => normalized.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
            DType::Float16 => normalized.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
            DType::Bfloat16 => normalized.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
            DType::Int64 => levels.iter().flat_map(|&v| i64::from(v).to_le_bytes()).collect(),
            DType::Int32 => levels.iter().flat_map(|&v| i32::from(v).to_le_bytes()).collect(),
            DType::Int16 => levels.iter().flat_map(|&v| i16::from(v).to_le_bytes()).collect(),
            // The others were refused.
            DType::Uint8 | DType::Int8 | DType::Bool => levels.into(),
        };
        let shape = self.shape(i64::from(height), i64::from(width));
        debug_assert_eq!(byte_length(self.dtype, &shape), Some(data.len()));
        (self.dtype, shape, data)
    }

    const fn channel_count(&self) -> usize {
        match self.channels {
            Channels::Rgb => 3,
            Channels::Grey => 1,
        }
    }

    /// What a level of 0–255 is multiplied by, and what is taken off then. Grey is scaled by the means of
    /// the three colours' mean and deviation.
    fn scale(&self, settings: &ImageSettings, channel: usize) -> (f32, f32) {
        let ImageSettings { mean, std, .. } = settings;
        let (mean, std) = match self.channels {
            Channels::Rgb => (mean[channel], std[channel]),
            Channels::Grey => (mean.iter().sum::<f32>() / 3.0, std.iter().sum::<f32>() / 3.0),
        };
        (1.0 / (255.0 * std), mean / std)
    }

    fn shape(&self, height: i64, width: i64) -> Vec<i64> {
        let channels = if self.channels == Channels::Rgb { 3 } else { 1 };
        let picture = match self.order {
            Order::ChannelsFirst => vec![channels, height, width],
            Order::ChannelsLast => vec![height, width, channels],
            Order::NoChannels => vec![height, width],
        };
        if self.has_batch { [vec![1], picture].concat() } else { picture }
    }
}

const FITTING: &str = "a picture is [1,3,height,width], [1,height,width,3], the same with one channel, \
                       without the batch, or [height,width]";

/// Reads the dimensions of one picture: the order, the channels, height and width.
fn read(dims: &[i64]) -> Option<(Order, Channels, [i64; 2])> {
    let channels = |length: i64| match length {
        3 => Some(Channels::Rgb),
        1 => Some(Channels::Grey),
        _ => None,
    };
    match *dims {
        // One row would be a table of numbers rather than a picture.
        [height, width] if height > 1 && width != 1 => {
            Some((Order::NoChannels, Channels::Grey, [height, width]))
        }
        [first, middle, last] => {
            if let Some(channels) = channels(first) {
                Some((Order::ChannelsFirst, channels, [middle, last]))
            } else if let Some(channels) = channels(last) {
                Some((Order::ChannelsLast, channels, [first, middle]))
            } else {
                let free = first == -1;
                free.then_some((Order::ChannelsFirst, Channels::Rgb, [middle, last]))
            }
        }
        _ => None,
    }
}

/// The part of a picture that is kept.
struct Cut<'a> {
    picture: &'a RgbImage,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Cut<'_> {
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let (left, width) = (self.left as usize * 3, self.width as usize * 3);
        let row_bytes = self.picture.width() as usize * 3;
        let rows = self.picture.as_raw().chunks_exact(row_bytes);
        rows.skip(self.top as usize)
            .take(self.height as usize)
            .map(move |row| &row[left..left + width])
    }

    /// Red, green and blue of each pixel.
    fn colours(&self) -> Vec<u8> {
        self.rows().flatten().copied().collect()
    }

    /// The brightness of each pixel, weighted as ITU-R BT.601 does and so as Pillow's mode `L`.
    fn grey(&self) -> Vec<u8> {
        let weighted = |pixel: &[u8]| {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            let sum = red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000;
            u8::try_from(sum >> 16).unwrap_or(u8::MAX)
        };
        self.rows().flat_map(|row| row.chunks_exact(3).map(weighted)).collect()
    }
}

/// From pixel by pixel to channel by channel.
fn in_planes(levels: &[u8], channels: usize) -> Vec<u8> {
    if channels == 1 {
        return levels.to_vec();
    }
    (0..channels)
        .flat_map(|channel| levels.iter().skip(channel).step_by(channels))
        .copied()
        .collect()
}

/// Lets the tensor's data be the very memory that was computed into.
struct Floats(Vec<f32>);

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
