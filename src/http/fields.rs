//! Request bodies: JSON objects, URL-encoded forms and multipart forms, read into one shape.
//!
//! Everything about a body is limited: its size, the number of its parts, the time it may take
//! to arrive ([`body`]) and the memory that all uploads together may hold ([`budget`]).

mod body;
mod budget;
mod multipart;

use std::borrow::Cow;
use std::collections::HashMap;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde_json::{Map, Value};

use super::{ApiError, admission, form};
use budget::Held;

/// Longest JSON or URL-encoded body, and longest text of a multipart body in total, in bytes.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// Files kept of one body; later ones are read and dropped. One more than any endpoint takes, so
/// that the endpoint sees that there are too many and says so in its own words.
pub const FILES_KEPT: usize = 10;

/// A file of a multipart body.
#[derive(Debug)]
pub struct UploadedFile {
    /// The field that it came in.
    pub field: String,
    /// Its name as the client gave it: anything at all, possibly empty.
    pub file_name: String,
    /// Its content, at most [`FILE_LIMIT`](crate::media::FILE_LIMIT) bytes.
    pub bytes: Bytes,
    /// Its share of the memory for uploads, given back when the file is dropped.
    _held: Held,
}

/// The parameters of a request body, whatever its type. Of parameters with one name the last
/// wins; of files all are kept, in order.
///
/// As an extractor it answers 400 for a body that is not what its Content-Type says, 413 past a
/// limit, 415 for any other type or a Content-Encoding, and 503 when too many uploads run at
/// once. An empty body has no fields, with or without a Content-Type.
#[derive(Debug, Default)]
pub struct Fields {
    values: HashMap<String, Value>,
    files: Vec<UploadedFile>,
}

impl Fields {
    /// Checks that all of `names` are there. JSON's null is not; an empty text is.
    ///
    /// # Errors
    /// [`ApiError::Missing`] with all that are missing.
    pub fn require(&self, names: &[&'static str]) -> Result<(), ApiError> {
        let absent = |name: &&'static str| self.value(name).is_none() && !self.has_file(name);
        let missing: Vec<_> = names.iter().copied().filter(absent).collect();
        if missing.is_empty() { Ok(()) } else { Err(ApiError::Missing(missing)) }
    }

    /// A text; numbers and booleans of JSON as they are written. `None` when it is absent, null
    /// or a JSON array or object (see [`Fields::text_or_error`]).
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.value(name)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// As [`Fields::text`], telling what is absent or null from what is no text.
    ///
    /// # Errors
    /// The field's complaint, for a JSON array, object or boolean.
    pub fn text_or_error(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, ApiError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(_)) => Err(ApiError::field(name, "Not a valid string.")),
            Some(_) => match self.text(name) {
                Some(text) => Ok(Some(text)),
                None => Err(ApiError::field(name, "Not a valid string.")),
            },
        }
    }

    /// A positive 64-bit integer, as a JSON number or in plain digits. `None` when it is absent
    /// or null, an error of the field when it is anything else.
    pub fn id(&self, name: &'static str) -> Option<Result<i64, ApiError>> {
        let id = match self.value(name)? {
            Value::Number(number) => number.as_i64(),
            // `parse` alone would take a sign.
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        };
        let invalid = || ApiError::field(name, "A valid integer is required.");
        Some(id.filter(|id| *id > 0).ok_or_else(invalid))
    }

    /// A yes or no: JSON's booleans, `true`, `false`, `1` and `0` in any case. `None` when it is
    /// absent or null, an error of the field when it is anything else.
    pub fn flag(&self, name: &'static str) -> Option<Result<bool, ApiError>> {
        self.value(name)?;
        let flag = match self.text(name).as_deref() {
            Some("1") => Some(true),
            Some("0") => Some(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        };
        Some(flag.ok_or_else(|| ApiError::field(name, "Must be a valid boolean.")))
    }

    /// The files of one field, in the order in which they were sent.
    pub fn files<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a UploadedFile> + 'a {
        self.files.iter().filter(move |file| file.field == name)
    }

    /// Takes the files of one field out, in the order in which they were sent.
    pub fn take_files(&mut self, name: &str) -> Vec<UploadedFile> {
        let (taken, kept) =
            std::mem::take(&mut self.files).into_iter().partition(|file| file.field == name);
        self.files = kept;
        taken
    }

    /// Gives `part` everything in the body, piece by piece: fields in the order of their names,
    /// then files in their own. The same values as JSON and as a form give the same pieces.
    pub fn for_each_part(&self, part: &mut impl FnMut(&[u8])) {
        let mut names: Vec<&String> = self.values.keys().collect();
        names.sort_unstable();
        for name in names {
            part(name.as_bytes());
            match (self.text(name), self.value(name)) {
                (Some(text), _) => part(text.as_bytes()),
                (None, other) => part(other.map(Value::to_string).unwrap_or_default().as_bytes()),
            }
        }
        for file in &self.files {
            part(file.field.as_bytes());
            part(file.file_name.as_bytes());
            part(&file.bytes);
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    fn has_file(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.field == name)
    }

    /// Feeds everything that was sent to `take`, in an order that does not depend on how it was
    /// sent: names and values, then files.
    pub fn digest(&self, take: &mut impl FnMut(&[u8])) {
        let mut names: Vec<&String> = self.values.keys().collect();
        names.sort_unstable();
        for name in names {
            take(name.as_bytes());
            take(self.values[name].to_string().as_bytes());
        }
        for file in &self.files {
            take(file.field.as_bytes());
            take(file.file_name.as_bytes());
            take(&file.bytes);
        }
    }

    fn from_json(body: &[u8]) -> Result<Fields, ApiError> {
        // The parser has its own limit of nesting (128) and refuses lone surrogates and
        // whatever follows the value.
        let map: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|_| ApiError::Malformed("JSON parse error.".into()))?;
        Ok(Fields { values: map.into_iter().collect(), files: Vec::new() })
    }

    fn from_form(body: &[u8]) -> Result<Fields, ApiError> {
        let pairs = form::pairs(body).ok_or(ApiError::Malformed("Form parse error.".into()))?;
        let owned = |(name, text): form::Pair<'_>| (name.into_owned(), text.into_owned().into());
        let values = pairs.into_iter().map(owned).collect();
        Ok(Fields { values, files: Vec::new() })
    }
}

impl FromRequest for Fields {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let reading = body::in_time(&request, read(&request, payload));
            admission::outside(&request, reading).await
        }
        .boxed_local()
    }
}

async fn read(request: &HttpRequest, payload: Payload) -> Result<Fields, ApiError> {
    refuse_encoding(request)?;
    let kind = request.content_type();
    if kind.eq_ignore_ascii_case("application/json") {
        let body = body::collect(request, payload, TEXT_LIMIT).await?;
        if body.is_empty() { Ok(Fields::default()) } else { Fields::from_json(&body) }
    } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Fields::from_form(&body::collect(request, payload, TEXT_LIMIT).await?)
    } else if kind.eq_ignore_ascii_case("multipart/form-data") {
        multipart::read(request, payload).await
    } else if body::is_empty(payload).await? {
        Ok(Fields::default())
    } else {
        Err(ApiError::UnsupportedMediaType(kind.chars().take(100).collect()))
    }
}

/// No compressed bodies: there is nothing to gain, and no bomb to guard against.
fn refuse_encoding(request: &HttpRequest) -> Result<(), ApiError> {
    for encoding in request.headers().get_all(header::CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let shown = String::from_utf8_lossy(encoding.as_bytes()).chars().take(100).collect();
            return Err(ApiError::UnsupportedMediaType(shown));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
