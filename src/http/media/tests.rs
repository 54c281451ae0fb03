use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, ResponseError};
use bytes::Bytes;
use object_store::local::LocalFileSystem;

use super::*;

struct Served {
    root: tempfile::TempDir,
    media: Media,
    url: String,
}

async fn served() -> Served {
    let root = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(root.path()).unwrap();
    let media = Media::on(std::sync::Arc::new(store));
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbaImage::new(300, 200).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let url = media.store_photo("cat.png", png.into_inner().into()).await.unwrap();
    Served { root, media, url }
}

impl Served {
    async fn ask(&self, request: TestRequest) -> ServiceResponse<impl MessageBody + use<>> {
        let media = web::Data::new(self.media.clone());
        let app = init_service(App::new().app_data(media).configure(configure)).await;
        call_service(&app, request.to_request()).await
    }

    fn file(&self) -> std::path::PathBuf {
        self.root.path().join(self.url.trim_start_matches("/media/"))
    }
}

#[actix_web::test]
async fn a_photo_is_served_to_be_kept_and_to_be_nothing_else() {
    let served = served().await;
    let content = std::fs::read(served.file()).unwrap();
    for method in [Method::GET, Method::HEAD] {
        let response = served.ask(TestRequest::with_uri(&served.url).method(method.clone())).await;
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in [
            (header::CONTENT_TYPE, "image/png"),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        ] {
            assert_eq!(response.headers().get(&name).unwrap(), value, "{method} {name}");
        }
        let size = response.response().body().size();
        assert_eq!(size, actix_web::body::BodySize::Sized(content.len() as u64), "{method}");
        if method == Method::GET {
            assert_eq!(read_body(response).await, Bytes::from(content.clone()));
        }
    }
}

#[actix_web::test]
async fn a_client_that_has_it_gets_304() {
    let served = served().await;
    let response = served.ask(TestRequest::with_uri(&served.url)).await;
    let tag = response.headers().get(header::ETAG).unwrap().to_str().unwrap().to_owned();
    for (known, expected) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        ("nonsense".to_owned(), 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = TestRequest::with_uri(&served.url)
                .method(method)
                .insert_header((header::IF_NONE_MATCH, known.clone()));
            let response = served.ask(request).await;
            assert_eq!(response.status().as_u16(), expected, "{known}");
            assert!(response.headers().contains_key(header::CACHE_CONTROL));
        }
    }
}

#[actix_web::test]
async fn what_is_not_there_is_404_in_the_usual_shape() {
    let served = served().await;
    std::fs::write(served.root.path().join("secret.png"), b"secret").unwrap();
    let random = &served.url[7..39];
    for path in [
        "/media/0123456789abcdef0123456789abcdef/cat.png".to_owned(),
        format!("/media/{random}/dog.png"),
        format!("/media/{random}/cat.jpg"),
        format!("/media/{random}/..%2Fsecret.png"),
        format!("/media/{random}/%2e%2e"),
        format!("/media/{random}/cat.png%00"),
        format!("/media/{random}/%FF"),
        "/media/%2e%2e/secret.png".to_owned(),
        "/media/../secret.png".to_owned(),
        "/media/./secret.png".to_owned(),
    ] {
        let response = served.ask(TestRequest::with_uri(&path)).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body = read_body(response).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["success"], &body["code"]),
            (&false.into(), &"not_found".into()),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn other_methods_are_405() {
    let served = served().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let response = served.ask(TestRequest::with_uri(&served.url).method(method)).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET, HEAD");
    }
}

#[actix_web::test]
async fn a_store_that_is_down_is_503() {
    let served = served().await;
    let folder = served.file().parent().unwrap().to_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    // Reading through a link to itself fails, also for root.
    std::os::unix::fs::symlink(&folder, &folder).unwrap();
    for method in [Method::GET, Method::HEAD] {
        let response = served.ask(TestRequest::with_uri(&served.url).method(method)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}

#[test]
fn a_photos_faults_are_its_fields() {
    let status = |error: MediaError| error.into_api("files").status_code().as_u16();
    assert_eq!(status(PhotoError::TooLarge.into()), 413);
    assert_eq!(status(MediaError::Busy), 503);
    assert_eq!(status(MediaError::Timeout), 503);
    for error in [PhotoError::Invalid, PhotoError::TooManyPixels] {
        match error.into_api("files") {
            ApiError::Validation(pairs) => assert_eq!(pairs[0].0, "files"),
            other => panic!("{other}"),
        }
    }
}
