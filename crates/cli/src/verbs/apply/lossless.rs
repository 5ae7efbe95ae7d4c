//! TOML as JSON text. Numbers keep the digits that the file has: `1.50` stays `1.50`, as a payload may need it.

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use crate::raw::quoted;

/// The JSON of a TOML document. The error says what JSON cannot express.
pub(super) fn json(document: &str) -> Result<Box<RawValue>, String> {
    let table = DeTable::parse(document).map_err(|error| error.message().to_owned())?;
    RawValue::from_string(object(table.get_ref())?).map_err(|error| error.to_string())
}

fn object(table: &DeTable<'_>) -> Result<String, String> {
    let members = table
        .iter()
        .map(|(name, inner)| Ok(format!("{}:{}", quoted(name.get_ref()), value(inner.get_ref())?)));
    Ok(format!("{{{}}}", members.collect::<Result<Vec<_>, String>>()?.join(",")))
}

fn value(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(quoted(text)),
        DeValue::Boolean(is) => Ok(is.to_string()),
        DeValue::Datetime(at) => Ok(quoted(&at.to_string())),
        DeValue::Integer(number) if number.radix() == 10 => Ok(plain(number.as_str())),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| format!("{} is too large", number.as_str())),
        DeValue::Float(number) if number.as_str().contains(['n', 'N']) => {
            Err(format!("{} is not a number of JSON", number.as_str()))
        }
        DeValue::Float(number) => Ok(plain(number.as_str())),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| self::value(item.get_ref()));
            Ok(format!("[{}]", items.collect::<Result<Vec<_>, String>>()?.join(",")))
        }
        DeValue::Table(table) => object(table),
    }
}

/// JSON has no plus sign before a number.
fn plain(number: &str) -> String {
    number.trim_start_matches('+').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let document = "a = 1.50\nb = +1_000\nc = 0xff\nd = 1e3\nat = 2027-01-01T00:00:00Z\n[e]\n\"x\\\"y\" = [true, -0.10, 'é']";
        assert_eq!(
            json(document).unwrap().get(),
            r#"{"a":1.50,"at":"2027-01-01T00:00:00Z","b":1000,"c":255,"d":1e3,"e":{"x\"y":[true,-0.10,"é"]}}"#
        );
        for wrong in ["a = inf", "a = -nan", "a = "] {
            assert!(json(wrong).is_err(), "{wrong}");
        }
    }
}
