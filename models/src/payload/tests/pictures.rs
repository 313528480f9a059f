//! Pictures of every encoding, and how they lie in the tensor.

use image::{ImageFormat, Rgb, RgbImage};

use super::*;
use crate::payload::{image_file::ImageSettingsError, image_layout::Layout};

pub(super) fn encoded(format: ContentType, width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([u8::try_from(x % 256).unwrap(), u8::try_from(y % 256).unwrap(), 90])
    });
    encode(&picture, format)
}

fn encode(picture: &RgbImage, format: ContentType) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let kinds = [
        (ContentType::Jpeg, ImageFormat::Jpeg),
        (ContentType::Png, ImageFormat::Png),
        (ContentType::WebP, ImageFormat::WebP),
        (ContentType::Bmp, ImageFormat::Bmp),
    ];
    let (_, kind) = kinds.into_iter().find(|(known, _)| *known == format).unwrap();
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
    let of = |declared: &str| {
        let layout = Layout::of(ContentType::Image, expected(&[declared]).first()).unwrap();
        defaults.sized(&layout)
    };
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

/// A picture of one colour, as the tensor that a declared input gets.
fn of_one_colour(declared: &str) -> WireTensor {
    let picture = encode(&RgbImage::from_pixel(40, 40, Rgb([255, 0, 128])), ContentType::Png);
    decode_with(ContentType::Image, picture, &[declared]).unwrap().remove(0)
}

#[test]
fn the_declared_shape_says_where_channels_and_batch_are() {
    for (declared, shape) in [
        ("uint8[1,3,2,4]", &[1, 3, 2, 4][..]),
        ("uint8[3,2,4]", &[3, 2, 4]),
        // One picture is a batch of one.
        ("uint8[8,3,2,4]", &[1, 3, 2, 4]),
    ] {
        let tensor = of_one_colour(declared);
        assert_eq!(tensor.shape, shape, "{declared}");
        let planes = [[255; 8], [0; 8], [128; 8]].concat();
        assert_eq!(&tensor.data[..], planes, "{declared}");
    }
    for (declared, shape) in [("uint8[1,2,4,3]", &[1, 2, 4, 3][..]), ("uint8[2,4,3]", &[2, 4, 3])] {
        let tensor = of_one_colour(declared);
        assert_eq!(
            (&tensor.data[..], tensor.shape.as_slice()),
            (&[255, 0, 128].repeat(8)[..], shape)
        );
    }
    // 0.299 of red and 0.114 of 128.
    for declared in ["uint8[1,1,2,4]", "uint8[1,2,4]", "uint8[2,4]", "uint8[1,2,4,1]"] {
        let tensor = of_one_colour(declared);
        let rank = declared.split(',').count();
        assert_eq!((&tensor.data[..], tensor.shape.len()), (&[91; 8][..], rank), "{declared}");
    }
    // Either reading is possible: channels come first.
    assert_eq!(of_one_colour("uint8[1,3,4,3]").data[..12], [255; 12]);
}

#[test]
fn elements_are_normalized_for_float_inputs_and_levels_for_integer_ones() {
    let red = (1.0_f32 - 0.485) / 0.229;
    let data = of_one_colour("float16[1,3,2,2]").data;
    let half = half::f16::from_le_bytes([data[0], data[1]]);
    assert!((half.to_f32() - red).abs() < 1e-2, "{half}");
    let data = of_one_colour("float64[1,3,2,2]").data;
    let double = f64::from_le_bytes(data[..8].try_into().unwrap());
    assert!((double - f64::from(red)).abs() < 1e-5, "{double}");
    assert_eq!(integers(&of_one_colour("int64[2,2,3]"))[..3], [255, 0, 128]);
    let grey = floats(&of_one_colour("float32[1,1,2,2]"))[0];
    let mean = (0.485 + 0.456 + 0.406) / 3.0;
    let deviation = (0.229 + 0.224 + 0.225) / 3.0;
    assert!((grey - (91.0 / 255.0 - mean) / deviation).abs() < 1e-4, "{grey}");
}

#[test]
fn a_shape_that_no_picture_has_is_refused_with_those_that_one_has() {
    for declared in ["float32[1,4]", "float32[1,10,5,5]", "int64[7]", "float32[1,1,3,8,8]"] {
        let error = message(ContentType::Png, encoded(ContentType::Png, 9, 9), &[declared]);
        assert!(error.contains(declared) && error.contains("[1,3,height,width]"), "{error}");
    }
    for (declared, why) in [("bool[1,3,4,4]", "256 steps"), ("uint8[1,3,99999,4]", "16384")] {
        let error = message(ContentType::Png, encoded(ContentType::Png, 9, 9), &[declared]);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_batch_that_requests_may_enlarge_is_told_from_channels() {
    let input = ExpectedInput {
        dtype: Some(DType::Uint8),
        shape: Some(vec![-1, 2, 4]),
        declared_first: Some(3),
        ..ExpectedInput::default()
    };
    let picture = encode(&RgbImage::from_pixel(4, 4, Rgb([255, 0, 128])), ContentType::Png);
    let settings = DecodeSettings::default();
    let tensors = decode(ContentType::Png, &picture.into(), &[input], &settings).unwrap();
    assert_eq!(tensors[0].shape, [3, 2, 4]);
}

#[test]
fn webp_and_bmp_are_pictures_and_an_unnamed_encoding_is_told_by_its_first_bytes() {
    let plain = encoded(ContentType::Png, 50, 40);
    let settings = settings(32, 16);
    let of = |format, body: &Vec<u8>| {
        decode(format, &body.clone().into(), &[], &settings).unwrap().remove(0)
    };
    for lossless in [ContentType::Png, ContentType::WebP, ContentType::Bmp] {
        let body = encoded(lossless, 50, 40);
        assert_eq!(of(lossless, &body), of(ContentType::Png, &plain), "{lossless}");
        assert_eq!(of(ContentType::Image, &body), of(ContentType::Png, &plain), "{lossless}");
    }
    let jpeg = encoded(ContentType::Jpeg, 50, 40);
    assert_eq!(of(ContentType::Image, &jpeg), of(ContentType::Jpeg, &jpeg));
    let error = message(ContentType::Image, b"GIF89a".to_vec(), &[]);
    assert!(error.contains("none of JPEG, PNG, WebP and BMP"), "{error}");
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
