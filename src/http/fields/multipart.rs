//! Multipart forms: texts and files.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{ContentDisposition, DispositionParam};
use futures_util::StreamExt;
use serde_json::Value;

use super::body::{self, Limited};
use super::budget::Growing;
use super::{FILES_KEPT, Fields, TEXT_LIMIT, UploadedFile};
use crate::http::ApiError;
use crate::media::FILE_LIMIT;

/// Parts of one body.
const PARTS: usize = 64;

/// How often the parser may look at what it has without asking for more.
const LAST_LOOKS: usize = 1_000;

/// What boundaries and headers of parts may add to the content, in bytes.
const SLACK: usize = 1024 * 1024;

/// The whole body, in bytes: as many full files as are kept, and the texts.
const BODY_LIMIT: usize = FILES_KEPT * FILE_LIMIT + TEXT_LIMIT + SLACK;

pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Fields, ApiError> {
    let stream = Limited::new(request, payload, BODY_LIMIT)?;
    let parts = Multipart::new(request.headers(), stream.clone());
    match until_stuck(&stream, read_parts(parts)).await {
        // What follows the last boundary means nothing, and must be out of the way of the
        // connection's next request.
        Ok(fields) => stream.drain().await.map(|()| fields),
        // To the parser a body without a boundary, to everybody else one without fields.
        Err(ApiError::Malformed(_)) if stream.is_empty() => Ok(Fields::default()),
        Err(error) => Err(error),
    }
}

/// Runs the parser. In the middle of what may be a boundary it stops for ever without asking for
/// more: when it waits, but not for the body, it will not go on.
async fn until_stuck<T>(
    stream: &Limited,
    reading: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let mut reading = pin!(reading);
    poll_fn(|cx| {
        for _ in 0..LAST_LOOKS {
            let result = reading.as_mut().poll(cx);
            if result.is_ready() || stream.is_awaited() {
                return result;
            }
        }
        Poll::Ready(Err(ApiError::Malformed("Multipart form parse error.".into())))
    })
    .await
}

async fn read_parts(mut parts: Multipart) -> Result<Fields, ApiError> {
    let mut form = Form { fields: Fields::default(), text: TEXT_LIMIT };
    let mut count = 0;
    while let Some(part) = parts.next().await {
        count += 1;
        if count > PARTS {
            return Err(ApiError::TooLarge("The form has too many parts.".into()));
        }
        form.add(part.map_err(error)?).await?;
    }
    Ok(form.fields)
}

/// A form while it is read.
struct Form {
    fields: Fields,
    /// Bytes of text that may still come.
    text: usize,
}

impl Form {
    async fn add(&mut self, part: Field) -> Result<(), ApiError> {
        let name = part.name().unwrap_or_default().to_owned();
        self.spend(name.len())?;
        match part.content_disposition().and_then(file_name) {
            Some(file_name) => self.file(name, file_name, part).await,
            None => self.value(name, part).await,
        }
    }

    async fn value(&mut self, name: String, mut part: Field) -> Result<(), ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(error)?;
            self.spend(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| ApiError::Malformed("A field of the form is not UTF-8.".into()))?;
        self.fields.values.insert(name, Value::String(text));
        Ok(())
    }

    async fn file(
        &mut self,
        field: String,
        file_name: String,
        mut part: Field,
    ) -> Result<(), ApiError> {
        self.spend(file_name.len())?;
        let keep = self.fields.files.len() < FILES_KEPT;
        let mut file = Growing::new()?;
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(error)?;
            if keep {
                file.push(&chunk)?;
            }
        }
        let (bytes, held) = file.finish();
        // A browser sends a file input with nothing chosen as an empty file without a name.
        let chosen = !(file_name.is_empty() && bytes.is_empty());
        if keep && chosen {
            self.fields.files.push(UploadedFile { field, file_name, bytes, _held: held });
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.text = self.text.checked_sub(bytes).ok_or_else(body::too_large)?;
        Ok(())
    }
}

/// The file's name if the part is a file; the extended form (RFC 5987) first.
fn file_name(disposition: &ContentDisposition) -> Option<String> {
    let extended = disposition.get_filename_ext();
    match extended.and_then(|name| String::from_utf8(name.value.clone()).ok()) {
        Some(name) => Some(name),
        None => disposition.parameters.iter().find_map(|parameter| match parameter {
            DispositionParam::Filename(name) => Some(name.clone()),
            DispositionParam::FilenameExt(_) => Some(String::new()),
            _ => None,
        }),
    }
}

/// A form that cannot be read is the client's mistake, whatever the parser calls it.
fn error(error: MultipartError) -> ApiError {
    match error {
        MultipartError::Payload(error) => body::payload_error(error),
        _ => ApiError::Malformed("Multipart form parse error.".into()),
    }
}
