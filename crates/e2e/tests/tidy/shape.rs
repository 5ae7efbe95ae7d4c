//! Rules about sizes and module docs: files, functions, `main.rs`, documents.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tree::SourceFile;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 30;
const ADR_LINES: usize = 60;
const ARCHITECTURE_LINES: usize = 150;
/// Dumps of released versions, which are generated.
const DUMPS: &str = "crates/api/tests/snapshots/";

pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    let mut findings: Vec<_> = too_long(file).into_iter().chain(no_opening(file)).collect();
    findings.extend(long_functions(file));
    findings
}

fn too_long(file: &SourceFile) -> Option<String> {
    let (path, lines) = (file.path.as_str(), file.line_count());
    let is_main = path.ends_with("/src/main.rs") || path.contains("/src/bin/");
    let (limit, fix) = if is_main {
        (MAIN_LINES, "move the work into the library; main only boots")
    } else if path == "ARCHITECTURE.md" {
        (ARCHITECTURE_LINES, "move details into docs/ and link to them")
    } else if path.starts_with("docs/adr/") {
        (ADR_LINES, "keep context, decision, consequences and what would change it")
    } else if path.starts_with(DUMPS) {
        return None;
    } else if file.is_rust() || file.has_ending("sql") {
        (FILE_LINES, "split it by what its parts own")
    } else {
        return None;
    };
    (lines > limit).then(|| format!("{path}: {lines} lines, the limit is {limit}: {fix}"))
}

fn no_opening(file: &SourceFile) -> Option<String> {
    let opens =
        file.text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"));
    (file.is_rust() && !opens).then(|| {
        format!("{}:1: no module docs: begin with `//!`, what it owns and what it must never do", file.path)
    })
}

fn long_functions(file: &SourceFile) -> Vec<String> {
    if !file.is_rust() {
        return Vec::new();
    }
    let parsed = match syn::parse_file(&file.text) {
        Ok(parsed) => parsed,
        Err(error) => return vec![format!("{}: cannot be read: {error}", file.path)],
    };
    let mut functions = Functions::default();
    functions.visit_file(&parsed);
    let is_long = |function: &&Function| function.lines > FUNCTION_LINES;
    let finding = |Function { name, line, lines }: &Function| {
        let path = &file.path;
        format!("{path}:{line}: `{name}` has {lines} lines, the limit is {FUNCTION_LINES}: name its parts")
    };
    functions.found.iter().filter(is_long).map(finding).collect()
}

/// A function: from `fn` to its last brace, without docs and attributes.
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, end: Span) {
        let line = signature.fn_token.span.start().line;
        let lines = end.end().line - line + 1;
        self.found.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.sig, item.span());
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::sample(path, text))
    }

    #[test]
    fn sizes_have_limits() {
        let sample = |lines: usize| format!("//! Opens.\n{}", "\n".repeat(lines - 1));
        let limits = [
            ("crates/api/src/routes.rs", FILE_LINES),
            ("crates/api/src/main.rs", MAIN_LINES),
            ("crates/cli/src/bin/jobqueue.rs", MAIN_LINES),
            ("docs/adr/0001-storage.md", ADR_LINES),
            ("ARCHITECTURE.md", ARCHITECTURE_LINES),
            ("migrations/0001_jobs.sql", FILE_LINES),
        ];
        for (path, limit) in limits {
            assert_eq!(findings(path, &sample(limit)), [""; 0], "{path} at its limit");
            let over = findings(path, &sample(limit + 1));
            assert!(over.len() == 1 && over[0].starts_with(path), "{path}: {over:?}");
        }
        for path in ["README.md", "crates/api/tests/snapshots/0.1.0.sql"] {
            assert_eq!(findings(path, &sample(2_000)), [""; 0]);
        }
    }

    #[test]
    fn functions_have_a_limit_wherever_they_are() {
        let body = |lines: usize| format!("{{\n{}}}", "    step();\n".repeat(lines - 2));
        for (before, after) in [("", ""), ("impl A {\n", "\n}"), ("trait A {\n", "\n}"), ("mod a {\n", "\n}")]
        {
            let sample = |lines| format!("//! Opens.\n{before}/// Docs.\nfn walk() {}{after}", body(lines));
            assert_eq!(findings("a.rs", &sample(FUNCTION_LINES)), [""; 0]);
            let over = findings("a.rs", &sample(FUNCTION_LINES + 1));
            assert!(over.len() == 1 && over[0].contains("`walk` has 71 lines"), "{over:?}");
        }
    }

    #[test]
    fn a_module_opens_with_its_docs() {
        let missing = findings("a.rs", "use std::fmt;\n//! Too late.\n");
        assert!(missing[0].starts_with("a.rs:1: no module docs"), "{missing:?}");
        assert_eq!(findings("a.rs", "//! What it owns.\n"), [""; 0]);
    }
}
