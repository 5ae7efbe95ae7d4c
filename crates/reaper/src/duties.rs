//! The duties, one file each.

mod census;
mod expire;
mod expire_queues;
mod promote;
mod prune;
mod reclaim;
mod schedules;
mod vacuum;

pub use census::CensusDuty;
pub use expire::ExpireDuty;
pub use expire_queues::ExpireQueuesDuty;
pub use promote::PromoteDuty;
pub use prune::PruneDuty;
pub use reclaim::ReclaimDuty;
pub use schedules::SchedulesDuty;
pub use vacuum::VacuumDuty;
