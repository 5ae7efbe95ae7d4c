//! Rebuilds when a file is added to the migrations, which the macro alone does not notice.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
