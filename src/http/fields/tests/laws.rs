//! Whatever is sent is answered.

use proptest::prelude::*;

use super::*;

/// Pieces that make forms which are almost right.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"--XX\r\n",
        b"--XX--",
        b"--XX",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"--",
        b"\xff\0",
        b"Content-Disposition: form-data; name=\"a\"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''%ff\r\n\r\n",
        b"Content-Disposition: form-data; name=\"\\\"; filename=",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Content-Length: x\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ]
}

fn answer(kind: &str, chunks: Vec<Vec<u8>>) -> u16 {
    let request = TestRequest::post().insert_header((header::CONTENT_TYPE, kind));
    let chunks = chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    status(runtime.block_on(extract(request, chunks)))
}

proptest! {
    #[test]
    fn almost_forms_are_answered(chunks in proptest::collection::vec(fragment(), 0..20)) {
        let status = answer(MULTIPART, chunks);
        prop_assert!([200, 400, 413].contains(&status), "{}", status);
    }

    #[test]
    fn any_bytes_of_any_type_are_answered(
        kind in proptest::sample::select(vec![JSON, FORM, MULTIPART, "text/plain"]),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let status = answer(kind, vec![body]);
        prop_assert!([200, 400, 415].contains(&status), "{}", status);
    }

    #[test]
    fn any_content_type_is_answered(kind in "[ -~]{0,60}", rest in "[ -~]{0,20}") {
        for kind in [kind, format!("multipart/form-data;{rest}")] {
            let status = answer(&kind, vec![b"a=1".to_vec()]);
            prop_assert!([200, 400, 415].contains(&status), "{}", status);
        }
    }

    #[test]
    fn any_json_object_is_read_without_a_panic(text in any::<String>(), number in any::<f64>()) {
        let body = serde_json::json!({ "v": text, "n": number, "l": [text] }).to_string();
        let fields = Fields::from_json(body.as_bytes()).unwrap();
        let read = fields.text("v");
        prop_assert_eq!(read.as_deref(), Some(text.as_str()));
        for name in ["v", "n", "l"] {
            let _ = (fields.id(name), fields.flag(name), fields.text_or_error(name));
        }
    }
}
