//! One condition on the metadata of a job, as filters write it: `team=billing`, `owner.team=billing`, `/a.b/c=1`.

use std::str::FromStr;

/// Maximum length of a condition, in bytes.
const MAX_BYTES: usize = 1024;
/// Maximum number of steps of a path.
const MAX_STEPS: usize = 16;

/// The value at a path of the metadata is equal to a text. A number or `true` is compared as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataTerm {
    /// The keys from the outside to the inside. The index of an array counts as a key.
    pub path: Vec<String>,
    /// The text that the value must have.
    pub value: String,
}

/// Why a text is not a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataTermError {
    /// There is no path before a `=`.
    #[error("must be a path, `=` and a value, such as `team=billing`, `owner.team=billing` or `/a.b/c=1`")]
    Shape,
    /// The text is too long, or has too many steps.
    #[error("must have at most 1024 bytes and 16 keys")]
    Long,
    /// Postgres cannot store this character.
    #[error("must not contain U+0000")]
    Nul,
}

impl FromStr for MetadataTerm {
    type Err = MetadataTermError;

    /// A path that begins with `/` is a JSON pointer (RFC 6901); in any other, `.` separates the keys.
    fn from_str(text: &str) -> Result<Self, MetadataTermError> {
        let (path, value) = text.split_once('=').ok_or(MetadataTermError::Shape)?;
        let path: Vec<String> = match path.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => path.split('.').map(ToOwned::to_owned).collect(),
        };
        if path.iter().any(String::is_empty) {
            return Err(MetadataTermError::Shape);
        }
        if text.len() > MAX_BYTES || path.len() > MAX_STEPS {
            return Err(MetadataTermError::Long);
        }
        if text.contains('\0') {
            return Err(MetadataTermError::Nul);
        }
        Ok(Self { path, value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_dotted_or_a_pointer() {
        for (text, path, value) in [
            ("team=billing", vec!["team"], "billing"),
            ("owner.team=a=b", vec!["owner", "team"], "a=b"),
            ("/a.b/c~1d~0=", vec!["a.b", "c/d~"], ""),
            ("n.0=1.50", vec!["n", "0"], "1.50"),
        ] {
            let term: MetadataTerm = text.parse().unwrap();
            assert_eq!(
                (term.path, term.value.as_str()),
                (path.into_iter().map(String::from).collect(), value)
            );
        }
        for (text, error) in [
            ("", MetadataTermError::Shape),
            ("team", MetadataTermError::Shape),
            ("=x", MetadataTermError::Shape),
            ("a..b=x", MetadataTermError::Shape),
            ("/=x", MetadataTermError::Shape),
            ("a=\0", MetadataTermError::Nul),
            (&format!("a={}", "x".repeat(MAX_BYTES)), MetadataTermError::Long),
            (&format!("{}=x", ["a"; 17].join(".")), MetadataTermError::Long),
        ] {
            assert_eq!(text.parse::<MetadataTerm>(), Err(error), "{text}");
        }
    }
}
