//! Rule about types: one name has one meaning in all shipped crates.
//!
//! It looks at the types that other modules can name: structs, enums, unions, traits and aliases that are `pub` or
//! `pub(crate)`. A private type is seen only where it is defined, so it may have any name. Tests do not count.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use crate::tree::{SHIPPED, SourceFile, is_test};

pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_shipped(file)) {
        for (name, line) in types_of(file) {
            places.entry(name).or_default().push(format!("{}:{line}", file.path));
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    twice
        .map(|(name, places)| {
            format!("{}: `{name}` is several types: name each after what it is", places.join(", "))
        })
        .collect()
}

fn is_shipped(file: &SourceFile) -> bool {
    file.is_rust() && SHIPPED.iter().any(|name| file.path.starts_with(&format!("crates/{name}/src/")))
}

fn types_of(file: &SourceFile) -> Vec<(String, usize)> {
    let mut types = Types::default();
    if let Ok(parsed) = syn::parse_file(&file.text) {
        types.visit_file(&parsed);
    }
    types.0
}

/// The names of types, each with its line.
#[derive(Default)]
struct Types(Vec<(String, usize)>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (visibility, name, attributes) = match item {
            syn::Item::Enum(item) => (&item.vis, &item.ident, &item.attrs),
            syn::Item::Struct(item) => (&item.vis, &item.ident, &item.attrs),
            syn::Item::Trait(item) => (&item.vis, &item.ident, &item.attrs),
            syn::Item::Type(item) => (&item.vis, &item.ident, &item.attrs),
            syn::Item::Union(item) => (&item.vis, &item.ident, &item.attrs),
            syn::Item::Mod(item) if is_test(&item.attrs) => return,
            _ => return visit::visit_item(self, item),
        };
        let is_visible = match visibility {
            syn::Visibility::Public(_) => true,
            syn::Visibility::Restricted(to) => to.path.is_ident("crate"),
            syn::Visibility::Inherited => false,
        };
        if is_visible && !is_test(attributes) {
            self.0.push((name.to_string(), name.span().start().line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| SourceFile::sample(path, text)).collect();
        check(&files)
    }

    #[test]
    fn a_name_with_two_meanings_is_refused() {
        let one = ("crates/api/src/a.rs", "pub(crate) struct Status;");
        for (path, text) in [
            ("crates/core/src/b.rs", "pub enum Status {}"),
            ("crates/api/src/b.rs", "\npub trait Status {}"),
            ("crates/api/src/b.rs", "mod inner { pub(crate) type Status = u8; }"),
        ] {
            let found = findings(&[one, (path, text)]);
            assert!(found.len() == 1 && found[0].contains("`Status` is several types"), "{text}: {found:?}");
            assert!(found[0].contains(path), "{found:?}");
        }
    }

    #[test]
    fn private_types_tests_and_other_crates_may_use_any_name() {
        let one = ("crates/api/src/a.rs", "pub(crate) struct Status;");
        for (path, text) in [
            ("crates/api/src/b.rs", "struct Status;"),
            ("crates/api/src/b.rs", "pub(super) struct Status;"),
            ("crates/api/src/b.rs", "#[cfg(test)] mod tests { pub(crate) struct Status; }"),
            ("crates/bench/src/b.rs", "pub struct Status;"),
            ("crates/api/tests/b.rs", "pub struct Status;"),
            ("crates/api/src/b.rs", "pub use crate::a::Status;"),
        ] {
            assert_eq!(findings(&[one, (path, text)]), [""; 0], "{text}");
        }
    }
}
