//! Makes the embedded migrations follow their directory: the macro alone does not see a new file.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
