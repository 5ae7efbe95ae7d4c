//! Rule about modules: inside a crate, no two modules use each other, directly or through others.
//!
//! A module is a file. Module A uses module B if its code names an item of B: `super::`, `crate::`, imports and re-exports are
//! followed to the file that defines the item. Naming a module is no use, declaring it (`mod b;`) is none, and neither is
//! re-exporting what is below (`pub use b::Item`): so a parent that only declares and re-exports its children may define
//! nothing that they use, but costs nothing. Parent and child count like any other two modules. Tests (`#[cfg(test)]`) and
//! binaries do not count.

mod graph;
mod uses;

use crate::tree::{SHIPPED, SourceFile};
use graph::Graph;
use uses::Crate;

pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    SHIPPED.iter().flat_map(|name| cycles(name, files)).collect()
}

fn cycles(name: &str, files: &[SourceFile]) -> Vec<String> {
    let source = Crate::read(&format!("crates/{name}/src/"), files);
    let mut graph = Graph::default();
    for used in source.uses() {
        graph.add(used);
    }
    graph.cycles().iter().map(|cycle| describe(name, cycle)).collect()
}

/// The modules of a cycle, and the lines that close it.
fn describe(name: &str, cycle: &graph::Cycle) -> String {
    let mut text = format!(
        "crates/{name}: {} modules use each other: move what both sides need into a module below them",
        cycle.modules.len()
    );
    for used in &cycle.uses {
        let line =
            format!("\n    {}:{}: {} uses {}::{}", used.file, used.line, used.from, used.to, used.item);
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| SourceFile::sample(&format!("crates/core/src/{path}"), text))
            .collect();
        check(&files)
    }

    #[track_caller]
    fn refused(files: &[(&str, &str)], modules: usize) {
        let found = findings(files);
        let start = format!("crates/core: {modules} modules use each other");
        assert!(found.len() == 1 && found[0].starts_with(&start), "{files:?}: {found:?}");
    }

    #[test]
    fn modules_that_use_each_other_are_refused() {
        let root = ("lib.rs", "mod a; mod b; mod c;");
        for uses_a in [
            "use crate::a::A;",
            "use super::a::A;",
            "use crate::{a, c::C}; type B = a::A;",
            "type B = crate::a::A;",
            "fn b() { super::a::A::new(); }",
            "fn b() { println!(\"{}\", crate::a::A); }",
            "#[derive(X)] #[x(path = crate::a::A)] struct B;",
            "mod inner { use super::super::a::A; }",
            "use crate::a as other; type B = other::A;",
            "use crate::a::*;",
        ] {
            refused(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", uses_a)], 2);
        }
        refused(
            &[root, ("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")],
            3,
        );
    }

    #[test]
    fn parent_and_child_count_like_any_two_modules() {
        refused(&[("lib.rs", "mod a;"), ("a.rs", "mod b; struct A(b::B);"), ("a/b.rs", "use super::A;")], 2);
        refused(&[("lib.rs", "mod a; use a::A; struct L(A);"), ("a.rs", "use crate::L;")], 2);
        refused(&[("lib.rs", "mod a; pub use a::A; struct L(A);"), ("a.rs", "use crate::L;")], 2);
    }

    #[test]
    fn a_parent_that_declares_and_re_exports_is_part_of_no_cycle() {
        let parent = ("a.rs", "mod b; mod c; pub(crate) use b::B; pub use c::*;");
        assert_eq!(
            findings(&[
                ("lib.rs", "mod a; pub use a::B;"),
                parent,
                ("a/b.rs", "use super::C; pub(crate) struct B;"),
                ("a/c.rs", "pub struct C;"),
            ]),
            [""; 0]
        );
        refused(
            &[
                ("lib.rs", "mod a;"),
                parent,
                ("a/b.rs", "use super::C;"),
                ("a/c.rs", "use crate::a::B; pub struct C;"),
            ],
            2,
        );
    }

    #[test]
    fn a_re_export_leads_to_the_module_that_defines_the_item() {
        let files =
            [("lib.rs", "mod a; mod b;"), ("a.rs", "mod c; pub use c::C; use crate::b::B;"), ("a/c.rs", "")];
        assert_eq!(findings(&[&files[..], &[("b.rs", "use crate::a::C;")]].concat()), [""; 0]);
        refused(&[&files[..], &[("b.rs", "use crate::a::D;")]].concat(), 2);
    }

    #[test]
    fn one_direction_tests_and_binaries_pass() {
        let root = ("lib.rs", "mod a; mod b;");
        let a = ("a.rs", "use crate::b::B;");
        for b in ["use std::fmt;", "#[cfg(test)] mod tests { use crate::a::A; }", "use crate::a;"] {
            assert_eq!(findings(&[root, a, ("b.rs", b)]), [""; 0], "{b}");
        }
        assert_eq!(findings(&[root, a, ("main.rs", "use crate::a::A;")]), [""; 0]);
    }
}
