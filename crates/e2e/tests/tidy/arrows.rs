//! Rules about dependencies: which crate may depend on which, from `cargo metadata`.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::tree::root;

/// The allowed dependencies between our crates, without the prefix `jobqueue-`. Tests of a crate may also
/// depend on [`TESTKIT`].
const ARROWS: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("store", &["core"]),
    ("runtime", &[]),
    ("embedded", &[]),
    ("dashboard", &[]),
    ("api", &["core", "store", "runtime", "dashboard"]),
    ("worker", &["core", "store", "runtime"]),
    ("reaper", &["core", "store", "runtime"]),
    ("cli", &["core", "store", "runtime", "embedded", "api", "worker", "reaper"]),
    ("bench", &["core", "store", "runtime", "embedded", "api", "worker", "reaper"]),
    (TESTKIT, &["core", "store", "embedded"]),
    ("k8s-tests", &["core", "api", "reaper", "runtime", "worker", "cli"]),
    ("e2e", &["core", "store", "runtime", "api", "worker", "reaper", "cli"]),
];
const TESTKIT: &str = "testkit";
/// Crates that only tests may depend on.
const TESTS_ONLY: [&str; 2] = [TESTKIT, "e2e"];
/// Only `store` uses SQL. The crates of the tests check the database directly, and the benchmark measures
/// plain SQL.
const MAY_KNOW_SQLX: [&str; 4] = ["store", TESTKIT, "e2e", "bench"];
/// Dependencies with IO, a runtime or a clock.
const NOT_IN_CORE: [&str; 6] = ["axum", "hyper", "reqwest", "rustix", "sqlx", "tokio"];

/// One line of a `[dependencies]` table; our crates without the prefix `jobqueue-`.
pub(crate) struct Arrow {
    from: String,
    to: String,
    ours: bool,
    in_tests: bool,
}

/// Every dependency of every member.
pub(crate) fn of_this_workspace() -> cargo_metadata::Result<Vec<Arrow>> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let name = |name: &str| name.strip_prefix("jobqueue-").unwrap_or(name).to_owned();
    let mut arrows = Vec::new();
    for package in &metadata.packages {
        arrows.extend(package.dependencies.iter().map(|dependency| Arrow {
            from: name(&package.name),
            to: name(&dependency.name),
            ours: dependency.path.is_some(),
            in_tests: dependency.kind == DependencyKind::Development,
        }));
    }
    Ok(arrows)
}

pub(crate) fn check(arrows: &[Arrow]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    arrows.iter().filter_map(|arrow| wrong(arrow, &allowed)).collect()
}

fn wrong(arrow: &Arrow, allowed: &BTreeMap<&str, &[&str]>) -> Option<String> {
    let Arrow { from, to, ours, in_tests } = arrow;
    let (from, to) = (from.as_str(), to.as_str());
    let place = format!("crates/{from}/Cargo.toml");
    let Some(known) = allowed.get(from) else {
        return Some(format!(
            "{place}: a new crate: say in tidy/arrows.rs, and in ARCHITECTURE.md, whom it may know"
        ));
    };
    if !ours {
        let no_sqlx = to == "sqlx" && !MAY_KNOW_SQLX.contains(&from);
        let impure = from == "core" && !in_tests && NOT_IN_CORE.contains(&to);
        return (no_sqlx || impure).then(|| match from {
            "core" => format!("{place}: {to} in the pure core: move what needs it to the caller"),
            _ => format!("{place}: {to} outside of the store: give the store a verb for it"),
        });
    }
    if TESTS_ONLY.contains(&to) {
        let fine = to == TESTKIT && *in_tests;
        return (!fine)
            .then(|| format!("{place}: {to} is for tests: move it to [dev-dependencies] or drop it"));
    }
    (!known.contains(&to))
        .then(|| format!("{place}: {from} must not know {to}: they meet in Postgres, or in the CLI"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(from: &str, to: &str, in_tests: bool) -> Option<String> {
        let ours = to == "nobody" || ARROWS.iter().any(|(name, _)| *name == to);
        check(&[Arrow { from: from.to_owned(), to: to.to_owned(), ours, in_tests }]).pop()
    }

    #[test]
    fn wrong_arrows_are_refused() {
        let wrong = [
            ("core", "store"),
            ("core", "tokio"),
            ("core", "sqlx"),
            ("store", "runtime"),
            ("runtime", "core"),
            ("runtime", "store"),
            ("api", "worker"),
            ("worker", "reaper"),
            ("reaper", "api"),
            ("api", "sqlx"),
            ("cli", "sqlx"),
            ("worker", "embedded"),
            ("worker", "testkit"),
            ("cli", "e2e"),
            ("new", "core"),
            ("api", "nobody"),
        ];
        for (from, to) in wrong {
            let refused = finding(from, to, false).unwrap_or_default();
            assert!(refused.starts_with(&format!("crates/{from}/Cargo.toml: ")), "{from} → {to}: {refused}");
        }
        assert!(finding("api", "worker", true).is_some(), "nor do their tests see each other");
        assert!(finding("api", "sqlx", true).is_some());
        assert!(finding("api", "e2e", true).is_some());
    }

    #[test]
    fn right_arrows_pass() {
        let right = [("store", "core", false), ("store", "sqlx", false), ("api", "store", false)];
        let tests = [("worker", "testkit", true), ("core", "tokio", true), ("e2e", "cli", true)];
        let more = [("cli", "embedded", false), ("testkit", "embedded", false), ("runtime", "tokio", false)];
        for (from, to, in_tests) in right.into_iter().chain(tests).chain(more) {
            assert_eq!(finding(from, to, in_tests), None);
        }
    }
}
