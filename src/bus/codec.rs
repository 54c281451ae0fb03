//! The form of news on the wire: compact text, in parts that fit a notification.
//!
//! A part is a header and records, separated by semicolons; fields by commas. Numbers are
//! decimal; a list of ids is ascending, each after the first as the distance to the one before.
//! Each part can be understood alone, and parts are applied in their order.
//!
//! ```text
//! roost1 NODE NUMBER m|e      m: more parts follow, e: the last one
//! h|a USER,AT,TWEET           an entry new in the feed or list of a user
//! d   AT,TWEET,READERS        an entry new in many feeds
//! H|A TWEET,USERS             a tweet gone from feeds or lists
//! c|C USERS                   feeds or lists changed in their past
//! x   TWEETS                  tweets that are gone
//! f   READER,AUTHOR           a friendship that began or ended
//! t   TWEET,LIKES,COMMENTS,VERSION
//! l   KIND,USER,TWEET         a like in doubt
//! u   TWEETS                  counts in doubt
//! U                           counts of unknown tweets in doubt
//! p   USERS                   cards changed
//! s   HASH                    a session ended (hexadecimal)
//! b   NAME                    credentials changed
//! e   EPOCH
//! n|N                         hello, with a Redis that follows or without
//! o   NODE                    the answer to its hello
//! D                           distrust everything
//! ```

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Garbled, Heard, decode};
pub use encode::encode;

/// The version of this form.
const VERSION: &str = "roost1";
