//! Nothing: this crate is its tests, which run real binaries against a real Postgres, and the tidy test.
