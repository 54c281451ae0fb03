//! Errors as clients see them. The whole mapping to HTTP stands in one table, [`ApiError::row`].

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::counter::{CounterError, Refusal};
use crate::fanout::WriteError;
use crate::hydration::pages::PageError;
use crate::store::StoreError;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// Fields with unacceptable values: (field, message) pairs.
    Validation(Vec<(&'static str, Cow<'static, str>)>),
    /// Required parameters that are not there.
    Missing(Vec<&'static str>),
    /// A body that is not of its declared type.
    Malformed(Cow<'static, str>),
    /// A request that makes no sense, in words of the contract.
    Refused(&'static str),
    /// Login-only, and nobody is logged in.
    NotAuthenticated,
    /// Credentials were given and are not valid.
    BadCredentials(&'static str),
    /// Somebody else's object.
    Forbidden(&'static str),
    /// No such thing.
    NotFound(&'static str),
    /// The path exists, not for this method.
    MethodNotAllowed(String),
    /// The same Idempotency-Key with another body.
    IdempotencyConflict,
    /// A body or file beyond its limit.
    TooLarge(Cow<'static, str>),
    /// A head or a body that did not arrive in time.
    TooSlow,
    /// A request line and headers beyond their limit.
    HeadTooLarge,
    /// A body of a type that is not understood.
    UnsupportedMediaType(String),
    /// Over a rate limit; seconds until it is worth trying again.
    TooManyRequests {
        /// Seconds.
        retry_after: u64,
    },
    /// Something needed is down or overloaded.
    Unavailable {
        /// Seconds.
        retry_after: u64,
    },
    /// A bug. The cause is in the log, never in the answer.
    Internal,
}

impl ApiError {
    /// One field's complaint.
    pub fn field(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        ApiError::Validation(vec![(name, message.into())])
    }

    /// The table: status, stable code word, message.
    fn row(&self) -> (StatusCode, &'static str, Cow<'static, str>) {
        use ApiError as E;
        use StatusCode as S;
        match self {
            E::Validation(_) => (S::BAD_REQUEST, "invalid", "Please check input.".into()),
            E::Missing(names) => {
                let text = format!("missing {} in request", names.join(","));
                (S::BAD_REQUEST, "missing_parameter", text.into())
            }
            E::Malformed(text) => (S::BAD_REQUEST, "malformed", text.clone()),
            E::Refused(text) => (S::BAD_REQUEST, "refused", (*text).into()),
            E::NotAuthenticated => (
                S::FORBIDDEN,
                "not_authenticated",
                "Authentication credentials were not provided.".into(),
            ),
            E::BadCredentials(text) => (S::FORBIDDEN, "authentication_failed", (*text).into()),
            E::Forbidden(text) => (S::FORBIDDEN, "permission_denied", (*text).into()),
            E::NotFound(text) => (S::NOT_FOUND, "not_found", (*text).into()),
            E::MethodNotAllowed(method) => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("Method \"{method}\" not allowed.").into(),
            ),
            E::IdempotencyConflict => (
                S::CONFLICT,
                "idempotency_conflict",
                "This Idempotency-Key was used with another request.".into(),
            ),
            E::TooLarge(text) => (S::PAYLOAD_TOO_LARGE, "too_large", text.clone()),
            E::TooSlow => (
                S::REQUEST_TIMEOUT,
                "request_timeout",
                "The request did not arrive in time.".into(),
            ),
            E::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "The request line and headers are too large.".into(),
            ),
            E::UnsupportedMediaType(kind) => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!("Unsupported media type \"{kind}\" in request.").into(),
            ),
            E::TooManyRequests { retry_after } => (
                S::TOO_MANY_REQUESTS,
                "throttled",
                format!("Request was throttled. Expected available in {retry_after} seconds.")
                    .into(),
            ),
            E::Unavailable { .. } => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "Service temporarily unavailable, try again later.".into(),
            ),
            E::Internal => {
                (S::INTERNAL_SERVER_ERROR, "internal", "A server error occurred.".into())
            }
        }
    }

    fn field_errors(&self) -> Option<Value> {
        let mut errors = Map::new();
        let mut add = |field: &str, message: &str| {
            if let Value::Array(list) = errors.entry(field).or_insert_with(|| json!([])) {
                list.push(message.into());
            }
        };
        match self {
            ApiError::Validation(pairs) => pairs.iter().for_each(|(f, m)| add(f, m)),
            ApiError::Missing(names) => {
                names.iter().for_each(|f| add(f, "This field is required."))
            }
            _ => return None,
        }
        Some(Value::Object(errors))
    }
}

/// Every code word of the table.
pub const CODES: [&str; 17] = [
    "invalid",
    "missing_parameter",
    "malformed",
    "refused",
    "not_authenticated",
    "authentication_failed",
    "permission_denied",
    "not_found",
    "method_not_allowed",
    "idempotency_conflict",
    "too_large",
    "request_timeout",
    "head_too_large",
    "unsupported_media_type",
    "throttled",
    "unavailable",
    "internal",
];

/// "Not found.", as for every object that is not there.
pub const NOT_FOUND: ApiError = ApiError::NotFound("Not found.");

/// Somebody else's object.
pub const NOT_YOURS: ApiError =
    ApiError::Forbidden("You do not have permission to access this object");

/// Seconds a client should wait before it tries a 503 again.
pub const RETRY_AFTER_S: u64 = 1;

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (status, code, message) = self.row();
        write!(f, "{} {code}: {message}", status.as_u16())
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.row().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code, message) = self.row();
        let mut body = json!({
            "success": false, "code": code, "message": &*message, "detail": &*message,
        });
        if let (Some(errors), Some(body)) = (self.field_errors(), body.as_object_mut()) {
            body.insert("errors".into(), errors);
        }
        let mut response = HttpResponse::build(status);
        match self {
            ApiError::TooManyRequests { retry_after } | ApiError::Unavailable { retry_after } => {
                response.insert_header((header::RETRY_AFTER, retry_after.to_string()));
            }
            _ => {}
        }
        response.json(body)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_)
            | StoreError::TimedOut(_)
            | StoreError::OutcomeUnknown(_)
            | StoreError::Conflict(_) => ApiError::Unavailable { retry_after: RETRY_AFTER_S },
            StoreError::Query(error) => {
                tracing::error!(%error, "a query was refused");
                ApiError::Internal
            }
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Overloaded | WriteError::Unavailable(_) => {
                ApiError::Unavailable { retry_after: RETRY_AFTER_S }
            }
            WriteError::Refused(reason) => {
                tracing::error!(%reason, "a write was refused");
                ApiError::Internal
            }
        }
    }
}

