//! The fuzz targets with the dice of proptest, and with every file of the corpus.

use std::path::Path;

use proptest::prelude::*;

type Probe = fn(&[u8]);

const PROBES: [(&str, Probe); 4] = [
    ("cursors", super::cursors),
    ("timestamps", super::timestamps),
    ("redis_entries", super::redis_entries),
    ("multipart", super::multipart),
];

/// The files of one target, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has a corpus of {}", files.len());
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_corpus_passes() {
    for (target, probe) in PROBES {
        corpus(target).iter().for_each(|bytes| probe(bytes));
    }
}

/// A file of the corpus with a few pieces cut out, repeated or replaced.
fn almost(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4);
    (prop::sample::select(corpus(target)), prop::collection::vec(change, 0..6)).prop_map(
        |(mut bytes, changes)| {
            for (one, other, byte, kind) in changes {
                let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
                let (from, to) = (one.min(other), one.max(other));
                match kind {
                    0 => drop(bytes.drain(from..to)),
                    1 => bytes.splice(to..to, bytes[from..to].to_vec()).for_each(drop),
                    2 => bytes.insert(from, byte),
                    _ => bytes.get_mut(from).into_iter().for_each(|place| *place = byte),
                }
                bytes.truncate(8_192);
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn almost_cursors_are_answered(bytes in almost("cursors")) {
        super::cursors(&bytes);
    }

    #[test]
    fn almost_timestamps_are_answered(bytes in almost("timestamps")) {
        super::timestamps(&bytes);
    }

    #[test]
    fn almost_redis_entries_are_answered(bytes in almost("redis_entries")) {
        super::redis_entries(&bytes);
    }

    #[test]
    fn almost_multipart_is_answered(bytes in almost("multipart")) {
        super::multipart(&bytes);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        for (_, probe) in PROBES {
            probe(&bytes);
        }
    }
}
