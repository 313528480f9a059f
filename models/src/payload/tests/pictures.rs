//! JPEG and PNG bodies.

use image::{ImageFormat, Rgb, RgbImage};

use super::*;

pub(super) fn encoded(format: ContentType, width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([u8::try_from(x % 256).unwrap(), u8::try_from(y % 256).unwrap(), 90])
    });
    encode(&picture, format)
}

fn encode(picture: &RgbImage, format: ContentType) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let kind = if format == ContentType::Png { ImageFormat::Png } else { ImageFormat::Jpeg };
    picture.write_to(&mut bytes, kind).unwrap();
    bytes.into_inner()
}

fn settings(side: u32, crop: u32) -> DecodeSettings {
    let image = ImageSettings {
        resize_shorter_side: side,
        crop_width: crop,
        crop_height: crop,
        ..ImageSettings::default()
    };
    DecodeSettings { image, ..DecodeSettings::default() }
}

#[test]
fn a_picture_of_one_colour_is_normalized_channel_by_channel() {
    let red = encode(&RgbImage::from_pixel(40, 20, Rgb([255, 0, 128])), ContentType::Png);
    let tensor = decode(ContentType::Png, &red.into(), &[], &settings(16, 8)).unwrap().remove(0);
    assert_eq!((tensor.dtype, tensor.shape.as_slice()), (DType::Float32, &[1, 3, 8, 8][..]));
    let values = floats(&tensor);
    let expected = [(1.0 - 0.485) / 0.229, (0.0 - 0.456) / 0.224, (128.0 / 255.0 - 0.406) / 0.225];
    for (channel, expected) in values.chunks(64).zip(expected) {
        assert!(
            channel.iter().all(|value| (value - expected).abs() < 1e-5),
            "{channel:?} is not {expected}"
        );
    }
}

#[test]
fn the_centre_is_kept() {
    // A white square in the middle of black, exactly the crop.
    let mut picture = RgbImage::new(12, 8);
    for (x, y) in (4..8).flat_map(|x| (2..6).map(move |y| (x, y))) {
        picture.put_pixel(x, y, Rgb([255; 3]));
    }
    let tensor =
        decode(ContentType::Png, &encode(&picture, ContentType::Png).into(), &[], &settings(8, 4))
            .unwrap()
            .remove(0);
    assert!(floats(&tensor)[..16].iter().all(|value| (value - (1.0 - 0.485) / 0.229).abs() < 1e-5));
}

#[test]
fn a_declared_size_sets_the_crop() {
    let defaults = ImageSettings::default();
    let of = |declared: &str| defaults.for_input(expected(&[declared]).first());
    assert_eq!(of("float32[1,3,224,224]"), defaults);
    assert_eq!(
        (of("float32[1,3,299,299]").resize_shorter_side, of("float32[1,3,299,299]").crop_width),
        (342, 299)
    );
    assert_eq!((of("float32[3,32,48]").crop_height, of("float32[3,32,48]").crop_width), (32, 48));
    let tensor =
        decode_with(ContentType::Jpeg, encoded(ContentType::Jpeg, 70, 50), &["float32[1,3,32,48]"])
            .unwrap()
            .remove(0);
    assert_eq!(tensor.shape, [1, 3, 32, 48]);
}

#[test]
fn a_jpeg_decodes_close_to_its_png() {
    let picture = RgbImage::from_fn(64, 64, |x, y| {
        Rgb([u8::try_from(x * 3).unwrap(), u8::try_from(y * 3).unwrap(), 90])
    });
    let of = |format| {
        floats(
            &decode(format, &encode(&picture, format).into(), &[], &settings(32, 16)).unwrap()[0],
        )
    };
    let (jpeg, png) = (of(ContentType::Jpeg), of(ContentType::Png));
    assert!(jpeg.iter().zip(&png).all(|(a, b)| (a - b).abs() < 0.3));
}

#[test]
fn a_picture_with_too_many_pixels_is_refused_before_it_is_unpacked() {
    let mut limited = settings(16, 8);
    limited.image.max_pixels = 1000;
    for format in [ContentType::Png, ContentType::Jpeg] {
        let error =
            decode(format, &encoded(format, 60, 50).into(), &[], &limited).unwrap_err().to_string();
        assert!(error.contains("3000 pixels (60x50)") && error.contains("1000 pixels"), "{error}");
    }
}

#[test]
fn a_long_thin_picture_cannot_grow_without_bound() {
    let error = message(ContentType::Png, encoded(ContentType::Png, 4000, 1), &[]);
    assert!(error.contains("pixels (1024000x256)"), "{error}");
}

#[test]
fn a_truncated_or_mislabelled_picture_is_refused() {
    let png = encoded(ContentType::Png, 50, 50);
    assert!(message(ContentType::Png, png[..60].to_vec(), &[]).contains("in the picture"));
    assert!(
        message(ContentType::Jpeg, png, &[])
            .contains("image/jpeg body is malformed in the picture")
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert_eq!(ImageSettings::default().check(), Ok(()));
    assert!(matches!(settings(100, 224).image.check(), Err(ImageSettingsError::Crop { .. })));
    let flat = ImageSettings { std: [0.0; 3], ..ImageSettings::default() };
    assert_eq!(flat.check(), Err(ImageSettingsError::Normalization));
    assert!(ImageSettings { crop_width: 0, ..ImageSettings::default() }.check().is_err());
}
