mod laws;
mod limits;
mod wire;

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::test::TestRequest;
use actix_web::{FromRequest, ResponseError};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=XX";

type BoxedPayloadStream = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;
type Chunks = Vec<Result<Bytes, PayloadError>>;

async fn extract(request: TestRequest, chunks: Chunks) -> Result<Fields, ApiError> {
    extract_from(request, stream::iter(chunks)).await
}

async fn extract_from(
    request: TestRequest,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> Result<Fields, ApiError> {
    let request = request.to_http_request();
    let body: BoxedPayloadStream = Box::pin(body);
    let mut payload = Payload::Stream { payload: body };
    Fields::from_request(&request, &mut payload).await
}

async fn read_as(kind: &str, body: impl Into<Vec<u8>>) -> Result<Fields, ApiError> {
    let request = TestRequest::post().insert_header((header::CONTENT_TYPE, kind));
    extract(request, vec![Ok(Bytes::from(body.into()))]).await
}

async fn json(body: &str) -> Fields {
    read_as(JSON, body).await.unwrap()
}

fn text_part(name: &str, text: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
}

fn file_part(field: &str, disposition: &str, content: &str) -> String {
    format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; {disposition}\r\n\
         Content-Type: image/png\r\n\r\n{content}\r\n"
    )
}

fn form(parts: &[String]) -> String {
    format!("{}--XX--\r\n", parts.concat())
}

fn status(result: Result<Fields, ApiError>) -> u16 {
    result.map_or_else(|error| error.status_code().as_u16(), |_| 200)
}

#[actix_web::test]
async fn the_three_types_read_alike() {
    let multipart = form(&[text_part("content", "hé lo"), text_part("id", "7")]);
    let kinds: [(&str, &str); 5] = [
        (JSON, r#"{"content":"hé lo","id":7}"#),
        ("Application/JSON; charset=utf-8", r#" {"content":"h\u00e9 lo","id":"7"} "#),
        (FORM, "content=h%C3%A9+lo&id=7"),
        (MULTIPART, &multipart),
        ("multipart/form-data; boundary=\"XX\"", &multipart),
    ];
    for (kind, body) in kinds {
        let fields = read_as(kind, body).await.unwrap();
        assert_eq!(fields.text("content").as_deref(), Some("hé lo"), "{kind}");
        assert_eq!(fields.id("id"), Some(Ok(7)), "{kind}");
        assert_eq!(fields.text("nothing"), None, "{kind}");
        assert_eq!(fields.require(&["content", "id"]), Ok(()), "{kind}");
    }
}

#[actix_web::test]
async fn an_empty_body_has_no_fields() {
    for kind in [JSON, FORM, MULTIPART, "text/plain"] {
        let fields = read_as(kind, "").await.unwrap();
        assert_eq!(fields.require(&["a", "b"]), Err(ApiError::Missing(vec!["a", "b"])), "{kind}");
    }
    assert!(extract(TestRequest::post(), vec![]).await.is_ok());
}

#[actix_web::test]
async fn other_types_are_415() {
    for kind in ["text/plain", "application/xml", "multipart/mixed; boundary=XX", "", "nonsense"] {
        assert_eq!(status(read_as(kind, "{}").await), 415, "{kind}");
    }
    let untyped = extract(TestRequest::post(), vec![Ok(Bytes::from_static(b"a=1"))]).await;
    assert_eq!(status(untyped), 415);
}

#[actix_web::test]
async fn encoded_bodies_are_415() {
    for (encoding, expected) in
        [("gzip", 415), ("br", 415), ("identity, gzip", 415), ("IDENTITY", 200)]
    {
        let request = TestRequest::post()
            .insert_header((header::CONTENT_TYPE, JSON))
            .insert_header((header::CONTENT_ENCODING, encoding));
        let result = extract(request, vec![Ok(Bytes::from_static(b"{}"))]).await;
        assert_eq!(status(result), expected, "{encoding}");
    }
}

#[actix_web::test]
async fn malformed_json_is_400() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"null".to_vec(),
        b"7".to_vec(),
        b"   ".to_vec(),
        b"{} {}".to_vec(),
        b"{}x".to_vec(),
        b"{\"a\":NaN}".to_vec(),
        b"{\"a\":1e400}".to_vec(),
        b"{\"a\":\"\\ud800\"}".to_vec(),
        b"{\"a\":\"\xff\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        deep.into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let error = read_as(JSON, body).await.unwrap_err();
        assert_eq!(error, ApiError::Malformed("JSON parse error.".into()), "{shown}");
    }
}

