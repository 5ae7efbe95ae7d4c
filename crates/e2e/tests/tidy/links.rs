//! The rule that every relative link in a document leads to a file, and to a heading of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{SourceFile, root};

pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    let documents: BTreeMap<_, _> =
        files.iter().filter(|file| file.has_ending("md")).map(|file| (file.path.as_str(), file)).collect();
    let anchors: BTreeMap<_, _> = documents.iter().map(|(path, file)| (*path, anchors(&file.text))).collect();
    let finding = |file: &SourceFile, link: &str| {
        let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if target.is_empty() { file.path.clone() } else { resolved(&file.path, target) };
        let has_anchor = |known: &BTreeSet<String>| anchor.is_empty() || known.contains(anchor);
        let problem = match anchors.get(path.as_str()) {
            Some(known) if !has_anchor(known) => "no heading",
            None if !root().join(&path).exists() => "no file",
            _ => return None,
        };
        Some(format!("{}: the link `{link}` has {problem}", file.path))
    };
    documents
        .values()
        .flat_map(|file| links(&file.text).into_iter().filter_map(|link| finding(file, &link)))
        .collect()
}

/// The targets of `[text](target)` outside of code, without those on other hosts.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The path of a link from the root.
fn resolved(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_without_a_target_are_found() {
        let page = |text: &str| {
            [SourceFile::sample("docs/a.md", text), SourceFile::sample("README.md", "# Read `me` now")]
        };
        for good in [
            "[a](../README.md)",
            "[a](../README.md#read-me-now)",
            "# B\n[a](#b)",
            "[a](https://x.org/#y)",
            "```\n[a](b)\n```",
        ] {
            assert_eq!(check(&page(good)), [""; 0], "{good}");
        }
        for (bad, problem) in [
            ("[a](../NOTHING.md)", "no file"),
            ("[a](../README.md#b)", "no heading"),
            ("[a](#b)", "no heading"),
        ] {
            let found = check(&page(bad));
            assert!(found.len() == 1 && found[0].contains(problem), "{bad}: {found:?}");
        }
    }
}
