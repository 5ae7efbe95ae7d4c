//! The parameters of a connection URL: which are supported, and what to write instead of the others.

use super::error::{ESCAPES, UrlError};

/// Names of libpq. All others are refused.
const SUPPORTED: [&str; 11] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "options",
];

/// Parameters whose value is the path of a file.
pub(super) const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

const POOLER: &str = "remove it, and set DATABASE_POOLER=transaction if PgBouncer in transaction mode stands in front of Postgres";
const SIZE: &str = "set DATABASE_MAX_CONNECTIONS instead";
const TIMEOUT: &str = "set DATABASE_CONNECT_TIMEOUT_SECONDS instead";
const SCHEMA: &str = "remove it; jobqueue always works in its own schema `jobqueue`";
const PRIMARY: &str = "remove it, and name the primary server as the host";
const TLS: &str = "write sslmode=require (or sslmode=disable, verify-ca, verify-full) instead";

/// Names that libpq or other drivers use, in lower case, and what to do instead.
const INSTEAD: [(&str, &str); 45] = [
    ("ssl", TLS),
    ("sslaccept", TLS),
    ("ssl-mode", TLS),
    ("tls", TLS),
    ("requiressl", TLS),
    ("ssl_mode", TLS),
    ("ssl-ca", "write sslrootcert instead"),
    ("ssl-root-cert", "write sslrootcert instead"),
    ("ssl-cert", "write sslcert instead"),
    ("ssl-key", "write sslkey instead"),
    ("sslpassword", "remove it, and give a key file without a password"),
    ("pgbouncer", POOLER),
    ("prepared_statement_cache_size", POOLER),
    ("prepared_statement_name_func", POOLER),
    ("statement_cache_size", POOLER),
    ("statement-cache-capacity", POOLER),
    ("statement_cache_capacity", POOLER),
    ("statement_cache_mode", POOLER),
    ("default_query_exec_mode", POOLER),
    ("preparethreshold", POOLER),
    ("prepare_threshold", POOLER),
    ("preparedstatementcachequeries", POOLER),
    ("prepared_statements", POOLER),
    ("prefer_simple_protocol", POOLER),
    ("prefersimpleprotocol", POOLER),
    ("binary_parameters", POOLER),
    ("schema", SCHEMA),
    ("currentschema", SCHEMA),
    ("search_path", SCHEMA),
    ("connection_limit", SIZE),
    ("pool_size", SIZE),
    ("max_overflow", SIZE),
    ("pool", SIZE),
    ("max_connections", SIZE),
    ("pool_max_conns", SIZE),
    ("connect_timeout", TIMEOUT),
    ("connecttimeout", TIMEOUT),
    ("pool_timeout", TIMEOUT),
    ("timeout", TIMEOUT),
    ("logintimeout", TIMEOUT),
    ("target_session_attrs", PRIMARY),
    ("targetservertype", PRIMARY),
    ("load_balance_hosts", PRIMARY),
    ("hostaddr", "write the address as the host instead"),
    ("service", "remove it, and write host, port and database into the URL"),
];

/// The parameter's name, if it is supported.
pub(super) fn supported(name: &str, value: &str) -> Result<&'static str, UrlError> {
    if let Some(known) = SUPPORTED.into_iter().find(|known| *known == name) {
        return Ok(known);
    }
    let lower = name.to_ascii_lowercase();
    if let Some((known, instead)) = INSTEAD.iter().find(|(known, _)| *known == lower) {
        return Err(UrlError(format!("the parameter `{known}` is not supported; {instead}")));
    }
    // A part of a password must not be shown: it has no `=`, or contains characters that names do not have.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if value.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
        return Err(UrlError(format!(
            "what follows `?` is no parameter that is supported; remove it, or if it is part of a password, {ESCAPES}"
        )));
    }
    Err(UrlError(format!(
        "the parameter `{name}` is not supported; remove it (supported are {})",
        SUPPORTED.join(", ")
    )))
}

/// Checks the value of `sslmode`.
pub(super) fn ssl_mode(value: &str) -> Result<String, UrlError> {
    if SSL_MODES.contains(&value) {
        return Ok(value.to_owned());
    }
    Err(UrlError(format!("sslmode must be one of {}", SSL_MODES.join(", "))))
}

/// The error for several hosts in one URL.
pub(super) fn several_hosts() -> UrlError {
    UrlError::new(
        "it names several hosts; name the primary server alone, or an address that always leads to it",
    )
}
