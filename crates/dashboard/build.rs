//! Compresses the built files of `dist/` and writes a table of them, which `src/files.rs` includes. Needs no tool but the Rust toolchain.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=dist");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR").map_err(io::Error::other)?);
    let dist = Path::new(&std::env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("dist");
    let mut table = String::from("pub(crate) static FILES: &[File] = &[\n");
    for path in files(&dist)? {
        let name = path.strip_prefix(&dist).map_err(io::Error::other)?.display().to_string();
        let bytes = fs::read(&path)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        let compressed = out.join(format!("{}.gz", name.replace('/', "-")));
        fs::write(&compressed, gzip.finish()?)?;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let (hash, media_type) = (format!("{:016x}", hasher.finish()), media_type(&name));
        let (plain, gzip) = (path.display().to_string(), compressed.display().to_string());
        writeln!(
            table,
            "    File {{ name: {name:?}, media_type: {media_type:?}, hash: {hash:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({gzip:?}) }},"
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    fs::write(out.join("files.rs"), table)
}

/// The files of a directory and of those in it, by name, so that each build is the same.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
