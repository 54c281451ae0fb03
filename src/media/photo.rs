//! What becomes of an uploaded photo: looked at, turned upright, and written anew.
//!
//! Nothing of the client's bytes is ever served. Writing the pixels anew drops positions and
//! other metadata, and whatever else hides in a file that is also something else.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage};

use super::Format;

/// Longest file, in bytes.
pub const FILE_LIMIT: usize = 10 * 1024 * 1024;

/// Most pixels of a photo: 16.7 million, as 4096 × 4096.
pub const PIXEL_LIMIT: u64 = 16_777_216;

/// Longest side, in pixels: a JPEG cannot be longer.
const SIDE_LIMIT: u32 = 65_535;

/// Most memory for decoding one photo, in bytes: the pixels at 16 bits and four channels, and
/// once more as much for the decoder's own work.
const DECODE_LIMIT: u64 = 2 * 8 * PIXEL_LIMIT;

/// Of 1..=100: where photographs show no loss to the eye at a normal distance.
const JPEG_QUALITY: u8 = 85;

/// A photo as it is stored.
#[derive(Debug)]
pub struct Photo {
    /// What it is.
    pub format: Format,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why a file is not taken for a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhotoError {
    /// Not a JPEG, PNG, WebP or GIF, or one that cannot be read.
    #[error("not an image or corrupted")]
    Invalid,
    /// More than [`PIXEL_LIMIT`] pixels.
    #[error("too many pixels")]
    TooManyPixels,
    /// More than [`FILE_LIMIT`] bytes.
    #[error("too many bytes")]
    TooLarge,
}

/// Reads a JPEG, PNG, WebP or GIF (of an animation the first frame) and writes it anew: opaque
/// ones as JPEG, transparent ones as PNG, upright, without metadata. Measured at 16.7 megapixels:
/// 0.4 to 0.8 seconds of a core and up to 200 MB of memory. Not for an actix thread.
///
/// # Errors
/// [`PhotoError`], before any pixel is decoded where the header tells.
pub fn recode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    if bytes.len() > FILE_LIMIT {
        return Err(PhotoError::TooLarge);
    }
    let image = flatten(decode(bytes)?);
    encode(&image).map_err(|_| PhotoError::Invalid)
}

fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), PhotoError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), known_format(bytes)?);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODE_LIMIT);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(|_| PhotoError::Invalid)?;

    let (width, height) = decoder.dimensions();
    if width.max(height) > SIDE_LIMIT || u64::from(width) * u64::from(height) > PIXEL_LIMIT {
        return Err(PhotoError::TooManyPixels);
    }
    limits
        .reserve(decoder.total_bytes())
        .and_then(|()| decoder.set_limits(limits))
        .map_err(|_| PhotoError::TooManyPixels)?;
    // Broken metadata does not break a photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|_| PhotoError::Invalid)?;
    Ok((image, orientation))
}

/// The format by the file's first bytes; its name and Content-Type are only claims.
fn known_format(bytes: &[u8]) -> Result<ImageFormat, PhotoError> {
    use ImageFormat as F;
    match image::guess_format(bytes) {
        Ok(format @ (F::Jpeg | F::Png | F::WebP | F::Gif)) => Ok(format),
        _ => Err(PhotoError::Invalid),
    }
}

/// Eight bits per channel, transparency only where there is some, turned upright. In this order,
/// so that at most two copies of the pixels exist at a time.
fn flatten((image, orientation): (DynamicImage, Orientation)) -> DynamicImage {
    let mut image = if image.color().has_alpha() {
        let pixels = image.into_rgba8();
        if pixels.pixels().any(|pixel| pixel[3] < u8::MAX) {
            DynamicImage::ImageRgba8(pixels)
        } else {
            DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8())
        }
    } else {
        DynamicImage::ImageRgb8(image.into_rgb8())
    };
    image.apply_orientation(orientation);
    image
}

fn encode(image: &DynamicImage) -> ImageResult<Photo> {
    let mut bytes = Vec::new();
    let format = match image {
        DynamicImage::ImageRgb8(pixels) => {
            encode_jpeg(pixels, &mut bytes)?;
            Format::Jpeg
        }
        other => {
            other.write_with_encoder(PngEncoder::new(&mut bytes))?;
            Format::Png
        }
    };
    Ok(Photo { format, bytes })
}

fn encode_jpeg(pixels: &RgbImage, bytes: &mut Vec<u8>) -> ImageResult<()> {
    JpegEncoder::new_with_quality(bytes, JPEG_QUALITY).encode_image(pixels)
}

#[cfg(test)]
mod tests;