impl From<PageError> for ApiError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Timeline(_) => ApiError::Unavailable { retry_after: RETRY_AFTER_S },
            PageError::Store(error) => error.into(),
        }
    }
}

impl From<CounterError> for ApiError {
    fn from(error: CounterError) -> Self {
        match error {
            CounterError::Refused(Refusal::Missing) => NOT_FOUND,
            CounterError::Refused(Refusal::Forbidden) => NOT_YOURS,
            CounterError::Refused(Refusal::KeyReused) => ApiError::IdempotencyConflict,
            CounterError::Overloaded | CounterError::Unavailable => {
                ApiError::Unavailable { retry_after: RETRY_AFTER_S }
            }
            CounterError::Failed => ApiError::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codes_is_that_of_the_table() {
        // One per variant; the compiler asks for the new one in `row`, this list in `CODES`.
        let all = [
            ApiError::field("a", "b"),
            ApiError::Missing(vec![]),
            ApiError::Malformed("".into()),
            ApiError::Refused(""),
            ApiError::NotAuthenticated,
            ApiError::BadCredentials(""),
            ApiError::Forbidden(""),
            ApiError::NotFound(""),
            ApiError::MethodNotAllowed(String::new()),
            ApiError::IdempotencyConflict,
            ApiError::TooLarge("".into()),
            ApiError::TooSlow,
            ApiError::HeadTooLarge,
            ApiError::UnsupportedMediaType(String::new()),
            ApiError::TooManyRequests { retry_after: 1 },
            ApiError::Unavailable { retry_after: 1 },
            ApiError::Internal,
        ];
        assert_eq!(all.each_ref().map(|error| error.row().1), CODES);
    }
}
