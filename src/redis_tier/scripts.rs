//! The scripts, called by their hash.

use redis::{Cmd, Pipeline, Script};

/// Every script of the tier.
pub(super) struct Scripts {
    push: Loaded,
    fill: Loaded,
    counts: Loaded,
    tokens: Loaded,
}

/// Which script to call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Push,
    Fill,
    Counts,
    Tokens,
}

struct Loaded {
    source: &'static str,
    hash: String,
}

impl Loaded {
    fn new(source: &'static str) -> Self {
        Loaded { source, hash: Script::new(source).get_hash().to_owned() }
    }
}

impl Scripts {
    pub(super) fn new() -> Self {
        Scripts {
            push: Loaded::new(include_str!("scripts/push.lua")),
            fill: Loaded::new(include_str!("scripts/fill.lua")),
            counts: Loaded::new(include_str!("scripts/counts.lua")),
            tokens: Loaded::new(include_str!("scripts/tokens.lua")),
        }
    }

    /// Makes the server know all of them.
    pub(super) fn load(&self) -> Pipeline {
        let mut pipe = Pipeline::new();
        for script in [&self.push, &self.fill, &self.counts, &self.tokens] {
            pipe.cmd("SCRIPT").arg("LOAD").arg(script.source);
        }
        pipe
    }

    /// A call on `keys` keys; these and then the arguments are still to be added.
    pub(super) fn call(&self, which: Which, keys: usize) -> Cmd {
        let script = match which {
            Which::Push => &self.push,
            Which::Fill => &self.fill,
            Which::Counts => &self.counts,
            Which::Tokens => &self.tokens,
        };
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.hash).arg(keys);
        cmd
    }
}
