//! JSON merge patches (RFC 7396) of what users set by name.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use jobqueue_core::Json;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use crate::extract::Wire;

/// A body whose single fields can be changed.
pub(crate) trait Patched {
    /// The names of its fields.
    const FIELDS: &'static [&'static str];
}

/// A merge patch with only the fields of `T`.
#[derive(Debug)]
pub(crate) struct MergePatch<T> {
    pub(crate) json: Json,
    of: PhantomData<T>,
}

impl<'de, T: Patched> Deserialize<'de> for MergePatch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let members: BTreeMap<String, IgnoredAny> = json.to().map_err(D::Error::custom)?;
        match members.keys().find(|name| !T::FIELDS.contains(&name.as_str())) {
            Some(name) => Err(D::Error::unknown_field(name, T::FIELDS)),
            None => Ok(Self { json, of: PhantomData }),
        }
    }
}

impl<T: Patched> Wire for MergePatch<T> {}
