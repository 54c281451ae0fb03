//! Requests as bytes.

/// A request, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Box<[u8]>);

impl Request {
    /// `GET`, with the session cookie of a user.
    pub fn get(path: &str, cookie: Option<&str>) -> Request {
        Request(head("GET", path, cookie, "\r\n").into_bytes().into())
    }

    /// `POST` of JSON.
    pub fn post(path: &str, cookie: Option<&str>, json: &str) -> Request {
        let rest = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        );
        Request(head("POST", path, cookie, &rest).into_bytes().into())
    }

    /// Method and path, for messages.
    pub fn line(&self) -> String {
        let line = self.0.split(|byte| *byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line).trim_end_matches(" HTTP/1.1").to_owned()
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn head(method: &str, path: &str, cookie: Option<&str>, rest: &str) -> String {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}{rest}")
}
