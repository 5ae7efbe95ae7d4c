//! The members of a JSON object as they are written: in their order, with the texts of their values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object, each name read as `N`: a `String` decodes it, a `&RawValue` keeps it as it is written. `None` if the text is no
/// object.
pub fn members<'a, N: Deserialize<'a>>(object: &'a str) -> Option<Vec<(N, &'a RawValue)>> {
    serde_json::from_str::<Members<'a, N>>(object).ok().map(|members| members.0)
}

struct Members<'a, N>(Vec<(N, &'a RawValue)>);

struct Read<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de>> Deserialize<'de> for Members<'de, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Read(PhantomData))
    }
}

impl<'de, N: Deserialize<'de>> Visitor<'de> for Read<N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de, N>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
