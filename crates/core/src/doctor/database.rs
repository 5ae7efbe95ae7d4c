//! Checks of the server and of the tables.

use std::time::Duration;

use super::facts::{Finding, HealthFacts, mebibytes, rough};

/// The oldest server that is tested.
const OLDEST_SERVER: u32 = 150_000;
/// A difference of clocks that is normal, in seconds: the `Date` of a response has no fraction.
const CLOCK_SECONDS: f64 = 3.0;
/// A transaction that is older stops vacuum from removing dead rows.
const OLD_TRANSACTION: Duration = Duration::from_mins(5);
/// At this age dead rows slow down every lease.
const VERY_OLD_TRANSACTION: Duration = Duration::from_hours(1);
/// Dead rows that are normal between two vacuums.
const DEAD_ROWS: u64 = 100_000;
/// Indexes up to this size are not worth a rebuild.
const SMALL_INDEX: u64 = 64 * 1024 * 1024;
/// An age of transaction ids at which autovacuum has long been overdue; the server stops at 2,000 million.
const FROZEN_AGE: u64 = 1_000_000_000;
/// A lag of a standby, or a log kept for a slot, that needs attention.
const LAG_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn examine(facts: &HealthFacts) -> Vec<Finding> {
    let mut findings = vec![version(facts), schema(facts), read_only(facts)];
    findings.extend(settings(facts));
    findings.push(connections(facts));
    findings.push(transactions(facts));
    findings.push(frozen(facts));
    findings.extend(tables(facts));
    findings.extend(indexes(facts));
    findings.extend(owners(facts));
    findings.push(replication(facts));
    findings.extend(clock(facts));
    findings.extend(api(facts));
    findings
}

fn version(facts: &HealthFacts) -> Finding {
    let seen = format!("Postgres {}.{}", facts.server_version / 10_000, facts.server_version % 10_000);
    if facts.server_version < OLDEST_SERVER {
        return Finding::error("version", seen, "upgrade the server to Postgres 15 or newer");
    }
    Finding::ok("version", seen)
}

fn schema(facts: &HealthFacts) -> Finding {
    match &facts.schema_refusal {
        None => Finding::ok("schema", format!("version {}", facts.schema_version)),
        Some(reason) => {
            Finding::error("schema", reason.as_str(), "run `jobqueue migrate` with the newest binary")
        }
    }
}

fn read_only(facts: &HealthFacts) -> Finding {
    if facts.read_only {
        return Finding::error(
            "read-only",
            "the database accepts no writes",
            "connect to the primary, or set default_transaction_read_only to off; the URL can have target_session_attrs=read-write",
        );
    }
    Finding::ok("read-only", "the database accepts writes")
}

/// A setting, the value that is dangerous, how bad it is, and what it does.
const DANGEROUS: [(&str, &str, bool, &str); 6] = [
    ("fsync", "off", true, "a crash of the server can destroy the database: set it to on"),
    ("full_page_writes", "off", true, "a crash of the server can destroy pages: set it to on"),
    ("synchronous_commit", "off", true, "a crash loses jobs that were acknowledged: set it to on"),
    ("autovacuum", "off", true, "dead rows are never removed and transaction ids run out: set it to on"),
    ("track_counts", "off", true, "autovacuum does not run without it: set it to on"),
    ("track_activities", "off", false, "long transactions cannot be found: set it to on"),
];

