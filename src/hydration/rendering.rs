//! Tweets and feed entries as JSON, put together from what the caches hold.

use std::sync::Arc;

use super::pages::Hydrator;
use super::tweets::TweetCard;
use crate::store::StoreError;
use crate::store::likes::LikeKind;
use crate::timeline::Entry;

/// What one reader's page needs besides its tweets, in the order of these.
pub(super) struct Surroundings {
    /// As JSON.
    authors: Vec<Arc<str>>,
    /// Empty for nobody in particular, who likes nothing.
    liked: Vec<bool>,
}

impl Hydrator {
    /// What a page of these tweets needs besides them, as `viewer` sees it.
    ///
    /// # Errors
    /// When something is not in memory, and the database cannot be read.
    pub(super) async fn surroundings(
        &self,
        cards: &[&TweetCard],
        viewer: Option<i64>,
    ) -> Result<Surroundings, StoreError> {
        let authors = self.users.authors(cards).await?;
        let liked = match viewer {
            Some(viewer) => {
                // What nobody likes needs no question, and a tweet that has just been posted is
                // shown to thousands of viewers at once.
                let places: Vec<usize> =
                    (0..cards.len()).filter(|place| cards[*place].likes() > 0).collect();
                let ids: Vec<i64> = places.iter().map(|place| cards[*place].id).collect();
                let mut liked = vec![false; cards.len()];
                let told = self.liked.liked(viewer, LikeKind::Tweet, &ids).await?;
                for (place, is_liked) in places.into_iter().zip(told) {
                    liked[place] = is_liked;
                }
                liked
            }
            None => Vec::new(),
        };
        Ok(Surroundings { authors, liked })
    }
}

impl Surroundings {
    /// Writes `{"id","created_at","tweet":T}` of the tweet at `place`.
    pub(super) fn write_entry(
        &self,
        out: &mut Vec<u8>,
        entry: Entry,
        card: &TweetCard,
        place: usize,
    ) {
        write_entry_start(out, entry);
        self.write_tweet(out, card, place);
        out.push(b'}');
    }

    /// Writes T of the tweet at `place`.
    pub(super) fn write_tweet(&self, out: &mut Vec<u8>, card: &TweetCard, place: usize) {
        let author = self.authors.get(place).map_or("null", |author| &**author);
        write_tweet(out, card, author, self.liked.get(place).copied().unwrap_or(false));
    }
}

/// Writes T from its fragments.
pub fn write_tweet(out: &mut Vec<u8>, card: &TweetCard, author_json: &str, has_liked: bool) {
    let mut digits = itoa::Buffer::new();
    let (start, body, photos) = card.fragments();
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(author_json.as_bytes());
    out.extend_from_slice(body.as_bytes());
    out.extend_from_slice(digits.format(card.comments()).as_bytes());
    out.extend_from_slice(b",\"likes_count\":");
    out.extend_from_slice(digits.format(card.likes()).as_bytes());
    out.extend_from_slice(if has_liked {
        &b",\"has_liked\":true"[..]
    } else {
        b",\"has_liked\":false"
    });
    out.extend_from_slice(photos.as_bytes());
}

fn write_entry_start(out: &mut Vec<u8>, entry: Entry) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(entry.created_at.micros()).as_bytes());
    out.extend_from_slice(b",\"created_at\":\"");
    entry.created_at.write_iso(out);
    out.extend_from_slice(b"\",\"tweet\":");
}
