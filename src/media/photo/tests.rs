mod samples;

use image::codecs::gif::GifEncoder;
use image::{Delay, Frame, GenericImageView, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;
use samples::*;

#[test]
fn the_four_formats_become_jpegs() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let (photo, image) = accepted(&written(two_halves(32, 16), format));
        assert_eq!(photo.format, Format::Jpeg, "{format:?}");
        assert_eq!(image.dimensions(), (32, 16), "{format:?}");
        assert!(near(&image, 4, 8, RED) && near(&image, 28, 8, BLUE), "{format:?}");
    }
}

#[test]
fn other_depths_and_colors_are_read() {
    let gray = image::GrayImage::from_pixel(5, 5, image::Luma([200]));
    let deep = image::ImageBuffer::from_pixel(5, 5, Rgba([u16::MAX, 0, 0, u16::MAX]));
    for image in [DynamicImage::ImageLuma8(gray), DynamicImage::ImageRgba16(deep)] {
        assert_eq!(accepted(&written(image, ImageFormat::Png)).0.format, Format::Jpeg);
    }
}

#[test]
fn only_real_transparency_stays_a_png() {
    let mut pixels = RgbaImage::from_pixel(20, 20, Rgba([9, 9, 9, 255]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        assert_eq!(accepted(&written(pixels.clone(), format)).0.format, Format::Jpeg);
    }
    pixels.put_pixel(3, 4, Rgba([1, 2, 3, 128]));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let (photo, image) = accepted(&written(pixels.clone(), format));
        assert_eq!(photo.format, Format::Png);
        assert_eq!(image.get_pixel(3, 4), Rgba([1, 2, 3, 128]), "without loss");
    }
}

#[test]
fn metadata_does_not_survive() {
    let jpeg = with_metadata(&written(two_halves(32, 16), ImageFormat::Jpeg), &exif(1));
    for secret in [&b"SECRET-LOCATION"[..], b"SECRET-COMMENT", b"Exif"] {
        assert!(contains(&jpeg, secret), "the test itself");
        assert!(!contains(&accepted(&jpeg).0.bytes, secret));
    }

    let mut png = written(RgbaImage::new(3, 3), ImageFormat::Png);
    let end = png.len() - 12;
    let secrets =
        [png_chunk(b"tEXt", b"Comment\0SECRET-TEXT"), png_chunk(b"eXIf", &exif(1))].concat();
    png.splice(end..end, secrets);
    let (photo, _) = accepted(&png);
    assert_eq!(photo.format, Format::Png);
    for secret in [&b"SECRET"[..], b"tEXt", b"eXIf"] {
        assert!(contains(&png, secret), "the test itself");
        assert!(!contains(&photo.bytes, secret));
    }
}

#[test]
fn photos_are_turned_upright() {
    let flat = written(two_halves(32, 16), ImageFormat::Jpeg);
    // Where red and blue are after the turn, by the EXIF orientations of a phone.
    for (orientation, size, red, blue) in [
        (1, (32, 16), (4, 8), (28, 8)),
        (3, (32, 16), (28, 8), (4, 8)),
        (6, (16, 32), (8, 4), (8, 28)),
        (8, (16, 32), (8, 28), (8, 4)),
    ] {
        let (_, image) = accepted(&with_metadata(&flat, &exif(orientation)));
        assert_eq!(image.dimensions(), size, "orientation {orientation}");
        assert!(near(&image, red.0, red.1, RED), "orientation {orientation}");
        assert!(near(&image, blue.0, blue.1, BLUE), "orientation {orientation}");
    }
}

#[test]
fn broken_metadata_does_not_break_a_photo() {
    let flat = written(two_halves(32, 16), ImageFormat::Jpeg);
    for tiff in [&b""[..], b"II*\0", b"II*\0\xff\xff\xff\xff", b"garbage", &exif(99)] {
        assert_eq!(accepted(&with_metadata(&flat, tiff)).1.dimensions(), (32, 16));
    }
}

