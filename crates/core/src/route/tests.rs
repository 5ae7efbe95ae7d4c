//! Tests of routes: patterns, order, what is filled, and the promise that a valid submission stays valid.

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::job::NewJob;
use crate::json::Json;
use crate::limits::Limits;
use crate::schedule::Schedule;

fn now() -> DateTime<Utc> {
    time::timestamp("2027-01-01T00:00:00Z").unwrap()
}

fn route(text: &str) -> JobRoute {
    JobRoute::of_stored(&"r".parse().unwrap(), &Json::parse(text.to_owned()).unwrap()).unwrap()
}

fn pointers(text: &str) -> Vec<(String, &'static str)> {
    let draft = serde_json::from_str(text).unwrap();
    let errors = JobRoute::parse(&"r".parse().unwrap(), &draft, &Limits::default()).unwrap_err();
    errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

fn draft(text: &str) -> JobDraft {
    serde_json::from_str(text).unwrap()
}

/// What becomes of a submission.
fn filled(route: &JobRoute, submission: &str) -> JobDraft {
    let mut draft = draft(submission);
    route.fill(&mut draft, Some(now()));
    draft
}

/// The rule of a pattern, in the shortest way to say it. It takes exponential time.
fn matches(pattern: &[u8], kind: &[u8]) -> bool {
    match (pattern.split_first(), kind.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, kind) || kind.split_first().is_some_and(|(_, later)| matches(pattern, later))
        }
        (Some((byte, rest)), Some((first, later))) => {
            (*byte == b'?' || byte == first) && matches(rest, later)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_what_its_rule_says(pattern in "[ab*?]{1,8}", kind in "[ab]{1,10}") {
        let glob = Glob::try_from(pattern.clone()).unwrap();
        prop_assert_eq!(glob.matches(&kind), matches(pattern.as_bytes(), kind.as_bytes()));
    }

    /// The promise of the module, for every combination of what both can set.
    #[test]
    fn a_valid_submission_stays_valid_and_keeps_what_it_sets(
        (hard, soft, after) in (prop::option::of(0.001..100.0), prop::option::of(0.001..100.0), prop::option::of(0.001..4e9)),
        (own_hard, own_soft) in (prop::option::of(0.001..100.0), prop::option::of(0.001..100.0)),
        start in prop::sample::select(vec!["", r#","run_at":"1999-01-01T00:00:00Z""#, r#","run_at":"2126-12-07T23:00:00Z""#,
                                           r#","delay_seconds":3153600000"#, r#","delay_seconds":0.5"#, r#","run_at":"x""#]),
        own in prop::sample::select(vec!["", r#","queue":"q","priority":5,"tags":["own"]"#, r#","tags":[]"#, r#","expires_at":"2100-01-01T00:00:00Z""#]),
    ) {
        let number = |name: &str, value: Option<f64>| value.map_or(String::new(), |value| format!(r#","{name}":{value}"#));
        let spec = format!(
            r#"{{"position":1,"kind":"*","queue":"far","priority":-7,"max_attempts":2,"tags":["t"]{}{}{}}}"#,
            number("timeout_seconds", hard), number("soft_timeout_seconds", soft), number("expires_after_seconds", after),
        );
        let parsed = JobRoute::parse(&"r".parse().unwrap(), &serde_json::from_str(&spec).unwrap(), &Limits::default());
        let submission = format!(
            r#"{{"kind":"k"{start}{own}{}{}}}"#,
            number("timeout_seconds", own_hard), number("soft_timeout_seconds", own_soft),
        );
        let limits = Limits { now: Some(now()), ..Limits::default() };
        let before = NewJob::parse(draft(&submission), &limits);
        if let Ok(route) = parsed {
            let after = NewJob::parse(filled(&route, &submission), &limits);
            match (before, after) {
                (Ok(before), Ok(after)) => {
                    prop_assert_eq!(before.start, after.start);
                    prop_assert!(before.timeout.is_none() || before.timeout == after.timeout);
                    prop_assert!(before.soft_timeout.is_none() || before.soft_timeout == after.soft_timeout);
                    prop_assert!(before.expires_at.is_none() || before.expires_at == after.expires_at);
                    prop_assert!(before.tags.is_empty() || before.tags == after.tags);
                    prop_assert!(!own.contains(r#""tags":[]"#) || after.tags.is_empty());
                    prop_assert!(own.contains("queue") || after.queue.as_str() == "far");
                }
                // what was wrong is still wrong, in the same fields
                (Err(before), after) => prop_assert_eq!(after.unwrap_err(), before),
                (Ok(_), Err(errors)) => prop_assert!(false, "{submission} with {spec}: {errors:?}"),
            }
        }
    }
}

#[test]
fn hostile_patterns_take_no_exponential_time() {
    let glob = Glob::try_from("*a".repeat(64)).unwrap();
    let kind = "a".repeat(127) + "b";
    assert!((0..1000).all(|_| !glob.matches(&kind)));
    assert!(glob.matches(&"a".repeat(128)));
}

#[test]
fn the_first_match_by_position_wins_and_then_by_name() {
    let named = |name: &str, position: i32, kind: &str| JobRoute {
        name: name.parse().unwrap(),
        position,
        ..route(&format!(r#"{{"position":0,"kind":"{kind}"}}"#))
    };
    let routes = RouteTable::new(vec![
        named("rest", 90, "*"),
        named("b", 10, "mail.*"),
        named("a", 10, "mail.send"),
        named("first", -1, "mail.?"),
    ]);
    let found = |kind: &str| routes.find(kind).map(|route| route.name.as_str().to_owned());
    assert_eq!(found("mail.send").as_deref(), Some("a"));
    assert_eq!(found("mail.read").as_deref(), Some("b"));
    assert_eq!(found("mail.x").as_deref(), Some("first"));
    assert_eq!(found("other").as_deref(), Some("rest"));
    // a submission may name a kind of a mebibyte
    assert_eq!((found(&"a".repeat(128)).as_deref(), found(&"a".repeat(129))), (Some("rest"), None));
    assert!(RouteTable::default().find("x").is_none() && RouteTable::default().is_empty());
}

#[test]
fn an_expiry_counts_from_the_start_and_never_passes_the_horizon() {
    let hour = route(r#"{"position":1,"kind":"*","expires_after_seconds":3600}"#);
    let expiry =
        |submission: &str| filled(&hour, submission).expires_at.map(|text| time::timestamp(&text).unwrap());
    let at = |text| time::timestamp(text);
    assert_eq!(expiry(r#"{"kind":"k"}"#), at("2027-01-01T01:00:00Z"));
    assert_eq!(expiry(r#"{"kind":"k","delay_seconds":60}"#), at("2027-01-01T01:01:00Z"));
    assert_eq!(expiry(r#"{"kind":"k","run_at":"2027-01-02T00:00:00Z"}"#), at("2027-01-02T01:00:00Z"));
    assert_eq!(expiry(r#"{"kind":"k","run_at":"2020-01-02T00:00:00Z"}"#), at("2027-01-01T01:00:00Z"));
    assert_eq!(expiry(r#"{"kind":"k","run_at":"2126-12-08T00:00:00Z"}"#), None);
    let mut without_time = draft(r#"{"kind":"k"}"#);
    hour.fill(&mut without_time, None);
    assert_eq!(without_time.expires_at, None);
}

#[test]
fn every_fault_of_a_route_is_named() {
    assert_eq!(pointers("{}"), [("/position".into(), "required"), ("/kind".into(), "required")]);
    let wrong = r#"{"position":1000001,"kind":"a b","queue":"a/b","priority":101,"max_attempts":0,"timeout_seconds":0,
        "soft_timeout_seconds":-1,"expires_after_seconds":0,"tags":[""],"retry":{"strategy":"fixed","delay_seconds":-1},
        "owner":"","description":""}"#;
    let found: Vec<String> = pointers(wrong).into_iter().map(|(pointer, _)| pointer).collect();
    let all = [
        "/position",
        "/kind",
        "/queue",
        "/priority",
        "/max_attempts",
        "/retry/delay_seconds",
        "/timeout_seconds",
        "/soft_timeout_seconds",
        "/tags/0",
        "/expires_after_seconds",
        "/owner",
        "/description",
    ];
    assert_eq!(found, all);
    let limits = r#"{"position":1,"kind":"*","timeout_seconds":5,"soft_timeout_seconds":5}"#;
    assert_eq!(pointers(limits), [("/soft_timeout_seconds".into(), "out_of_range")]);
    assert!("test".parse::<crate::RouteName>().is_err() && "preview".parse::<crate::RouteName>().is_ok());
}

#[test]
fn the_job_of_a_schedule_gets_no_expiry_beyond_the_horizon() {
    let routed = |after: &str| {
        let name = "s".parse().unwrap();
        let spec = r#"{"interval_seconds":60,"job":{"kind":"k","delay_seconds":60}}"#;
        let schedule = Schedule::of_stored(&name, &Json::parse(spec.to_owned()).unwrap()).unwrap();
        let spec = format!(r#"{{"position":1,"kind":"*","expires_after_seconds":{after}}}"#);
        schedule.routed(&RouteTable::new(vec![route(&spec)])).job(now(), now()).expires_at
    };
    assert_eq!(routed("3153599940"), Some(now() + TimeDelta::from_std(HORIZON).unwrap()));
    assert_eq!(routed("3153599941"), None);
}
