//! Each cause alone gives its finding, and a healthy database none.

use std::time::Duration;

use super::*;

fn healthy() -> HealthFacts {
    let queue = QueueDemand {
        name: "mail".to_owned(),
        queued: 3,
        oldest: Some(Duration::from_secs(1)),
        served: true,
        paused: false,
    };
    HealthFacts {
        server_version: 160_014,
        schema_version: 109,
        sees_sessions: true,
        sessions: 20,
        max_connections: 100,
        reserved_connections: 3,
        api_ahead_seconds: Some(0.4),
        tables: vec![TableHealth {
            name: "ready".to_owned(),
            live: 1_000,
            dead: 500,
            bytes: 1 << 20,
            index_bytes: 1 << 20,
            autovacuum: true,
        }],
        queue: Some(QueueHealth {
            census_age: Some(Duration::from_secs(2)),
            queues: vec![queue],
            workers: 2,
            stale_workers: Vec::new(),
        }),
        ..HealthFacts::default()
    }
}

/// The findings that are not as they should be, as `severity check`.
fn bad(facts: &HealthFacts) -> Vec<(Severity, &'static str)> {
    let findings = examine(facts);
    for finding in &findings {
        assert_eq!(finding.severity == Severity::Ok, finding.advice.is_empty(), "{finding:?}");
    }
    let bad = findings.into_iter().filter(|finding| finding.severity > Severity::Ok);
    bad.map(|finding| (finding.severity, finding.check)).collect()
}

#[test]
fn a_healthy_database_has_no_finding_and_every_check_reports() {
    assert_eq!(bad(&healthy()), []);
    let checks: Vec<_> = examine(&healthy()).into_iter().map(|finding| finding.check).collect();
    for check in [
        "version",
        "schema",
        "read-only",
        "settings",
        "connections",
        "transactions",
        "wraparound",
        "dead-rows",
        "indexes",
        "grants",
        "replication",
        "clock",
        "reaper",
        "workers",
        "stale-workers",
        "queues",
    ] {
        assert_eq!(checks.iter().filter(|known| **known == check).count(), 1, "{check}");
    }
}

#[test]
fn each_cause_alone_gives_its_finding() {
    type Cause = fn(&mut HealthFacts);
    let causes: [(Severity, &str, Cause); 26] = [
        (Severity::Error, "api", |facts| facts.api_refusal = Some("it does not answer".to_owned())),
        (Severity::Error, "version", |facts| facts.server_version = 140_010),
        (Severity::Error, "read-only", |facts| facts.read_only = true),
        (Severity::Error, "settings", |facts| facts.settings = vec![setting("fsync", "off")]),
        (Severity::Error, "settings", |facts| facts.settings = vec![setting("autovacuum", "off")]),
        (Severity::Warning, "settings", |facts| facts.settings = vec![setting("track_activities", "off")]),
        (Severity::Warning, "connections", |facts| facts.sessions = 80),
        (Severity::Error, "connections", |facts| facts.sessions = 97),
        (Severity::Warning, "transactions", |facts| facts.oldest_transaction = Some(open(400))),
        (Severity::Error, "transactions", |facts| facts.oldest_transaction = Some(open(4_000))),
        (Severity::Error, "transactions", |facts| facts.oldest_prepared = Some(Duration::from_mins(10))),
        (Severity::Error, "wraparound", |facts| facts.frozen_age = 1_500_000_000),
        (Severity::Warning, "dead-rows", |facts| facts.tables[0].dead = 2_000_000),
        (Severity::Error, "autovacuum", |facts| facts.tables[0].autovacuum = false),
        (Severity::Warning, "indexes", |facts| facts.tables[0].index_bytes = 1 << 30),
        (Severity::Error, "indexes", |facts| facts.invalid_indexes = vec!["ready_pkey".to_owned()]),
        (Severity::Error, "grants", |facts| facts.foreign_tables = vec!["schedule".to_owned()]),
        (Severity::Error, "replication", |facts| {
            facts.slots = vec![SlotBacklog { name: "old".to_owned(), active: false, bytes: 1 << 30 }];
        }),
        (Severity::Warning, "replication", |facts| {
            facts.standbys = vec![StandbyLag { name: "b".to_owned(), bytes: Some(1 << 30) }];
        }),
        (Severity::Warning, "clock", |facts| facts.api_ahead_seconds = Some(-60.0)),
        (Severity::Error, "reaper", |facts| of(facts).census_age = None),
        (Severity::Error, "reaper", |facts| of(facts).census_age = Some(Duration::from_secs(61))),
        (Severity::Error, "workers", |facts| of(facts).workers = 0),
        (Severity::Warning, "stale-workers", |facts| of(facts).stale_workers = vec!["w-1".to_owned()]),
        (Severity::Error, "queues", |facts| of(facts).queues[0].served = false),
        (Severity::Warning, "queues", |facts| of(facts).queues[0].oldest = Some(Duration::from_mins(15))),
    ];
    for (severity, check, plant) in causes {
        let mut facts = healthy();
        plant(&mut facts);
        assert_eq!(bad(&facts), [(severity, check)]);
    }
}

#[test]
fn a_paused_queue_is_no_fault_until_its_jobs_wait_for_long() {
    let mut facts = healthy();
    of(&mut facts).queues[0].paused = true;
    of(&mut facts).queues[0].served = false;
    assert_eq!(bad(&facts), []);
    of(&mut facts).queues[0].oldest = Some(Duration::from_mins(15));
    assert_eq!(bad(&facts), [(Severity::Warning, "queues")]);
}

#[test]
fn a_refused_schema_is_the_first_finding() {
    let facts =
        HealthFacts { schema_refusal: Some("it is old".to_owned()), queue: None, sessions: 80, ..healthy() };
    assert_eq!(bad(&facts), [(Severity::Error, "schema"), (Severity::Warning, "connections")]);
}

fn of(facts: &mut HealthFacts) -> &mut QueueHealth {
    facts.queue.get_or_insert_default()
}

fn setting(name: &str, value: &str) -> ServerSetting {
    ServerSetting { name: name.to_owned(), value: value.to_owned() }
}

fn open(seconds: u64) -> OpenTransaction {
    OpenTransaction { pid: 7, application: "psql".to_owned(), age: Duration::from_secs(seconds) }
}
