//! This crate consists of its tests: they run real binaries against a real Postgres. The tidy test checks the source
//! code.
