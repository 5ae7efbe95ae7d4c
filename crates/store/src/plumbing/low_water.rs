//! Decides where in a lane a scan for work starts. Leased rows stay in the index as dead entries until a
//! vacuum removes them, and any long transaction prevents that. A scan from the front of a lane would pass
//! all of them every time. So each process remembers a mark for each lane: how far it has scanned, and when.
//! The next scan starts there or a little before.
//!
//! Jobs behind the mark (late commits, retries, released jobs) are found by scans that start further back.
//! These may take a small share of the time, and a larger one while they find jobs. If a scan from the front
//! takes long, it is split into steps (`sweep`). Bodies are partitioned by day, so this module also remembers
//! the range of ids in which the next bodies probably are. It owns no connection and no clock: timestamps are
//! passed in.

mod budget;
mod choices;
mod mark;
mod progress;
mod scan;
mod schedule;
mod sweep;

pub(crate) use budget::ScanBudget;
pub(crate) use choices::{Choice, LowWaterMarks};
pub(crate) use scan::{ScanResult, ScanStart};
