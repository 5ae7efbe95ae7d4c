//! Parses the variable of a switch. By default clap treats almost every text as "yes"; here only a few words
//! are valid.

/// Parses the value of a switch: `true`, `1`, `yes`, `on`, or `false`, `0`, `no`, `off`, in upper or lower
/// case. Empty means no.
///
/// # Errors
/// Any other text is an error: `API_INSECURE=disabled` must not disable authentication.
pub fn parse_flag(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_yes_or_no() {
        for yes in ["true", "1", "YES", " on "] {
            assert_eq!(parse_flag(yes), Ok(true), "{yes}");
        }
        for no in ["false", "0", "no", "Off", ""] {
            assert_eq!(parse_flag(no), Ok(false), "{no}");
        }
        for neither in ["disabled", "ture", "2", "n0"] {
            assert!(parse_flag(neither).is_err(), "{neither}");
        }
    }
}
