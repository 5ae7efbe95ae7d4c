//! The rules of this repository that the compiler cannot check. Each finding names the place and says how to
//! fix it.

mod arrows;
mod cycles;
mod decisions;
mod links;
mod lints;
mod names;
mod shape;
mod supply;
mod tree;
mod type_names;
mod words;

use tree::report;

#[test]
fn the_tree_is_tidy() {
    let files = tree::files();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "this is not the root of the workspace");
    report(
        [shape::check, names::check, decisions::check].iter().flat_map(|check| files.iter().flat_map(check)),
    );
}

#[test]
fn comments_documents_and_names_are_literal() {
    report(tree::files().iter().flat_map(words::check));
}

#[test]
fn every_link_in_a_document_has_a_target() {
    report(links::check(&tree::files()));
}

#[test]
fn crates_depend_only_on_allowed_crates() {
    report(arrows::check(&arrows::of_this_workspace().unwrap()));
}

#[test]
fn every_member_has_the_lints_of_the_workspace() {
    report(tree::files().iter().filter_map(lints::check));
}

#[test]
fn every_dependency_is_allowed() {
    let policy = supply::Policy::read().unwrap();
    report(supply::of_this_workspace().unwrap().iter().filter_map(|supply| policy.check(supply)));
}

#[test]
fn no_two_modules_of_a_crate_use_each_other() {
    report(cycles::check(&tree::files()));
}

#[test]
fn one_type_name_has_one_meaning() {
    report(type_names::check(&tree::files()));
}
