//! The duties, one file each.

mod census;
mod expire;
mod promote;
mod prune;
mod reclaim;

pub use census::Census;
pub use expire::Expire;
pub use promote::Promote;
pub use prune::Prune;
pub use reclaim::Reclaim;
