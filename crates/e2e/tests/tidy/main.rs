//! The house rules that a compiler cannot check. Each finding names the place and what to do about it.

mod arrows;
mod lints;
mod names;
mod shape;
mod supply;
mod tree;

use tree::report;

#[test]
fn the_tree_is_tidy() {
    let files = tree::files();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "this is not the root of the workspace");
    report(files.iter().flat_map(shape::check).chain(files.iter().flat_map(names::check)));
}

#[test]
fn arrows_between_crates_point_the_right_way() {
    report(arrows::check(&arrows::of_this_workspace().unwrap()));
}

#[test]
fn every_member_has_the_lints_of_the_workspace() {
    report(tree::files().iter().filter_map(lints::check));
}

#[test]
fn everything_that_comes_in_is_allowed_to() {
    let policy = supply::Policy::read().unwrap();
    report(supply::of_this_workspace().unwrap().iter().filter_map(|supply| policy.check(supply)));
}