#[test]
fn bombs_are_refused_by_their_header() {
    let started = std::time::Instant::now();
    for (width, height) in [(50_000, 50_000), (4097, 4096), (65_536, 1), (1, 70_000)] {
        let bomb = png_claiming(width, height);
        assert_eq!(recode(&bomb).unwrap_err(), PhotoError::TooManyPixels, "{width} x {height}");
    }
    // A GIF of 65,535 x 65,535 in a few bytes.
    let mut gif = written(two_halves(2, 2), ImageFormat::Gif);
    gif[6..10].fill(0xff);
    assert_eq!(recode(&gif).unwrap_err(), PhotoError::TooManyPixels);
    assert!(started.elapsed().as_secs() < 1);
    // The largest that is allowed is not refused for its size, only for its lack of content.
    assert_eq!(recode(&png_claiming(4096, 4096)).unwrap_err(), PhotoError::Invalid);
}

#[test]
fn too_many_bytes_are_refused() {
    let bytes = vec![0; FILE_LIMIT + 1];
    assert_eq!(recode(&bytes).unwrap_err(), PhotoError::TooLarge);
}

#[test]
fn what_is_no_photo_is_refused() {
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let xml = br#"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>"#;
    let png = written(two_halves(32, 16), ImageFormat::Png);
    for (name, bytes) in [
        ("nothing", &b""[..]),
        ("text", b"hello"),
        ("svg", svg),
        ("xml", xml),
        ("html", b"<!doctype html><script>alert(1)</script>"),
        ("bmp", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"),
        ("tiff", b"II*\0\x08\0\0\0\0\0\0\0"),
        ("a script with the magic of a GIF", b"GIF89a\x09\0\x09\0=1;alert('<svg>')"),
        ("half a png", &png[..png.len() / 2]),
        ("a png's magic", &png[..8]),
        ("a jpeg's magic", b"\xff\xd8\xff\xe0"),
        ("a webp's magic", b"RIFF\x10\0\0\0WEBPVP8 "),
    ] {
        assert_eq!(recode(bytes).unwrap_err(), PhotoError::Invalid, "{name}");
    }
}

#[test]
fn a_polyglot_comes_out_as_a_photo_only() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif] {
        let mut bytes = written(two_halves(32, 16), format);
        bytes.extend(b"<script>alert(1)</script>PK\x03\x04");
        let (photo, _) = accepted(&bytes);
        assert!(!contains(&photo.bytes, b"<script>"), "{format:?}");
        assert!(!contains(&photo.bytes, b"PK\x03\x04"), "{format:?}");
    }
}

#[test]
fn of_an_animated_gif_the_first_frame_is_kept() {
    let mut gif = Vec::new();
    let frame = |color: Rgb<u8>| {
        let pixels = RgbaImage::from_pixel(16, 16, Rgba([color[0], color[1], color[2], 255]));
        Frame::from_parts(pixels, 0, 0, Delay::from_numer_denom_ms(10, 1))
    };
    GifEncoder::new(&mut gif).encode_frames([frame(RED), frame(BLUE), frame(BLUE)]).unwrap();
    let (photo, image) = accepted(&gif);
    assert_eq!((photo.format, image.dimensions()), (Format::Jpeg, (16, 16)));
    assert!(near(&image, 8, 8, RED));
}

#[test]
fn of_an_animated_webp_the_first_frame_is_kept() {
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let padding = &[0][..content.len() % 2];
        [&kind[..], &length, content, padding].concat()
    };
    let frame = |color| {
        let still = written(RgbImage::from_pixel(16, 16, color), ImageFormat::WebP);
        let place = [0, 0, 0, 0, 0, 0, 15, 0, 0, 15, 0, 0, 100, 0, 0, 0];
        chunk(b"ANMF", &[&place[..], &still[12..]].concat())
    };
    let body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &[2, 0, 0, 0, 15, 0, 0, 15, 0, 0]),
        chunk(b"ANIM", &[0; 6]),
        frame(RED),
        frame(BLUE),
    ]
    .concat();
    let (_, image) = accepted(&chunk(b"RIFF", &body));
    assert_eq!(image.dimensions(), (16, 16));
    assert!(near(&image, 8, 8, RED));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_never_panics(
        format in proptest::sample::select(vec![
            ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif,
        ]),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = with_metadata_if_jpeg(format);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len()).max(bytes.len() / 2));
        let _ = recode(&bytes);
    }
}

fn with_metadata_if_jpeg(format: ImageFormat) -> Vec<u8> {
    let bytes = written(two_halves(32, 16), format);
    if format == ImageFormat::Jpeg { with_metadata(&bytes, &exif(6)) } else { bytes }
}
