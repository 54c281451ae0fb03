//! Pictures made on the spot, honest and otherwise.

use std::io::{Cursor, Read};

use image::{DynamicImage, ImageFormat, RgbImage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A small picture in one of the accepted formats.
pub fn picture(format: ImageFormat) -> Vec<u8> {
    sized(format, 8, 6)
}

/// A small PNG.
pub fn png() -> Vec<u8> {
    picture(ImageFormat::Png)
}

/// A picture of a given size, all of one colour.
pub fn sized(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image =
        DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, image::Rgb([200, 30, 60])));
    image.write_to(&mut bytes, format).expect("encode a picture");
    bytes.into_inner()
}

/// A picture that no format makes small.
pub fn noise(side: u32) -> Vec<u8> {
    let mut dice = StdRng::seed_from_u64(7);
    let image = RgbImage::from_fn(side, side, |_, _| image::Rgb(dice.random()));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, ImageFormat::Jpeg).expect("encode");
    bytes.into_inner()
}

/// A valid small PNG that takes exactly `length` bytes, by a chunk that decoders skip.
pub fn png_of_length(length: usize) -> Vec<u8> {
    let mut bytes = png();
    // Signature and header chunk come first; a chunk costs 12 bytes besides its data.
    let after_header = 8 + 25;
    let data = vec![0; length - bytes.len() - 12];
    bytes.splice(after_header..after_header, chunk(*b"roSt", &data));
    assert_eq!(bytes.len(), length);
    bytes
}

/// A PNG whose header claims a size that its few bytes do not back: a decompression bomb's door.
pub fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend_from_slice(&bytes[24..29]);
    bytes.splice(8..33, chunk(*b"IHDR", &header));
    bytes
}

/// A PNG of the costliest sort, 16 bits in four channels, all of one colour: some hundred
/// kilobytes, and 128 MiB of pixels at 4096 x 4096.
pub fn deep_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let colour = image::Rgba([60_000, 9_000, 18_000, 30_000]);
    let image = DynamicImage::ImageRgba16(image::ImageBuffer::from_pixel(width, height, colour));
    image.write_to(&mut bytes, ImageFormat::Png).expect("encode a picture");
    bytes.into_inner()
}

/// A small PNG with a colour profile that unpacks to so many MiB of nothing.
pub fn png_with_packed_profile(mebibytes: usize) -> Vec<u8> {
    let mut piece = Vec::with_capacity(64 * 1024);
    // After a full flush comes the same again: one piece will do for all.
    flate2::Compress::new(flate2::Compression::best(), false)
        .compress_vec(&[0; 1 << 20], &mut piece, flate2::FlushCompress::Full)
        .expect("compress");
    // The checksum of zlib (RFC 1950, Adler-32) over zeros.
    let checksum = (((mebibytes << 20) % 65_521) as u32) << 16 | 1;
    let (head, end) = (&[0x78, 0xDA][..], &[0x03, 0x00][..]);
    let packed = [head, &piece.repeat(mebibytes), end, &checksum.to_be_bytes()].concat();
    let mut bytes = png();
    bytes.splice(33..33, chunk(*b"iCCP", &[b"p\0\0", &packed[..]].concat()));
    bytes
}

/// An animation of so many small frames.
pub fn gif_of_frames(number: usize) -> Vec<u8> {
    let mut bytes = picture(ImageFormat::Gif);
    // Between the head (13 bytes, and a colour table if bit 7 says so) and the trailer.
    let table = if bytes[10] & 0x80 == 0 { 0 } else { 3 << ((bytes[10] & 7) + 1) };
    let frame = bytes[13 + table..bytes.len() - 1].to_vec();
    assert_eq!(bytes.pop(), Some(0x3B));
    (1..number).for_each(|_| bytes.extend_from_slice(&frame));
    bytes.push(0x3B);
    bytes
}

/// A JPEG that carries `secret` in an EXIF block, as phones put positions there.
pub fn jpeg_with_exif(secret: &str) -> Vec<u8> {
    let mut bytes = picture(ImageFormat::Jpeg);
    let payload = [b"Exif\0\0MM\0*\0\0\0\x08\0\0", secret.as_bytes()].concat();
    let length = u16::try_from(payload.len() + 2).expect("a short secret");
    let block = [&[0xFF, 0xE1][..], &length.to_be_bytes(), &payload].concat();
    bytes.splice(2..2, block);
    bytes
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a chunk of less than 4 GiB");
    let body = [&kind[..], data].concat();
    [&length.to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
}

/// The checksum that PNG puts on each chunk (ISO 3309, bit by bit: speed is no matter here).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A fixture that is broken in another way than it claims would let its test pass for nothing.
#[test]
fn pictures_are_what_they_claim_to_be() {
    let size = |bytes: &[u8]| {
        let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap();
        reader.into_dimensions().unwrap()
    };
    assert_eq!(size(&png_claiming(50_000, 50_000)), (50_000, 50_000));
    assert!(image::load_from_memory(&png_of_length(5000)).is_ok());
    assert_eq!(image::load_from_memory(&deep_png(9, 7)).unwrap().color().bits_per_pixel(), 64);
    let packed = png_with_packed_profile(2);
    assert!(image::load_from_memory(&packed).is_ok());
    let chunk = packed.windows(4).position(|name| name == b"iCCP").unwrap();
    let mut profile = Vec::new();
    let mut unpacking = flate2::read::ZlibDecoder::new(&packed[chunk + 4 + 3..]);
    unpacking.read_to_end(&mut profile).expect("a sound profile");
    assert_eq!(profile, vec![0; 2 << 20]);
    let gif = gif_of_frames(50);
    let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(&gif)).unwrap();
    assert_eq!(image::AnimationDecoder::into_frames(decoder).count(), 50);
    let jpeg = jpeg_with_exif("secret");
    assert!(image::load_from_memory(&jpeg).is_ok());
    assert!(jpeg.windows(6).any(|window| window == b"secret"));
}
