//! The built files, compressed by `build.rs`.

/// A file of `dist/`.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path in `dist/`.
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    /// Hash of its bytes.
    pub(crate) hash: &'static str,
    pub(crate) plain: &'static [u8],
    pub(crate) gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The file with this name.
pub(crate) fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}
