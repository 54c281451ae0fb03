//! What the handlers of timelines need.

use std::sync::Arc;

use crate::config::Config;
use crate::fanout::Writer;
use crate::hydration::pages::Hydrator;

/// One for each HTTP thread: a handler counts its reference to it up and down, and if threads
/// shared the count it would wander between their processors with every request.
pub struct Reading {
    /// Pages.
    pub hydrator: Arc<Hydrator>,
    /// Takes entries away that stand for nothing any more.
    pub writer: Writer,
    /// Items of a page when the client does not say.
    pub page_size: usize,
    /// Entries kept of a timeline.
    pub list_limit: usize,
}

impl Reading {
    /// Under the settings of `config`.
    pub fn new(config: &Config, hydrator: Arc<Hydrator>, writer: Writer) -> Reading {
        let (page_size, list_limit) = (config.page_size as usize, config.feeds.list_limit as usize);
        Reading { hydrator, writer, page_size, list_limit }
    }
}