#[actix_web::test]
async fn the_last_of_a_name_wins_and_null_is_missing() {
    assert_eq!(json(r#"{"a":1,"a":"x"}"#).await.text("a").as_deref(), Some("x"));
    let form_fields = read_as(FORM, "a=1&a=x").await.unwrap();
    assert_eq!(form_fields.text("a").as_deref(), Some("x"));
    let parts = form(&[text_part("a", "1"), text_part("a", "x")]);
    assert_eq!(read_as(MULTIPART, parts).await.unwrap().text("a").as_deref(), Some("x"));

    let fields = json(r#"{"a":null,"b":"","c":false}"#).await;
    assert_eq!(fields.require(&["a", "b", "c", "d"]), Err(ApiError::Missing(vec!["a", "d"])));
    assert_eq!(fields.text_or_error("a"), Ok(None));
}

#[actix_web::test]
async fn texts_are_what_was_written() {
    let body = r#"{"n":-1.5,"t":true,"nul":"a\u0000b","bird":"\ud83d\udc26","list":[1],"map":{}}"#;
    let fields = json(body).await;
    assert_eq!(fields.text("n").as_deref(), Some("-1.5"));
    assert_eq!(fields.text("t").as_deref(), Some("true"));
    assert_eq!(fields.text("nul").as_deref(), Some("a\0b"));
    assert_eq!(fields.text("bird").as_deref(), Some("🐦"));
    for name in ["list", "map"] {
        assert_eq!(fields.text(name), None);
        let error = fields.text_or_error(name).unwrap_err();
        assert_eq!(error, ApiError::field(name, "Not a valid string."));
    }
}

#[actix_web::test]
async fn ids_are_positive_64_bit_integers() {
    for good in ["9223372036854775807", "\"9223372036854775807\"", "1", "\"007\""] {
        let fields = json(&format!("{{\"id\":{good}}}")).await;
        assert!(fields.id("id").unwrap().is_ok(), "{good}");
    }
    for bad in [
        "0",
        "-1",
        "1.0",
        "1e3",
        "9223372036854775808",
        "18446744073709551616",
        "true",
        "[]",
        "{}",
        "\"\"",
        "\" 1\"",
        "\"+1\"",
        "\"-1\"",
        "\"0x10\"",
        "\"1e3\"",
        "\"٣\"",
        "\"9223372036854775808\"",
    ] {
        let fields = json(&format!("{{\"id\":{bad}}}")).await;
        let error = fields.id("id").unwrap().unwrap_err();
        assert_eq!(error, ApiError::field("id", "A valid integer is required."), "{bad}");
    }
    assert_eq!(json(r#"{"id":null}"#).await.id("id"), None);
}

#[actix_web::test]
async fn flags_are_read() {
    for (value, expected) in [
        ("true", true),
        ("false", false),
        ("1", true),
        ("0", false),
        ("\"TRUE\"", true),
        ("\"False\"", false),
        ("\"1\"", true),
        ("\"0\"", false),
    ] {
        let fields = json(&format!("{{\"unread\":{value}}}")).await;
        assert_eq!(fields.flag("unread"), Some(Ok(expected)), "{value}");
    }
    for bad in ["2", "\"\"", "\"yes\"", "[]", "{}", "1.0"] {
        let fields = json(&format!("{{\"unread\":{bad}}}")).await;
        assert!(fields.flag("unread").unwrap().is_err(), "{bad}");
    }
    assert_eq!(json(r#"{"unread":null}"#).await.flag("unread"), None);
}

#[actix_web::test]
async fn files_come_with_their_names_in_order() {
    let body = form(&[
        file_part("files", "filename=\"b.png\"", "second\r\n--X"),
        text_part("content", "hello"),
        file_part("avatar", "filename=\"../../é.png\"", "face"),
        file_part("files", "filename=\"a.png\"; filename*=UTF-8''%e2%82%ac.png", ""),
        file_part("files", "filename=\"\"", ""),
    ]);
    let mut fields = read_as(MULTIPART, body).await.unwrap();
    let names: Vec<_> = fields.files("files").map(|file| file.file_name.as_str()).collect();
    assert_eq!(names, ["b.png", "€.png"], "the unchosen file is none");
    assert_eq!(fields.require(&["avatar", "content", "files"]), Ok(()));
    assert_eq!(fields.files("avatar").next().unwrap().file_name, "../../é.png");

    let taken = fields.take_files("files");
    assert_eq!(taken[0].bytes, "second\r\n--X");
    assert_eq!(
        (taken.len(), fields.files("files").count(), fields.files("avatar").count()),
        (2, 0, 1)
    );
}

#[actix_web::test]
async fn chunks_may_fall_anywhere() {
    let body = form(&[text_part("a", "one"), file_part("f", "filename=\"x\"", "a\r\n--XY\r\nb")]);
    for size in 1..body.len() {
        let chunks = body.as_bytes().chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
        let request = TestRequest::post().insert_header((header::CONTENT_TYPE, MULTIPART));
        let fields = extract(request, chunks.collect()).await.unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("one"), "chunks of {size}");
        assert_eq!(fields.files("f").next().unwrap().bytes, "a\r\n--XY\r\nb", "chunks of {size}");
    }
}

#[actix_web::test]
async fn more_files_than_any_endpoint_takes_are_counted_not_kept() {
    let parts: Vec<_> = (0..20).map(|n| file_part("files", "filename=x", &n.to_string())).collect();
    let fields = read_as(MULTIPART, form(&parts)).await.unwrap();
    assert_eq!(fields.files("files").count(), FILES_KEPT);
}

#[actix_web::test]
async fn malformed_forms_are_400() {
    let whole = form(&[text_part("a", "one")]);
    for (kind, body) in [
        (MULTIPART, &whole[..whole.len() - 8]),
        (MULTIPART, "--XX\r\n\r\nno disposition\r\n--XX--\r\n"),
        (MULTIPART, "--XX\r\nContent-Disposition: form-data\r\n\r\nno name\r\n--XX--\r\n"),
        (MULTIPART, "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XX--\r\n"),
        (MULTIPART, "--XX\r\n: bad header\r\n\r\nx\r\n--XX--\r\n"),
        (MULTIPART, "no boundary anywhere"),
        ("multipart/form-data", &whole),
        ("multipart/form-data; boundary=", &whole),
        ("multipart/form-data; boundary=other", &whole),
    ] {
        assert_eq!(status(read_as(kind, body).await), 400, "{kind} {body:?}");
    }
    let mut latin1 = text_part("a", "caf").into_bytes();
    latin1.splice(latin1.len() - 2..latin1.len() - 2, [0xe9]);
    latin1.extend_from_slice(b"--XX--\r\n");
    assert_eq!(status(read_as(MULTIPART, latin1).await), 400);
}
