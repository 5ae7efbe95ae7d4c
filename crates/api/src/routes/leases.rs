//! Routes for workers in any language: lease, heartbeat, settle.

pub(crate) mod acquire;
pub(crate) mod heartbeat;
pub(crate) mod settle;
