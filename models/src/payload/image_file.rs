//! `image/jpeg`, `image/png`, `image/webp` and `image/bmp`, and any of them as `application/x-image`: the usual
//! preprocessing of image classifiers.
//!
//! The shorter side is resized (bilinear with antialiasing, as torchvision does it on pictures), the
//! centre cropped, colours taken as RGB or grey as the input wants (`image_layout`), scaled to 0–1 and
//! normalized per channel; integer inputs take the levels 0–255 as they are. An orientation noted in the file's metadata is not applied, and
//! transparency is dropped, as torchvision's loader does.

use std::{fmt, io::Cursor};

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, imageops};
use serde::Serialize;
use thiserror::Error;

use super::{ContentType, ExpectedInput, PayloadError, image_layout::Layout};
use crate::tensor::WireTensor;

/// How a picture becomes a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageSettings {
    /// The shorter side is resized to this many pixels.
    pub resize_shorter_side: u32,
    /// Width of the centre that is kept; an input declared with another size takes its own.
    pub crop_width: u32,
    /// Height of the centre that is kept.
    pub crop_height: u32,
    /// Subtracted from red, green and blue after scaling to 0–1.
    pub mean: [f32; 3],
    /// Divides red, green and blue after the mean was subtracted.
    pub std: [f32; 3],
    /// The largest picture that is decoded: a small file can hold a huge one.
    pub max_pixels: u64,
}

impl Default for ImageSettings {
    /// What models trained on ImageNet expect.
    fn default() -> Self {
        Self {
            resize_shorter_side: 256,
            crop_width: 224,
            crop_height: 224,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            max_pixels: 50_000_000,
        }
    }
}

impl fmt::Display for ImageSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resize_shorter_side,
            crop_width,
            crop_height,
            mean: [r, g, b],
            std: [sr, sg, sb],
            max_pixels,
        } = self;
        write!(
            f,
            "shorter side to {resize_shorter_side} (bilinear), centre {crop_width}x{crop_height}, RGB / 255, \
             mean {r},{g},{b}, std {sr},{sg},{sb}, at most {max_pixels} pixels"
        )
    }
}

/// Settings for pictures contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageSettingsError {
    #[error(
        "the centre of {width}x{height} does not fit into a picture whose shorter side is {side}"
    )]
    Crop { width: u32, height: u32, side: u32 },
    #[error("picture sizes must be 1 to 16384, not {0}")]
    Size(u32),
    #[error("mean and std must be finite, and std above 0")]
    Normalization,
}

impl ImageSettings {
    /// Checks that the settings fit together.
    pub fn check(&self) -> Result<(), ImageSettingsError> {
        let Self { resize_shorter_side: side, crop_width: width, crop_height: height, .. } = *self;
        if let Some(size) =
            [side, width, height].into_iter().find(|size| !(1..=16384).contains(size))
        {
            return Err(ImageSettingsError::Size(size));
        }
        if width.max(height) > side {
            return Err(ImageSettingsError::Crop { width, height, side });
        }
        let usable = self.mean.iter().all(|v| v.is_finite())
            && self.std.iter().all(|v| v.is_finite() && *v > 0.0);
        if usable { Ok(()) } else { Err(ImageSettingsError::Normalization) }
    }

    /// These settings for an input: a declared size sets the crop, and the shorter side keeps its
    /// proportion to it.
    pub(super) fn sized(&self, layout: &Layout) -> Self {
        let crop_height = layout.height.unwrap_or(self.crop_height);
        let crop_width = layout.width.unwrap_or(self.crop_width);
        if (crop_width, crop_height) == (self.crop_width, self.crop_height) {
            return self.clone();
        }
        let proportion = f64::from(self.resize_shorter_side)
            / f64::from(self.crop_width.max(self.crop_height).max(1));
        let side = f64::from(crop_width.max(crop_height)) * proportion;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both factors are at most 16384"
        )]
        let resize_shorter_side = (side.round() as u32).max(crop_width).max(crop_height);
        Self { resize_shorter_side, crop_width, crop_height, ..self.clone() }
    }
}

pub(super) fn decode(
    format: ContentType,
    body: &Bytes,
    expected: Option<&ExpectedInput>,
    settings: &ImageSettings,
) -> Result<WireTensor, PayloadError> {
    let layout = Layout::of(format, expected)?;
    let settings = settings.sized(&layout);
    let picture = read_picture(format, body, settings.max_pixels)?;
    let picture = resize(format, picture, &settings)?;
    let left = (picture.width() - settings.crop_width).div_ceil(2);
    let top = (picture.height() - settings.crop_height).div_ceil(2);
    let (dtype, shape, data) = layout.lay_out(&picture, left, top, &settings);
    Ok(WireTensor { name: String::new(), dtype, shape, data })
}

/// What a body of this content type is encoded as; `application/x-image` leaves that to the first bytes.
fn encoding(format: ContentType, body: &[u8]) -> Result<ImageFormat, PayloadError> {
    let named = ImageFormat::from_mime_type(format.as_str());
    let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp];
    let guessed = || image::guess_format(body).ok().filter(|kind| known.contains(kind));
    named.or_else(guessed).ok_or_else(|| {
        let reason = "they are none of JPEG, PNG, WebP and BMP";
        PayloadError::malformed(format, "in its first bytes", reason)
    })
}

fn read_picture(
    format: ContentType,
    body: &Bytes,
    max_pixels: u64,
) -> Result<RgbImage, PayloadError> {
    let malformed = |error: image::ImageError| {
        PayloadError::malformed(format, "in the picture", error.to_string())
    };
    let kind = encoding(format, body)?;
    let mut reader = ImageReader::with_format(Cursor::new(body.as_ref()), kind);
    let mut limits = Limits::default();
    // 16-bit RGBA is the widest: eight bytes per pixel.
    limits.max_alloc = Some(max_pixels.saturating_mul(8));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(malformed)?;
    let (width, height) = decoder.dimensions();
    check_pixels(format, width, height, max_pixels)?;
    Ok(DynamicImage::from_decoder(decoder).map_err(malformed)?.into_rgb8())
}

fn check_pixels(
    format: ContentType,
    width: u32,
    height: u32,
    max_pixels: u64,
) -> Result<(), PayloadError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels <= max_pixels {
        return Ok(());
    }
    let size = format!("{pixels} pixels ({width}x{height})");
    Err(PayloadError::TooLarge { format, size, limit: format!("{max_pixels} pixels") })
}

fn resize(
    format: ContentType,
    picture: RgbImage,
    settings: &ImageSettings,
) -> Result<RgbImage, PayloadError> {
    let (width, height) = picture.dimensions();
    let shorter = width.min(height);
    if shorter == 0 {
        return Err(PayloadError::malformed(format, "in the picture", "it has no pixels"));
    }
    let side = settings.resize_shorter_side;
    if shorter == side {
        return Ok(picture);
    }
    let scaled = |length: u32| {
        u32::try_from(u64::from(length) * u64::from(side) / u64::from(shorter)).unwrap_or(u32::MAX)
    };
    let (new_width, new_height) = (scaled(width), scaled(height));
    // A long thin picture grows by its longer side.
    check_pixels(
        format,
        new_width,
        new_height,
        settings.max_pixels.max(u64::from(side) * u64::from(side)),
    )?;
    Ok(imageops::resize(&picture, new_width, new_height, imageops::FilterType::Triangle))
}
