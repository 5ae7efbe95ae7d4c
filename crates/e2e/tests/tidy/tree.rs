//! The files that the rules check: text files of the repository, by their path from the root.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories without files of this repository.
const SKIPPED: [&str; 7] = [".git", ".jobqueue", ".sqlx", ".venv", "__pycache__", "node_modules", "target"];
const TEXT: [&str; 6] = ["rs", "toml", "md", "sql", "yaml", "yml"];

/// The crates that users get.
pub(crate) const SHIPPED: [&str; 9] =
    ["api", "cli", "core", "dashboard", "embedded", "reaper", "runtime", "store", "worker"];

/// A text file of the repository.
pub(crate) struct SourceFile {
    /// The path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    #[cfg(test)]
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.has_ending("rs")
    }

    pub(crate) fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == ending)
    }

    /// The file name without its extension.
    pub(crate) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split('.').next().unwrap_or_default()
    }

    pub(crate) fn line_count(&self) -> usize {
        self.text.lines().count()
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_path_buf()
}

/// Every text file of the repository.
pub(crate) fn files() -> Vec<SourceFile> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_text = path.extension().is_some_and(|ending| TEXT.iter().any(|text| ending == *text));
            if path.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    open.push(path);
                }
            } else if is_text && let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                found.push(SourceFile { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Whether an item is compiled only for tests.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    let is_cfg_test = |attribute: &syn::Attribute| matches!(&attribute.meta, syn::Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test");
    attributes.iter().any(is_cfg_test)
}

/// Fails with every finding at once.
pub(crate) fn report(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<_> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{} untidy places:\n{}", findings.len(), findings.join("\n"));
}
