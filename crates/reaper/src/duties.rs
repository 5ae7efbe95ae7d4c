//! The duties, one file each.

mod census;
mod dead_letters;
mod expire;
mod expire_queues;
mod promote;
mod prune;
mod reclaim;
mod redrive;
mod schedules;
mod vacuum;

pub use census::CensusDuty;
pub use dead_letters::DeadLettersDuty;
pub use expire::ExpireDuty;
pub use expire_queues::ExpireQueuesDuty;
pub use promote::PromoteDuty;
pub use prune::PruneDuty;
pub use reclaim::ReclaimDuty;
pub use redrive::RedriveDuty;
pub use schedules::SchedulesDuty;
pub use vacuum::VacuumDuty;
