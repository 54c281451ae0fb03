use std::path::Path;

use futures_util::StreamExt;

use super::*;

pub(super) fn config(data_dir: &Path, media_url: Option<&str>) -> StorageConfig {
    StorageConfig {
        data_dir: data_dir.to_owned(),
        database_url: None,
        redis_url: None,
        media_url: media_url.map(str::to_owned),
        db_readers: 1,
        db_writers: 2,
        db_wait_ms: 1,
        db_statement_ms: 1,
        redis_timeout_ms: 1,
    }
}

fn png() -> Bytes {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(3, 2).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

fn files_under(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_under(&path)) } else { found.push(path) }
    }
    found
}

async fn content(media: &Media, url: &str) -> Option<Vec<u8>> {
    let found = media.get(url).await.unwrap()?;
    let chunks: Vec<_> = found.into_stream().map(Result::unwrap).collect().await;
    Some(chunks.concat())
}

#[tokio::test]
async fn a_photo_is_stored_read_and_deleted() {
    let root = tempfile::tempdir().unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    let url = media.store_photo("../../selfie1.png", png()).await.unwrap();
    assert!(url.starts_with("/media/") && url.ends_with("/selfie1.jpg"), "{url}");
    let files = files_under(root.path());
    assert_eq!(files, [root.path().join(&url[1..])], "the file and nothing else");

    let bytes = content(&media, &url).await.unwrap();
    assert!(bytes.starts_with(&[0xff, 0xd8, 0xff]));
    let head = media.head(&url).await.unwrap().unwrap();
    assert_eq!(head.meta.size, bytes.len() as u64);

    // A second handle, as after a restart.
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    assert_eq!(content(&media, &url).await.unwrap(), bytes);
    media.delete(&url).await.unwrap();
    media.delete(&url).await.unwrap();
    assert_eq!(content(&media, &url).await, None);
    let left = std::fs::read_dir(root.path().join("media")).unwrap().count();
    assert_eq!(left, 0, "its folder is gone too");
}

#[tokio::test]
async fn equal_photos_get_different_urls() {
    let root = tempfile::tempdir().unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    let files = [("a.png", png()), ("a.png", png()), ("b.png", png())];
    let urls = media.store_photos(files).await.unwrap();
    assert_ne!(urls[0], urls[1]);
    assert!(urls[2].ends_with("/b.jpg"), "in order");
}

#[tokio::test]
async fn of_several_photos_all_are_stored_or_none() {
    let root = tempfile::tempdir().unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    let files = [("a.png", png()), ("b.png", Bytes::from_static(b"<svg/>"))];
    let error = media.store_photos(files).await.unwrap_err();
    assert!(matches!(error, MediaError::Photo(PhotoError::Invalid)));
    assert_eq!(files_under(root.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn strange_urls_reach_no_file() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("roost.db"), b"secret").unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    for url in ["", "/media/../roost.db", "/media/x/../../roost.db", "/roost.db", "http://x/y"] {
        assert!(media.get(url).await.unwrap().is_none(), "{url}");
        media.delete(url).await.unwrap();
    }
    assert!(root.path().join("roost.db").exists());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_photos_is_refused_after_a_while() {
    let root = tempfile::tempdir().unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    let all = media.threads.available_permits();
    let _busy = media.threads.acquire_many(u32::try_from(all).unwrap()).await.unwrap();
    let error = media.store_photo("a.png", png()).await.unwrap_err();
    assert!(matches!(error, MediaError::Busy));
}

#[tokio::test]
async fn a_folder_that_does_not_work_is_an_error_not_an_absence() {
    let root = tempfile::tempdir().unwrap();
    let media = Media::open(&config(root.path(), None)).await.unwrap();
    let random = "0123456789abcdef0123456789abcdef";
    // Reading through a link to itself fails, also for root.
    std::os::unix::fs::symlink(random, root.path().join("media").join(random)).unwrap();
    let url = format!("/media/{random}/a.jpg");
    assert!(matches!(media.get(&url).await, Err(MediaError::Store(_))));
}
