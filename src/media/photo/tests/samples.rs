//! Photos of all kinds, built by hand where no encoder would write them.

use std::io::Cursor;

use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage};

use crate::media::photo::{Format, Photo, recode};

pub(super) const RED: Rgb<u8> = Rgb([250, 10, 10]);
pub(super) const BLUE: Rgb<u8> = Rgb([10, 10, 250]);

/// Left half red, right half blue.
pub(super) fn two_halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| if x < width / 2 { RED } else { BLUE })
}

pub(super) fn written(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(super) fn accepted(bytes: &[u8]) -> (Photo, DynamicImage) {
    let photo = recode(bytes).unwrap();
    let format = match photo.format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
    };
    let image = image::load_from_memory_with_format(&photo.bytes, format).unwrap();
    (photo, image)
}

pub(super) fn near(image: &DynamicImage, x: u32, y: u32, color: Rgb<u8>) -> bool {
    let pixel = image.get_pixel(x, y);
    (0..3).all(|channel| pixel[channel].abs_diff(color[channel]) < 40)
}

pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A little-endian TIFF of an orientation, a description and a latitude.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        let mut entry = Vec::new();
        entry.extend(tag.to_le_bytes());
        entry.extend(kind.to_le_bytes());
        entry.extend(count.to_le_bytes());
        entry.extend(value);
        entry
    };
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    // Directory 0 at 8 with three entries ends at 50; the GPS directory follows up to 80.
    tiff.extend(3u16.to_le_bytes());
    tiff.extend(entry(0x010e, 2, 16, 80u32.to_le_bytes()));
    tiff.extend(entry(0x0112, 3, 1, [orientation, 0, 0, 0]));
    tiff.extend(entry(0x8825, 4, 1, 50u32.to_le_bytes()));
    tiff.extend([0; 4]);
    tiff.extend(2u16.to_le_bytes());
    tiff.extend(entry(0x0001, 2, 2, *b"N\0\0\0"));
    tiff.extend(entry(0x0002, 5, 3, 96u32.to_le_bytes()));
    tiff.extend([0; 4]);
    tiff.extend(b"SECRET-LOCATION\0");
    for degrees in [(48u32, 1u32), (51, 1), (2975, 100)] {
        tiff.extend(degrees.0.to_le_bytes());
        tiff.extend(degrees.1.to_le_bytes());
    }
    tiff
}

/// `jpeg` with an EXIF and a comment segment after its first marker.
pub(super) fn with_metadata(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    let mut segment = |marker: u8, content: &[u8]| {
        bytes.extend([0xff, marker]);
        bytes.extend(u16::try_from(content.len() + 2).unwrap().to_be_bytes());
        bytes.extend(content);
    };
    segment(0xe1, &[b"Exif\0\0", tiff].concat());
    segment(0xfe, b"SECRET-COMMENT");
    bytes.extend(&jpeg[2..]);
    bytes
}

pub(super) fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(content);
    let crc = bytes[4..].iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    });
    bytes.extend((!crc).to_be_bytes());
    bytes
}

/// A PNG that says how large it is and has next to nothing to show for it.
pub(super) fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, 6, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(png_chunk(b"IHDR", &header));
    bytes.extend(png_chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]));
    bytes.extend(png_chunk(b"IEND", &[]));
    bytes
}
