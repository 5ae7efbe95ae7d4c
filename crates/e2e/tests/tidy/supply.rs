//! The rules of `deny.toml` that need no download: licences, sources and banned crates of all dependencies.
//! `cargo deny` also checks this file, and the advisories.

use std::fs;

use cargo_metadata::{MetadataCommand, Package};
use toml::{Table, Value};

use crate::tree::root;

/// Cargo's name of the registry, which `deny.toml` also has.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A dependency.
pub(crate) struct Supply {
    name: String,
    /// An SPDX expression; empty if there is none.
    licence: String,
    /// `None` for a path in this workspace.
    source: Option<String>,
}

/// The licences and names in `deny.toml`.
pub(crate) struct Policy {
    allowed: Vec<String>,
    banned: Vec<String>,
}

/// Every dependency in the lock file, for every platform.
pub(crate) fn of_this_workspace() -> cargo_metadata::Result<Vec<Supply>> {
    let locked = vec!["--locked".to_owned()];
    let metadata = MetadataCommand::new().current_dir(root()).other_options(locked).exec()?;
    let supply = |package: &Package| Supply {
        name: package.name.to_string(),
        licence: package.license.clone().unwrap_or_default(),
        source: package.source.as_ref().map(ToString::to_string),
    };
    Ok(metadata.packages.iter().map(supply).collect())
}

impl Policy {
    pub(crate) fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string(root().join("deny.toml")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let table: Table = text.parse().ok()?;
        let licences = table.get("licenses")?.get("allow")?.as_array()?;
        let bans = table.get("bans")?.get("deny")?.as_array()?;
        let texts = |values: &mut dyn Iterator<Item = &Value>| -> Option<Vec<String>> {
            values.map(|value| value.as_str().map(str::to_owned)).collect()
        };
        Some(Self {
            allowed: texts(&mut licences.iter())?,
            banned: texts(&mut bans.iter().filter_map(|ban| ban.get("crate")))?,
        })
    }

    pub(crate) fn check(&self, supply: &Supply) -> Option<String> {
        let Supply { name, licence, source } = supply;
        let source = source.as_ref()?;
        if source != CRATES_IO {
            return Some(format!("Cargo.lock: {name} comes from {source}: take it from crates.io"));
        }
        if self.banned.contains(name) {
            return Some(format!(
                "Cargo.lock: {name} is banned in deny.toml: `cargo tree -i {name}` tells who wants it"
            ));
        }
        let fine = self.permits(licence);
        (!fine)
            .then(|| format!("Cargo.lock: {name} is under {licence:?}: replace it, or allow it in deny.toml"))
    }

    /// Whether an SPDX expression is permitted. `AND` binds closer than `OR`; an old `/` means `OR`.
    fn permits(&self, expression: &str) -> bool {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<_> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        self.either(&mut rest) && rest.is_empty()
    }

    fn either(&self, rest: &mut &[&str]) -> bool {
        let mut fine = self.both(rest);
        while let ["OR", after @ ..] = rest {
            *rest = after;
            fine |= self.both(rest);
        }
        fine
    }

    fn both(&self, rest: &mut &[&str]) -> bool {
        let mut fine = self.one(rest);
        while let ["AND", after @ ..] = rest {
            *rest = after;
            fine &= self.one(rest);
        }
        fine
    }

    fn one(&self, rest: &mut &[&str]) -> bool {
        match *rest {
            ["(", after @ ..] => {
                *rest = after;
                let fine = self.either(rest);
                *rest = rest.strip_prefix(&[")"]).unwrap_or(&["unclosed"]);
                fine
            }
            // an exception only gives more rights, but it is checked like a separate licence
            [licence, "WITH", exception, after @ ..] => {
                *rest = after;
                self.allowed.contains(&format!("{licence} WITH {exception}"))
            }
            [licence, after @ ..] => {
                *rest = after;
                self.allowed.iter().any(|allowed| allowed == licence)
            }
            [] => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, licence: &str, source: &str) -> Option<String> {
        let policy = "[licenses]\nallow = ['MIT', 'ISC']\n[bans]\ndeny = [{ crate = 'openssl' }]";
        let supply =
            Supply { name: name.to_owned(), licence: licence.to_owned(), source: Some(source.to_owned()) };
        Policy::parse(policy).unwrap().check(&supply)
    }

    #[test]
    fn licences_are_read_as_expressions() {
        for fine in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(GPL-3.0 OR MIT) AND ISC", "A AND B OR ISC"]
        {
            assert_eq!(finding("serde", fine, CRATES_IO), None, "{fine}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT WITH strings", "MIT ISC"] {
            assert!(finding("serde", bad, CRATES_IO).is_some(), "{bad}");
        }
    }

    #[test]
    fn banned_crates_and_other_sources_are_refused() {
        assert!(finding("openssl", "MIT", CRATES_IO).is_some_and(|refused| refused.contains("banned")));
        assert!(finding("serde", "MIT", "git+https://example.org/serde").is_some());
    }
}
