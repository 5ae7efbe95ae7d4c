//! Files that have an API key and nothing else, such as a mounted secret.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::exit::{CommandError, CommandResult};

/// Longest file that can have a key.
const MAX_BYTES: u64 = 4096;

/// The key in a file, without the spaces and line breaks around it.
pub(crate) fn read(path: &Path) -> CommandResult<String> {
    let refused = |reason: &str| CommandError::usage(format!("the key file {} {reason}", path.display()));
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| refused(&format!("cannot be read: {error}")))?;
    let is_too_long = u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES);
    let key = text.trim();
    if is_too_long {
        Err(refused("is longer than a key can be"))
    } else if key.is_empty() {
        Err(refused("is empty"))
    } else if !key.chars().all(|char| char.is_ascii_graphic()) {
        // other characters cannot be sent in a header
        Err(refused("may only have a key of visible ASCII characters, without spaces inside"))
    } else {
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_what_is_none_is_refused_without_its_text() {
        let path = std::env::temp_dir().join(format!("jobqueue-cli-key-{}", std::process::id()));
        let (longest, too_long) = ("k".repeat(4096), "k".repeat(4097));
        for (text, meant) in [
            ("secret", Ok("secret")),
            (" secret\r\n", Ok("secret")),
            (&longest, Ok(longest.as_str())),
            (&too_long, Err("is longer than a key can be")),
            ("", Err("is empty")),
            (" \n", Err("is empty")),
            ("secret secret", Err("visible ASCII")),
            ("secret\nsecret", Err("visible ASCII")),
            ("secretü", Err("visible ASCII")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (read(&path), meant) {
                (Ok(key), Ok(meant)) => assert_eq!(key, meant),
                (Err(error), Err(reason)) => {
                    let error = error.to_string();
                    assert!(error.contains(reason) && !error.contains("secret"), "{text:?}: {error}");
                }
                (given, meant) => panic!("{text:?}: {given:?} instead of {meant:?}"),
            }
        }
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("cannot be read"));
        assert!(read(Path::new("/dev/zero")).is_err(), "it is not read to its end");
    }
}
