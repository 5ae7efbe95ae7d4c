//! Rules about names: file and module names without meaning, and storage terms that only the store may use.

use syn::visit::{self, Visit};

use crate::tree::SourceFile;

/// Names that are too general.
const EMPTY_NAMES: [&str; 2] = ["data", "info"];
/// Words that are too general even as a part of a name.
const EMPTY_WORDS: [&str; 7] = ["common", "helper", "helpers", "manager", "misc", "util", "utils"];
const STORAGE_WORDS: [&str; 6] = ["partition", "partitions", "ring", "rings", "segment", "segments"];
/// Where storage terms are allowed. This test must contain them.
const STORAGE_PLACES: [&str; 4] = ["crates/store/", "migrations/", "docs/adr/", "crates/e2e/tests/tidy/"];
/// The same words with another meaning: a crypto provider, a method of iterators, a network fault, a part of
/// a URL.
const OTHER_MEANINGS: [&str; 5] =
    ["crypto::ring", ".partition(", "network partition", "path segment", "URL segment"];

pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    let mut findings = empty_file_name(file);
    findings.extend(empty_module_names(file));
    findings.extend(storage_words(file));
    findings
}

fn is_empty_name(name: &str) -> bool {
    EMPTY_NAMES.contains(&name) || name.split(['_', '-']).any(|word| EMPTY_WORDS.contains(&word))
}

fn empty_file_name(file: &SourceFile) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let path = &file.path;
    let mut findings = Vec::new();
    if file.stem() == "mod" {
        findings.push(format!("{path}: no mod.rs: name the file after its directory and put it beside it"));
    }
    let mut names = path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.find(|name| is_empty_name(name)) {
        findings.push(format!("{path}: `{name}` says nothing: name it after what it owns"));
    }
    findings
}

/// `mod util { … }` inside a file.
fn empty_module_names(file: &SourceFile) -> Vec<String> {
    struct Modules(Vec<String>);
    impl<'ast> Visit<'ast> for Modules {
        fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
            if item.content.is_some() && is_empty_name(&item.ident.to_string()) {
                let line = item.ident.span().start().line;
                self.0.push(format!("{line}: `mod {}` says nothing: name it after what it owns", item.ident));
            }
            visit::visit_item_mod(self, item);
        }
    }
    let mut modules = Modules(Vec::new());
    if file.is_rust()
        && let Ok(parsed) = syn::parse_file(&file.text)
    {
        modules.visit_file(&parsed);
    }
    modules.0.into_iter().map(|finding| format!("{}:{finding}", file.path)).collect()
}

fn storage_words(file: &SourceFile) -> Vec<String> {
    let speaks = file.is_rust() || file.has_ending("md");
    if !speaks || STORAGE_PLACES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    // where the crypto provider is chosen, its name is allowed
    let of_crypto = file.text.contains("crypto::ring");
    let is_storage = |word: &String| STORAGE_WORDS.contains(&word.as_str()) && !(of_crypto && word == "ring");
    let finding = |(number, line): (usize, &str)| {
        let line = OTHER_MEANINGS.iter().fold(line.to_owned(), |line, meaning| line.replace(meaning, " "));
        let word = words(&line).into_iter().find(is_storage)?;
        let (path, number) = (&file.path, number + 1);
        Some(format!(
            "{path}:{number}: `{word}` is a word of the store: say what it means to the reader of this file"
        ))
    };
    file.text.lines().enumerate().filter_map(finding).collect()
}

/// The words of a line in lower case; `snake_case` and `CamelCase` are split.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in line.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && after_lower);
        if begins {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::sample(path, text))
    }

    #[test]
    fn names_without_meaning_are_refused() {
        for path in ["crates/a/src/util.rs", "crates/a/src/data/row.rs", "crates/a/src/job_util.rs"] {
            let refused = findings(path, "");
            assert!(refused.len() == 1 && refused[0].contains("says nothing"), "{path}: {refused:?}");
        }
        assert!(findings("crates/a/src/job/mod.rs", "")[0].contains("no mod.rs"));
        assert_eq!(findings("crates/a/src/a.rs", "\nmod helpers {}\n").len(), 1);
        for path in ["crates/a/src/metadata.rs", "crates/a/src/build_info.rs", "docs/data.md"] {
            assert_eq!(findings(path, "mod tests {}"), [""; 0], "{path}");
        }
    }

    #[test]
    fn storage_words_stay_in_the_store() {
        for text in ["/// A Ring.", "let ring_size = 1;", "struct RingSegment;", "\"the partitions\""] {
            let refused = findings("crates/api/src/wire.rs", text);
            assert!(refused[0].starts_with("crates/api/src/wire.rs:1: `"), "{text}: {refused:?}");
            assert_eq!(findings("crates/store/src/verbs/lease.rs", text), [""; 0]);
            assert_eq!(findings("docs/adr/0001-storage.md", text), [""; 0]);
        }
        for text in
            ["a string", "ringing", "// ring\nrustls::crypto::ring::default_provider()", "a.partition(|b| b)"]
        {
            assert_eq!(findings("README.md", text), [""; 0], "{text}");
        }
    }
}
