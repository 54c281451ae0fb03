//! What people do.

use goose::prelude::*;
use rand::RngExt;
use serde::Deserialize;
use serde_json::json;

use crate::session::Session;

/// A page of a newsfeed, as far as it is looked at.
#[derive(Deserialize)]
struct Page {
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    created_at: String,
    tweet: Tweet,
}

#[derive(Deserialize)]
struct Tweet {
    id: i64,
}

/// Reads the newest page.
pub async fn reads(user: &mut GooseUser) -> TransactionResult {
    let entries = page(user, "/api/newsfeeds/", "newsfeed").await?;
    if let Some(session) = user.get_session_data_mut::<Session>() {
        session.newest = entries.first().map(|entry| entry.created_at.clone());
        session.oldest = entries.last().map(|entry| entry.created_at.clone());
        session.seen = entries.iter().map(|entry| entry.tweet.id).collect();
    }
    Ok(())
}

/// Reads on where the last page has ended.
pub async fn pages_down(user: &mut GooseUser) -> TransactionResult {
    let Some(cursor) = session(user).and_then(|session| session.oldest.clone()) else {
        return Ok(());
    };
    let path = format!("/api/newsfeeds/?created_at__lt={cursor}");
    let entries = page(user, &path, "newsfeed, next page").await?;
    if let Some(session) = user.get_session_data_mut::<Session>() {
        session.oldest = entries.last().map(|entry| entry.created_at.clone());
    }
    Ok(())
}

/// Asks for what is newer than the newest that was seen.
pub async fn polls(user: &mut GooseUser) -> TransactionResult {
    let Some(cursor) = session(user).and_then(|session| session.newest.clone()) else {
        return Ok(());
    };
    let path = format!("/api/newsfeeds/?created_at__gt={cursor}");
    let entries = page(user, &path, "newsfeed, poll").await?;
    if let (Some(first), Some(session)) = (entries.first(), user.get_session_data_mut::<Session>())
    {
        session.newest = Some(first.created_at.clone());
    }
    Ok(())
}

/// Likes one of the tweets that were seen.
pub async fn likes(user: &mut GooseUser) -> TransactionResult {
    let Some(tweet) = seen(user) else { return Ok(()) };
    user.post_json("/api/likes/", &json!({"content_type": "tweet", "object_id": tweet})).await?;
    Ok(())
}

/// Comments on one of the tweets that were seen.
pub async fn comments(user: &mut GooseUser) -> TransactionResult {
    let Some(tweet) = seen(user) else { return Ok(()) };
    let comment = json!({"tweet_id": tweet, "content": "Well said"});
    user.post_json("/api/comments/", &comment).await?;
    Ok(())
}

/// Posts.
pub async fn posts(user: &mut GooseUser) -> TransactionResult {
    let number: u32 = rand::rng().random();
    let tweet = json!({"content": format!("Number {number} is on my mind today")});
    user.post_json("/api/tweets/", &tweet).await?;
    Ok(())
}

/// Follows somebody who signed up before.
pub async fn follows(user: &mut GooseUser) -> TransactionResult {
    let Some(other) = somebody_else(user) else { return Ok(()) };
    let path = format!("/api/friendships/{other}/follow/");
    let request = user.get_request_builder(&GooseMethod::Post, &path)?;
    let request =
        GooseRequest::builder().name("follow").set_request_builder(request.json(&json!({})));
    user.request(request.build()).await?;
    Ok(())
}

/// Reads what somebody has posted.
pub async fn looks_at_somebody(user: &mut GooseUser) -> TransactionResult {
    let Some(other) = somebody_else(user) else { return Ok(()) };
    user.get_named(&format!("/api/tweets/?user_id={other}"), "author list").await?;
    Ok(())
}

/// Reads the newest notifications.
pub async fn reads_notifications(user: &mut GooseUser) -> TransactionResult {
    user.get("/api/notifications/").await?;
    Ok(())
}

fn session(user: &GooseUser) -> Option<&Session> {
    user.get_session_data::<Session>()
}

fn seen(user: &GooseUser) -> Option<i64> {
    let seen = &session(user)?.seen;
    (!seen.is_empty()).then(|| seen[rand::rng().random_range(0..seen.len())])
}

/// The ids up to one's own are taken; so nobody else has to be known.
fn somebody_else(user: &GooseUser) -> Option<i64> {
    let own = session(user)?.id;
    (own > 1).then(|| rand::rng().random_range(1..own))
}

/// Gets a page and looks into it; a page that cannot be read counts as a failure.
async fn page(
    user: &mut GooseUser,
    path: &str,
    name: &str,
) -> Result<Vec<Entry>, Box<TransactionError>> {
    let mut goose = user.get_named(path, name).await?;
    let read = match goose.response {
        Ok(response) => response.json::<Page>().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(page) => Ok(page.results),
        Err(why) => {
            user.set_failure(&format!("not a page: {why}"), &mut goose.request, None, None)?;
            Ok(Vec::new())
        }
    }
}
