//! Photos and avatars: checked, re-encoded and kept in a folder or a bucket.
//!
//! A photo is stored before the row that names its URL is written, and its URL is never used
//! again. A crash in between, or a client that goes away, leaves a file that nothing points to,
//! never a URL without a file.

mod location;
mod name;
mod photo;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

use crate::config::StorageConfig;

pub use name::{Format, MediaPath};
pub use photo::{FILE_LIMIT, PIXEL_LIMIT, Photo, PhotoError, recode};

/// Longest wait for a thread to work on a photo.
const RECODE_WAIT: Duration = Duration::from_secs(10);

/// Longest time for storing or deleting a photo, and until the first byte of one that is read.
const STORE_LIMIT: Duration = Duration::from_secs(15);

/// Longest time that the start waits for a bucket.
const TRIAL_LIMIT: Duration = Duration::from_secs(3);

/// Why there is no photo.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The client's file is at fault.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// Too many photos at once.
    #[error("no thread for another photo became free in time")]
    Busy,
    /// The folder or the bucket does not work.
    #[error("the media store failed: {}", in_one_line(.0))]
    Store(#[source] object_store::Error),
    /// The folder or the bucket does not answer.
    #[error("the media store did not answer in time")]
    Timeout,
    /// The operating system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// A handle on the photos; clones share it.
#[derive(Clone)]
pub struct Media {
    store: Arc<dyn ObjectStore>,
    /// Threads that may work on photos at a time: one per core, so that a burst of uploads
    /// neither starves the actors nor holds more than so many decoded photos in memory.
    threads: Arc<Semaphore>,
}

impl Media {
    /// Opens the configured folder, making it if missing, or bucket.
    ///
    /// # Errors
    /// When the location is of no known form, or the folder cannot be made or written to, or the
    /// bucket refuses to store and delete something. One that does not answer may be down for a
    /// while: that is a line in the log.
    pub async fn open(config: &StorageConfig) -> anyhow::Result<Media> {
        let media = Media::on(location::open(config)?);
        if location::is_bucket(config) {
            media.try_out().await?;
        }
        Ok(media)
    }

    /// Better to find out now than at the first photo. The name is no photo's.
    async fn try_out(&self) -> anyhow::Result<()> {
        use object_store::Error as E;
        let probe = Path::from(format!(".probe-{}", std::process::id()));
        let trial = async {
            self.store.put(&probe, Bytes::new().into()).await?;
            self.store.delete(&probe).await
        };
        match tokio::time::timeout(TRIAL_LIMIT, trial).await {
            Ok(Err(
                error @ (E::NotFound { .. }
                | E::PermissionDenied { .. }
                | E::Unauthenticated { .. }),
            )) => anyhow::bail!(
                "the bucket of ROOST_MEDIA_URL cannot be used: {}",
                in_one_line(&error)
            ),
            Ok(Err(error)) => {
                let error = in_one_line(&error);
                tracing::warn!(error, "the bucket of photos does not work");
            }
            Err(_) => tracing::warn!("the bucket of photos does not answer"),
            Ok(Ok(())) => {}
        }
        Ok(())
    }

    /// Photos in any store.
    pub fn on(store: Arc<dyn ObjectStore>) -> Media {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Media { store, threads: Arc::new(Semaphore::new(threads)) }
    }

    /// Re-encodes and stores a photo. When this returns, the photo survives a crash. Returns its
    /// URL, `/media/<random>/<stem of file_name>.<jpg or png>`.
    ///
    /// # Errors
    /// [`MediaError::Photo`] when the file is not acceptable, the others when this node or its
    /// store is not able to.
    pub async fn store_photo(&self, file_name: &str, bytes: Bytes) -> Result<String, MediaError> {
        let photo = self.recode(bytes).await?;
        let path = MediaPath::random(file_name, photo.format).map_err(MediaError::Random)?;
        in_time(self.store.put(&path.location(), photo.bytes.into())).await?;
        Ok(path.url())
    }

    /// As [`Media::store_photo`] for several, in order: all are stored or, as far as the store
    /// still works, none.
    ///
    /// # Errors
    /// As [`Media::store_photo`], the first that occurs.
    pub async fn store_photos<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, Bytes)>,
    ) -> Result<Vec<String>, MediaError> {
        let mut urls = Vec::new();
        for (file_name, bytes) in files {
            match self.store_photo(file_name, bytes).await {
                Ok(url) => urls.push(url),
                Err(error) => {
                    self.discard(&urls).await;
                    return Err(error);
                }
            }
        }
        Ok(urls)
    }

    /// Deletes photos that nothing points to (any more), as far as the store works; what fails
    /// is logged and left behind.
    pub async fn discard(&self, urls: &[String]) {
        for url in urls {
            if let Err(error) = self.delete(url).await {
                tracing::warn!(%error, url, "a photo is left behind");
            }
        }
    }

    /// Deletes a photo. One that is not there counts as deleted.
    ///
    /// # Errors
    /// [`MediaError::Store`] or [`MediaError::Timeout`].
    pub async fn delete(&self, url: &str) -> Result<(), MediaError> {
        let Some(path) = MediaPath::parse(url) else { return Ok(()) };
        match in_time(self.store.delete(&path.location())).await {
            Err(MediaError::Store(object_store::Error::NotFound { .. })) => Ok(()),
            other => other,
        }
    }

    /// A stored photo, to be streamed. `None` when there is none at this URL, or it is no URL of
    /// a photo at all.
    ///
    /// # Errors
    /// [`MediaError::Store`] or [`MediaError::Timeout`].
    pub async fn get(&self, url_path: &str) -> Result<Option<GetResult>, MediaError> {
        self.find(url_path, GetOptions::default()).await
    }

    /// As [`Media::get`], only for what is known about the photo: its content may not be there.
    ///
    /// # Errors
    /// As [`Media::get`].
    pub async fn head(&self, url_path: &str) -> Result<Option<GetResult>, MediaError> {
        self.find(url_path, GetOptions { head: true, ..GetOptions::default() }).await
    }

    async fn find(&self, url: &str, options: GetOptions) -> Result<Option<GetResult>, MediaError> {
        let Some(path) = MediaPath::parse(url) else { return Ok(None) };
        match in_time(self.store.get_opts(&path.location(), options)).await {
            Ok(found) => Ok(Some(found)),
            Err(MediaError::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn recode(&self, bytes: Bytes) -> Result<Photo, MediaError> {
        let waiting = self.threads.clone().acquire_owned();
        let permit = match tokio::time::timeout(RECODE_WAIT, waiting).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(MediaError::Busy),
        };
        let started = Instant::now();
        let work = tokio::task::spawn_blocking(move || {
            // Stays with the thread, which runs on when the caller gives up.
            let _permit = permit;
            recode(&bytes)
        });
        let result = work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a photo broke its decoder");
            Err(PhotoError::Invalid)
        });
        let outcome = if result.is_ok() { "stored" } else { "refused" };
        metrics::histogram!("roost_photo_recode_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        Ok(result?)
    }
}

/// An error for a line of the log: buckets answer with a page of XML.
fn in_one_line(error: &object_store::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, MediaError> {
    match tokio::time::timeout(STORE_LIMIT, work).await {
        Ok(result) => result.map_err(MediaError::Store),
        Err(_) => Err(MediaError::Timeout),
    }
}

#[cfg(test)]
mod tests;
