//! Where photos are kept, by the setting ROOST_MEDIA_URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::config::StorageConfig;

/// Whether photos are kept in a bucket.
pub(super) fn is_bucket(config: &StorageConfig) -> bool {
    config.media_url.as_deref().is_some_and(|url| url.starts_with("s3://"))
}

pub(super) fn open(config: &StorageConfig) -> anyhow::Result<Arc<dyn ObjectStore>> {
    match config.media_url.as_deref().filter(|url| !url.is_empty()) {
        None => folder(&config.data_dir.join("media")),
        Some(url) if is_bucket(config) => bucket(url),
        Some(url) => folder(&path_of(url)?),
    }
}

fn path_of(url: &str) -> anyhow::Result<PathBuf> {
    let path = match url.split_once("://") {
        None => url,
        Some(("file", path)) if path.starts_with('/') && !path.contains('%') => path,
        Some(("file", _)) => {
            bail!("ROOST_MEDIA_URL={url}: give a plain path, or file:///path without any %")
        }
        Some((scheme, _)) => {
            bail!(
                "ROOST_MEDIA_URL: {scheme}:// is unknown; a path, file:///path or s3://bucket/prefix"
            )
        }
    };
    Ok(PathBuf::from(path))
}

/// A folder. Writes are atomic (a renamed temporary file) and, by `with_fsync`, on the disk with
/// all folders that lead to them before they return.
fn folder(path: &Path) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let shown = path.display();
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {shown}"))?;
    // The first photo must not vanish with the folder that it is in.
    if let Some(parent) = path.canonicalize()?.parent() {
        std::fs::File::open(parent)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync the folder above {shown}"))?;
    }
    prove_writable(path).with_context(|| format!("cannot write to the folder {shown}"))?;
    let store = LocalFileSystem::new_with_prefix(path)
        .with_context(|| format!("cannot open the folder {shown}"))?
        .with_fsync(true)
        .with_automatic_cleanup(true);
    Ok(Arc::new(store))
}

/// Better to find out now than at the first photo. The name is no photo's.
fn prove_writable(path: &Path) -> std::io::Result<()> {
    let probe = path.join(format!(".probe-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

/// A bucket, reached as the environment says (`AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, ...), which also
/// overrides what is set here.
#[cfg(feature = "s3")]
fn bucket(url: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    use std::time::Duration;

    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    use object_store::prefix::PrefixStore;
    use object_store::{ClientConfigKey, ClientOptions, RetryConfig};

    let (bucket, prefix) = split_bucket(url)?;
    // How long a whole request may take is up to the caller. The library's limit would count the
    // time that a slow client takes for its photo, too.
    let client = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(2))
        .with_read_timeout(Duration::from_secs(10))
        .with_timeout_disabled();
    let retry = RetryConfig {
        max_retries: 2,
        retry_timeout: Duration::from_secs(10),
        ..RetryConfig::default()
    };
    // One photo is deleted at a time, by the request that every kind of bucket knows.
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client)
        .with_retry(retry)
        .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
    // Not `vars`, which panics at what is not UTF-8 in the variables of somebody else.
    for (name, value) in std::env::vars_os() {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
            && name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
        {
            builder = builder.with_config(key, value);
        }
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_default();
    let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
    if endpoint.starts_with("http://")
        && builder.get_config_value(&allow_http).is_none_or(|allowed| allowed == "false")
    {
        bail!("AWS_ENDPOINT={endpoint} is without TLS: AWS_ALLOW_HTTP=true if that is meant");
    }
    let store = builder
        .with_bucket_name(bucket)
        .build()
        .with_context(|| format!("ROOST_MEDIA_URL={url}"))?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) })
}

#[cfg(not(feature = "s3"))]
fn bucket(url: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    split_bucket(url)?;
    bail!("ROOST_MEDIA_URL={url}: this binary is built without the cargo feature s3")
}

/// Bucket and prefix of `s3://bucket/prefix`.
fn split_bucket(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        bail!("ROOST_MEDIA_URL={url}: the bucket's name is missing (s3://bucket/prefix)");
    }
    Ok((bucket, prefix.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data_dir: &Path, url: Option<&str>) -> StorageConfig {
        crate::media::tests::config(data_dir, url)
    }

    fn failure(url: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        match open(&config(folder.path(), Some(url))) {
            Ok(_) => panic!("{url} was accepted"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn a_folder_is_made_where_it_is_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("a/b");
        for url in [None, Some(""), Some(elsewhere.to_str().unwrap())] {
            open(&config(root.path(), url)).unwrap();
        }
        let url = format!("file://{}/c", root.path().display());
        open(&config(root.path(), Some(&url))).unwrap();
        for made in ["media", "a/b", "c"] {
            assert!(root.path().join(made).is_dir(), "{made}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        assert!(failure("ftp://host/x").contains("ftp:// is unknown"));
        assert!(failure("file://host/x").contains("plain path"));
        assert!(failure("file:///a%20b").contains("without any %"));
        assert!(failure("s3://").contains("bucket's name is missing"));
        assert!(failure("/proc/nothing/here").contains("cannot make the folder"));
        #[cfg(not(feature = "s3"))]
        assert!(failure("s3://bucket/prefix").contains("cargo feature s3"));
    }

    #[test]
    fn buckets_and_prefixes_are_told_apart() {
        assert_eq!(split_bucket("s3://b").unwrap(), ("b", ""));
        assert_eq!(split_bucket("s3://b/").unwrap(), ("b", ""));
        assert_eq!(split_bucket("s3://b/x/y/").unwrap(), ("b", "x/y"));
    }
}
