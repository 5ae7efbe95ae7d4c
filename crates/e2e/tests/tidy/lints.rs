//! The rule that every crate uses the lints of the workspace.

use toml::{Table, Value};

use crate::tree::SourceFile;

pub(crate) fn check(file: &SourceFile) -> Option<String> {
    let path = &file.path;
    if !(path.starts_with("crates/") && path.ends_with("/Cargo.toml")) {
        return None;
    }
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("{path}: cannot be read: {error}")),
    };
    let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
    (inherited != Some(true)).then(|| format!("{path}: other lints: write `[lints]` and `workspace = true`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_other_lints_is_refused() {
        let finding = |text| check(&SourceFile::sample("crates/a/Cargo.toml", text));
        assert_eq!(finding("[lints]\nworkspace = true"), None);
        for text in ["", "[lints]\nworkspace = false", "[lints.rust]\nunsafe_code = \"allow\"", "[lints"] {
            assert!(
                finding(text).is_some_and(|refused| refused.starts_with("crates/a/Cargo.toml: ")),
                "{text}"
            );
        }
    }
}
