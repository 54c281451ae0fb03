//! What the service is built from: licences, sources, banned and repeated crates, as `deny.toml`
//! says, for those who have no cargo-deny at hand. Advisories need its database: `cargo deny
//! check advisories`.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::Value;

/// Licences that every part of the service may have.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// (crate, licence): looked at one by one; both permissive, of code that has no other.
const EXCEPTIONS: [(&str, &str); 2] = [("pq-src", "PostgreSQL"), ("xxhash-rust", "BSL-1.0")];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// TLS and HTTP stacks that the service does not need.
const BANNED: [&str; 2] = ["openssl", "native-tls"];

/// Crates that are there in more than one version, and how many: a new one is looked at.
const MOST_REPEATED: usize = 24;

/// Every package of the lock file that can be built in here.
fn packages() -> Vec<Value> {
    let asked = Command::new("rustc").arg("-vV").output().expect("run rustc");
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    let host = asked.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    // The tests alone do not need every package of the workspace: on a new machine this gets the
    // rest, but nothing for other platforms.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run cargo metadata");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    assert!(packages.len() > 200, "{} packages", packages.len());
    packages
}

/// Whether an SPDX expression leaves a way with allowed licences only. `/` is the old `OR`.
fn is_allowed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let words = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let (result, rest) = either(&words, allowed);
    assert!(rest.is_empty(), "{expression}: {rest:?}");
    result
}

fn either<'a>(words: &'a [&'a str], allowed: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    let (mut result, mut rest) = both(words, allowed);
    while let Some((&"OR", after)) = rest.split_first() {
        let (other, after) = both(after, allowed);
        (result, rest) = (result | other, after);
    }
    (result, rest)
}

fn both<'a>(words: &'a [&'a str], allowed: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    let (mut result, mut rest) = one(words, allowed);
    while let Some((&"AND", after)) = rest.split_first() {
        let (other, after) = one(after, allowed);
        (result, rest) = (result & other, after);
    }
    (result, rest)
}

fn one<'a>(words: &'a [&'a str], allowed: &dyn Fn(&str) -> bool) -> (bool, &'a [&'a str]) {
    match words {
        ["(", rest @ ..] => match either(rest, allowed) {
            (result, [")", rest @ ..]) => (result, rest),
            (_, rest) => panic!("no closing bracket before {rest:?}"),
        },
        [name, "WITH", exception, rest @ ..] => {
            (allowed(&format!("{name} WITH {exception}")), rest)
        }
        [name, rest @ ..] => (allowed(name), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn licences_are_read() {
    let allowed = |name: &str| name == "MIT" || name == "Apache-2.0 WITH LLVM-exception";
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "Apache-2.0 WITH LLVM-exception",
        "(GPL-3.0 OR MIT) AND MIT",
        "GPL-3.0 AND MIT OR MIT",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-3.0", "Apache-2.0"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn dependencies_are_free_known_and_few() {
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name").to_owned();
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name}: no licence"));
        let allowed = |one: &str| LICENCES.contains(&one) || EXCEPTIONS.contains(&(&name, one));
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
        // What has no source is a member of this workspace.
        let is_ours = package["source"].is_null() && name.starts_with("roost");
        assert!(is_ours || package["source"] == REGISTRY, "{name}: {}", package["source"]);
        assert!(!BANNED.contains(&&*name), "{name} is banned");
        *versions.entry(name).or_default() += 1;
    }
    let repeated: Vec<_> = versions.iter().filter(|(_, number)| **number > 1).collect();
    assert!(
        repeated.len() <= MOST_REPEATED,
        "{} in several versions: {repeated:?}",
        repeated.len()
    );
}

/// The packages that depend on something.
const MANIFESTS: [&str; 4] =
    ["Cargo.toml", "bench/Cargo.toml", "fuzz/Cargo.toml", "loadtest/Cargo.toml"];

/// A comment stands above each, or above the one before it if they are of one family.
#[test]
fn every_dependency_has_a_reason() {
    for manifest in MANIFESTS {
        let path = format!("{}/{manifest}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a manifest");
        let (mut is_list, mut seen) = (false, 0);
        let mut before = "";
        for line in text.lines() {
            if line.starts_with('[') {
                is_list = line.ends_with("dependencies]");
            } else if let Some((name, _)) = line.split_once(" = ").filter(|_| is_list)
                && !name.starts_with('#')
            {
                let family = name.split(['-', '_']).next().unwrap();
                assert!(
                    before.starts_with("# ") || before.starts_with(family),
                    "{manifest}: why {name}?"
                );
                seen += 1;
            }
            before = line;
        }
        assert!(seen > 1, "{manifest} has no dependencies");
    }
}
