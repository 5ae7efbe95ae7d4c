//! W3C Trace Context, passed from the submitter's request to the handler.

use serde::{Deserialize, Serialize};

/// A valid `traceparent` of version 00 (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent(String);

impl TraceParent {
    /// The value of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TraceParent {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "must be a W3C traceparent such as 00-<32 hex>-<16 hex>-01";
        let hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            ["00", trace, span, flags]
                if hex(trace, 32)
                    && hex(span, 16)
                    && hex(flags, 2)
                    && trace.bytes().any(|b| b != b'0')
                    && span.bytes().any(|b| b != b'0') =>
            {
                Ok(Self(text))
            }
            _ => Err(WRONG),
        }
    }
}

impl From<TraceParent> for String {
    fn from(parent: TraceParent) -> Self {
        parent.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_traceparent_is_accepted() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(TraceParent::try_from(good.to_owned()).is_ok());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good.replace("00-4", "01-4"),
            &good[..54],
            &good.replace('f', "0x"),
        ] {
            assert!(TraceParent::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(TraceParent::try_from(format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))).is_err());
    }
}
