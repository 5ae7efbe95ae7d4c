//! Merge patches: from `--set`, and from the difference of two documents. Numbers keep their digits.

use serde_json::value::RawValue;

use crate::exit::{CommandError, CommandResult};
use crate::raw::{self, quoted};

/// A patch under construction.
#[derive(Debug)]
enum Node {
    Leaf(String),
    Object(Vec<(String, Node)>),
}

/// The patch of `FIELD=VALUE` arguments. A dot in the name leads into an object.
pub(super) fn of_fields(fields: &[String]) -> CommandResult<String> {
    let mut members = Vec::new();
    for field in fields {
        let wrong = || CommandError::usage(format!("`{field}` must be FIELD=VALUE, for example priority=50"));
        let (name, value) = field.split_once('=').ok_or_else(wrong)?;
        let path: Vec<&str> = name.split('.').collect();
        if path.iter().any(|step| step.is_empty()) {
            return Err(wrong());
        }
        let value = RawValue::from_string(value.trim().to_owned());
        let leaf = value.map_or_else(
            |_| quoted(field.split_once('=').map_or("", |pair| pair.1)),
            |json| json.get().to_owned(),
        );
        insert(&mut members, &path, leaf);
    }
    Ok(Node::Object(members).text())
}

/// A later value replaces an earlier one.
fn insert(members: &mut Vec<(String, Node)>, path: &[&str], leaf: String) {
    let Some((name, rest)) = path.split_first() else { return };
    let at = members.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        members.push(((*name).to_owned(), Node::Object(vec![])));
        members.len() - 1
    });
    let Some((_, node)) = members.get_mut(at) else { return };
    if rest.is_empty() {
        *node = Node::Leaf(leaf);
        return;
    }
    if let Node::Leaf(_) = node {
        *node = Node::Object(vec![]);
    }
    if let Node::Object(inner) = node {
        insert(inner, rest, leaf);
    }
}

impl Node {
    fn text(&self) -> String {
        match self {
            Self::Leaf(json) => json.clone(),
            Self::Object(members) => {
                let member = |(name, node): &(String, Self)| format!("{}:{}", quoted(name), node.text());
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The merge patch that makes `new` of `old`; `None` if they are equal. A member that is not in `new` is removed. A merge patch cannot set a
/// member to `null`, so that is an error, which names the member.
pub(super) fn between(old: &RawValue, new: &RawValue) -> Result<Option<String>, String> {
    difference(old, new, "")
}

fn difference(old: &RawValue, new: &RawValue, at: &str) -> Result<Option<String>, String> {
    if old.get() == new.get() {
        return Ok(None);
    }
    let (Some(before), Some(after)) = (raw::members(old), raw::members(new)) else {
        return if same(old, new) { Ok(None) } else { Ok(Some(new.get().to_owned())) };
    };
    let mut members = Vec::new();
    for (name, value) in &after {
        let place = format!("{at}/{}", raw::text(name));
        let known = before.iter().find(|(known, _)| raw::text(known) == raw::text(name));
        let change = match known {
            Some((_, old)) => difference(old, value, &place)?,
            None => Some(value.get().to_owned()),
        };
        if let Some(change) = change {
            // at the top, `null` is the default of a field
            if change == "null" && !at.is_empty() {
                return Err(format!("a merge patch cannot set {place} to null; remove the member"));
            }
            members.push(format!("{}:{change}", name.get()));
        }
    }
    for (name, value) in &before {
        let stays = after.iter().any(|(kept, _)| raw::text(kept) == raw::text(name));
        if !stays && value.get() != "null" {
            members.push(format!("{}:null", name.get()));
        }
    }
    Ok((!members.is_empty()).then(|| format!("{{{}}}", members.join(","))))
}

/// Whether two values differ only in spaces.
fn same(old: &RawValue, new: &RawValue) -> bool {
    match (raw::items(old), raw::items(new)) {
        (Some(old), Some(new)) => {
            old.len() == new.len()
                && old.iter().zip(&new).all(|(old, new)| matches!(difference(old, new, "/"), Ok(None)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[&str]) -> CommandResult<String> {
        of_fields(&fields.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn fields_are_json_or_text() {
        let set = [
            "priority=50",
            "queue=mail",
            "payload.a.b=1.50",
            "payload.a.c=x=y",
            "tags=[\"t\"]",
            "run_at=null",
        ];
        assert_eq!(
            fields(&set).unwrap(),
            r#"{"priority":50,"queue":"mail","payload":{"a":{"b":1.50,"c":"x=y"}},"tags":["t"],"run_at":null}"#
        );
        assert_eq!(fields(&["priority=1", "priority=2"]).unwrap(), r#"{"priority":2}"#);
        assert_eq!(fields(&["metadata="]).unwrap(), r#"{"metadata":""}"#);
        for wrong in ["priority", "=1", "a..b=1"] {
            assert!(fields(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_difference_is_the_smallest_patch() {
        let patch = |old: &str, new: &str| {
            let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
            between(&raw(old), &raw(new))
        };
        let same = r#"{"a": 1, "b": {"c": [1, {"d":2}]}}"#;
        assert_eq!(patch(same, "{\n \"a\":1,\n\"b\":{\"c\":[1,{\"d\": 2}]}}"), Ok(None));
        assert_eq!(
            patch(r#"{"a":1,"b":{"c":1,"d":2},"e":null,"f":3}"#, r#"{"a":1.0,"b":{"c":1,"x":[2]}}"#),
            Ok(Some(r#"{"a":1.0,"b":{"x":[2],"d":null},"f":null}"#.to_owned()))
        );
        assert_eq!(
            patch(r#"{"run_at":"x"}"#, r#"{"run_at":null}"#),
            Ok(Some(r#"{"run_at":null}"#.to_owned()))
        );
        assert!(patch(r#"{"payload":{"a":1}}"#, r#"{"payload":{"a":null}}"#).is_err());
    }
}
