//! Reads of jobs, queues and counts. None of them changes what a job is; the census stores its own counts.

pub(crate) mod api_keys;
pub(crate) mod arrivals;
pub(crate) mod audit;
pub(crate) mod body;
pub(crate) mod census;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod kind_settings;
pub(crate) mod list;
pub(crate) mod places;
pub(crate) mod queue_rooms;
pub(crate) mod route_table;
pub(crate) mod routes;
pub(crate) mod row;
pub(crate) mod schedules;
pub(crate) mod statistics;
pub(crate) mod walk;
pub(crate) mod watch;
pub(crate) mod workers;
