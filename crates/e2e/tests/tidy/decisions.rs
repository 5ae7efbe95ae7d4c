//! The rule that decisions stay in `core`: other crates ask a settlement what it means and never match on its variants.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::tree::SourceFile;

const CORE: &str = "crates/core/";

pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    let is_source = file.path.starts_with("crates/") && file.path.contains("/src/") && file.is_rust();
    if !is_source || file.path.starts_with(CORE) {
        return Vec::new();
    }
    let mut matches = Matches::default();
    if let Ok(parsed) = syn::parse_file(&file.text) {
        matches.visit_file(&parsed);
    }
    let finding = |line| {
        format!(
            "{}:{line}: matches on `Settlement`: add a method to `core::Settlement` and call it",
            file.path
        )
    };
    matches.found.into_iter().map(finding).collect()
}

/// The lines of patterns that name a variant of `Settlement`.
#[derive(Default)]
struct Matches {
    found: Vec<usize>,
    in_pattern: bool,
}

impl<'ast> Visit<'ast> for Matches {
    fn visit_pat(&mut self, pattern: &'ast syn::Pat) {
        let outside = !std::mem::replace(&mut self.in_pattern, true);
        visit::visit_pat(self, pattern);
        self.in_pattern = !outside;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let enums = path.segments.iter().rev().skip(1);
        if self.in_pattern && enums.map(|segment| &segment.ident).any(|name| name == "Settlement") {
            self.found.push(path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("matches") && call.tokens.to_string().replace(' ', "").contains("Settlement::")
        {
            self.found.push(call.span().start().line);
        }
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_on_a_settlement_is_found_outside_core_only() {
        let text = "fn a(s: S) -> bool {
            match s { Settlement::Fail { .. } | Settlement::Cancel { .. } => {} _ => {} }
            if let Some(Settlement::Snooze { delay }) = s {}
            let made = Settlement::Fail { failure };
            matches!(s, Settlement::Complete { .. })
        }";
        let lines = |path: &str| -> Vec<String> { check(&SourceFile::sample(path, text)) };
        let found = lines("crates/store/src/a.rs");
        assert_eq!(found.len(), 4, "{found:?}");
        for (finding, line) in found.iter().zip([2, 2, 3, 5]) {
            assert!(finding.starts_with(&format!("crates/store/src/a.rs:{line}: ")), "{finding}");
        }
        assert!(lines("crates/core/src/settle.rs").is_empty());
        assert!(lines("crates/store/tests/it/settle.rs").is_empty());
    }
}