fn settings(facts: &HealthFacts) -> Vec<Finding> {
    let value = |name: &str| facts.settings.iter().find(|setting| setting.name == name);
    let mut findings = Vec::new();
    for (name, dangerous, is_error, advice) in DANGEROUS {
        let Some(setting) = value(name).filter(|setting| setting.value == dangerous) else { continue };
        let seen = format!("{name} is {}", setting.value);
        findings.push(if is_error {
            Finding::error("settings", seen, advice)
        } else {
            Finding::warning("settings", seen, advice)
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("settings", "no dangerous setting"));
    }
    findings
}

fn connections(facts: &HealthFacts) -> Finding {
    let usable = facts.max_connections.saturating_sub(facts.reserved_connections);
    let seen = format!("{} of {usable} connections are in use", facts.sessions);
    let advice = "raise max_connections, lower DATABASE_MAX_CONNECTIONS of the processes, or use a pooler";
    match u64::from(facts.sessions) * 100 {
        used if used >= u64::from(usable) * 95 => Finding::error("connections", seen, advice),
        used if used >= u64::from(usable) * 80 => Finding::warning("connections", seen, advice),
        _ => Finding::ok("connections", seen),
    }
}

fn transactions(facts: &HealthFacts) -> Finding {
    if let Some(age) = facts.oldest_prepared.filter(|age| *age >= OLD_TRANSACTION) {
        let seen = format!("a prepared transaction has been open for {}", rough(age));
        return Finding::error(
            "transactions",
            seen,
            "commit it or roll it back (pg_prepared_xacts): it stops vacuum",
        );
    }
    let Some(oldest) = &facts.oldest_transaction else {
        let seen = if facts.sees_sessions { "none is open" } else { "none of this role is open" };
        return Finding::ok("transactions", seen);
    };
    let seen = format!(
        "the oldest has been open for {} (pid {}, {})",
        rough(oldest.age),
        oldest.pid,
        if oldest.application.is_empty() { "no application name" } else { &oldest.application }
    );
    let advice =
        format!("end it if it is not needed: SELECT pg_terminate_backend({}). It stops vacuum", oldest.pid);
    match oldest.age {
        age if age >= VERY_OLD_TRANSACTION => Finding::error("transactions", seen, advice),
        age if age >= OLD_TRANSACTION => Finding::warning("transactions", seen, advice),
        _ => Finding::ok("transactions", seen),
    }
}

fn frozen(facts: &HealthFacts) -> Finding {
    let seen =
        format!("the oldest transaction id is {} million transactions old", facts.frozen_age / 1_000_000);
    if facts.frozen_age >= FROZEN_AGE {
        let advice = "find what stops autovacuum (old transactions, slots), then run VACUUM FREEZE: the server stops at 2,000 million";
        return Finding::error("wraparound", seen, advice);
    }
    Finding::ok("wraparound", seen)
}

fn tables(facts: &HealthFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &facts.tables {
        if !table.autovacuum {
            let advice = format!("ALTER TABLE jobqueue.{} RESET (autovacuum_enabled)", table.name);
            findings.push(Finding::error("autovacuum", format!("it is off for {}", table.name), advice));
        }
        if table.dead >= DEAD_ROWS && table.dead > table.live {
            let seen = format!("{} has {} dead rows and {} live ones", table.name, table.dead, table.live);
            let advice = "see `transactions` and `reaper`; the reaper vacuums this table every few seconds unless an old transaction stops it";
            findings.push(Finding::warning("dead-rows", seen, advice));
        }
    }
    if findings.is_empty() {
        let dead = facts.tables.iter().map(|table| table.dead).sum::<u64>();
        findings.push(Finding::ok("dead-rows", format!("{dead} in the busy tables")));
    }
    findings
}

fn indexes(facts: &HealthFacts) -> Vec<Finding> {
    let invalid = facts.invalid_indexes.iter().map(|name| {
        let advice = format!("REINDEX INDEX CONCURRENTLY jobqueue.{name}");
        Finding::error("indexes", format!("{name} is invalid and not used"), advice)
    });
    let bloated = facts.tables.iter().filter(|table| {
        table.index_bytes > SMALL_INDEX
            && table.index_bytes / 4 > table.bytes
            && table.index_bytes / 1_000 > table.live
    });
    let bloated = bloated.map(|table| {
        let seen = format!(
            "the indexes of {} have {} for {} rows",
            table.name,
            mebibytes(table.index_bytes),
            table.live
        );
        Finding::warning("indexes", seen, format!("REINDEX TABLE CONCURRENTLY jobqueue.{}", table.name))
    });
    let mut findings: Vec<Finding> = invalid.chain(bloated).collect();
    if findings.is_empty() {
        let bytes = facts.tables.iter().map(|table| table.index_bytes).sum();
        findings.push(Finding::ok("indexes", format!("{} in the busy tables", mebibytes(bytes))));
    }
    findings
}

fn owners(facts: &HealthFacts) -> Option<Finding> {
    if facts.foreign_tables.is_empty() {
        return facts.schema_refusal.is_none().then(|| Finding::ok("grants", "all tables have one owner"));
    }
    let seen = format!("{} belong to another role than the other tables", facts.foreign_tables.join(", "));
    Some(Finding::error("grants", seen, "run scripts/roles.sql again; it is needed after every migration"))
}

fn replication(facts: &HealthFacts) -> Finding {
    if let Some(slot) = facts.slots.iter().find(|slot| !slot.active && slot.bytes >= LAG_BYTES) {
        let seen =
            format!("the slot {} has no receiver and keeps {} of log", slot.name, mebibytes(slot.bytes));
        let advice = format!(
            "connect its receiver, or SELECT pg_drop_replication_slot('{}'): the disk fills up",
            slot.name
        );
        return Finding::error("replication", seen, advice);
    }
    let behind = facts.standbys.iter().find(|standby| standby.bytes.is_some_and(|bytes| bytes >= LAG_BYTES));
    if let Some(standby) = behind {
        let seen =
            format!("the standby {} is {} behind", standby.name, mebibytes(standby.bytes.unwrap_or(0)));
        return Finding::warning("replication", seen, "check its network, its disk and its long queries");
    }
    Finding::ok("replication", format!("{} standbys, {} slots", facts.standbys.len(), facts.slots.len()))
}

fn clock(facts: &HealthFacts) -> Option<Finding> {
    let ahead = facts.api_ahead_seconds?;
    let seen = format!(
        "the host of the API is {:.0} s {} the database",
        ahead.abs(),
        if ahead < 0.0 { "behind" } else { "ahead of" }
    );
    if ahead.abs() > CLOCK_SECONDS {
        let advice = "synchronise the clocks (NTP); jobqueue decides by the database's clock, but logs and clients use the others";
        return Some(Finding::warning("clock", seen, advice));
    }
    Some(Finding::ok("clock", "the database and the host of the API agree"))
}

fn api(facts: &HealthFacts) -> Option<Finding> {
    let reason = facts.api_refusal.as_deref()?;
    Some(Finding::error("api", reason, "see the log of the API and its /ready, and the key"))
}
