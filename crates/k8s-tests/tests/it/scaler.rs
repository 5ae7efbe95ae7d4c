//! The published algorithm of the HorizontalPodAutoscaler (autoscaling/v2), as kube-controller-manager runs it every 15
//! s with its stock settings. Reads its settings from a manifest.

use std::collections::VecDeque;

use serde_json::Value;

use crate::manifests::{list, text};

/// The interval of the controller (`--horizontal-pod-autoscaler-sync-period`).
pub(crate) const SYNC_SECONDS: u32 = 15;
/// A ratio this close to 1 changes nothing (`--horizontal-pod-autoscaler-tolerance`).
const TOLERANCE: f64 = 0.1;

/// The values of the manifest's metrics at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// CPU of all pods divided by their requests, in percent.
    pub(crate) cpu_percent: f64,
    /// `job_queue_oldest_age_seconds`.
    pub(crate) oldest_age_seconds: f64,
    /// `job_queue_depth`.
    pub(crate) depth: f64,
    /// `job_queue_recommended_workers`.
    pub(crate) recommended: f64,
}

#[derive(Clone, Debug)]
struct Policy {
    percent: bool,
    value: f64,
    period_seconds: u32,
}

#[derive(Clone, Debug)]
enum Target {
    CpuPercent(f64),
    Value(String, f64),
    AverageValue(String, f64),
}

/// An autoscaler and its history.
#[derive(Clone, Debug)]
pub(crate) struct Scaler {
    pub(crate) min: u32,
    pub(crate) max: u32,
    targets: Vec<Target>,
    up: Vec<Policy>,
    down: Vec<Policy>,
    up_window_seconds: u32,
    down_window_seconds: u32,
    /// Time and recommended number of pods, the newest last.
    recommendations: VecDeque<(u32, u32)>,
    /// Time and change of the number of pods.
    changes: Vec<(u32, i64)>,
}

impl Scaler {
    /// Reads the `spec` of the object.
    pub(crate) fn read(spec: &Value) -> Self {
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
        let behavior = &spec["behavior"];
        let policies = |direction: &str| {
            assert_eq!(behavior[direction]["selectPolicy"], "Max");
            let policy = |policy: &Value| Policy {
                percent: policy["type"] == "Percent",
                value: policy["value"].as_f64().unwrap(),
                period_seconds: number(&policy["periodSeconds"]),
            };
            list(&behavior[direction]["policies"]).iter().map(policy).collect()
        };
        Self {
            min: number(&spec["minReplicas"]),
            max: number(&spec["maxReplicas"]),
            targets: list(&spec["metrics"]).iter().map(Target::read).collect(),
            up: policies("scaleUp"),
            down: policies("scaleDown"),
            up_window_seconds: number(&behavior["scaleUp"]["stabilizationWindowSeconds"]),
            down_window_seconds: number(&behavior["scaleDown"]["stabilizationWindowSeconds"]),
            recommendations: VecDeque::new(),
            changes: Vec::new(),
        }
    }

    /// Evaluates the metrics at `now`; returns the new number of pods.
    pub(crate) fn evaluate(&mut self, now: u32, pods: u32, reading: Reading) -> u32 {
        let recommendation =
            self.targets.iter().map(|target| target.recommendation(pods, reading)).max().unwrap_or(pods);
        if self.recommendations.is_empty() {
            self.recommendations.push_back((now, pods));
        }
        self.recommendations.push_back((now, recommendation.clamp(self.min, self.max)));
        let stable = self.stabilized(now, pods);
        let next = match stable.cmp(&pods) {
            std::cmp::Ordering::Greater => stable.min(self.up_limit(now, pods)).min(self.max),
            std::cmp::Ordering::Less => stable.max(self.down_limit(now, pods)).max(self.min),
            std::cmp::Ordering::Equal => pods,
        };
        if next != pods {
            self.changes.push((now, i64::from(next) - i64::from(pods)));
        }
        next
    }

    /// The smallest recommendation of the window when scaling up, the largest when scaling down.
    fn stabilized(&self, now: u32, pods: u32) -> u32 {
        let within = |window: u32| {
            let newest = self.recommendations.back().copied();
            let recent = self.recommendations.iter().copied().filter(move |(at, _)| at + window > now);
            recent.chain(newest).map(|(_, recommendation)| recommendation)
        };
        let up = within(self.up_window_seconds).min().unwrap_or(pods);
        let down = within(self.down_window_seconds).max().unwrap_or(pods);
        if pods < up { up } else { pods.min(down) }
    }

    fn changed(&self, now: u32, period: u32) -> (i64, i64) {
        let recent = self.changes.iter().filter(|(at, _)| at + period > now).map(|(_, change)| *change);
        recent.fold((0, 0), |(up, down), change| (up + change.max(0), down - change.min(0)))
    }

    fn up_limit(&self, now: u32, pods: u32) -> u32 {
        let limits = self.up.iter().map(|policy| {
            let (came, went) = self.changed(now, policy.period_seconds);
            let before = at_least_zero(i64::from(pods) - came + went);
            let limit =
                if policy.percent { before * (1.0 + policy.value / 100.0) } else { before + policy.value };
            whole(limit.ceil())
        });
        limits.max().unwrap_or(pods).max(pods)
    }

    fn down_limit(&self, now: u32, pods: u32) -> u32 {
        let limits = self.down.iter().map(|policy| {
            let (came, went) = self.changed(now, policy.period_seconds);
            let before = at_least_zero(i64::from(pods) - came + went);
            let limit =
                if policy.percent { before * (1.0 - policy.value / 100.0) } else { before - policy.value };
            whole(limit.max(0.0).floor())
        });
        limits.min().unwrap_or(pods).min(pods)
    }
}

impl Target {
    fn read(metric: &Value) -> Self {
        if metric["type"] == "Resource" {
            assert_eq!(metric["resource"]["name"], "cpu");
            return Self::CpuPercent(metric["resource"]["target"]["averageUtilization"].as_f64().unwrap());
        }
        let name = text(&metric["external"]["metric"]["name"]).to_owned();
        let target = &metric["external"]["target"];
        match target["type"].as_str() {
            Some("Value") => Self::Value(name, text(&target["value"]).parse().unwrap()),
            Some("AverageValue") => Self::AverageValue(name, text(&target["averageValue"]).parse().unwrap()),
            other => panic!("{name}: {other:?}"),
        }
    }

    fn recommendation(&self, pods: u32, reading: Reading) -> u32 {
        let named = |name: &str| match name {
            "job_queue_oldest_age_seconds" => reading.oldest_age_seconds,
            "job_queue_depth" => reading.depth,
            "job_queue_recommended_workers" => reading.recommended,
            other => panic!("the simulation has no {other}"),
        };
        let (ratio, recommendation) = match self {
            Self::CpuPercent(target) => by_ratio(reading.cpu_percent / target, pods),
            Self::Value(name, target) => by_ratio(named(name) / target, pods),
            Self::AverageValue(name, target) => {
                let each = named(name) / f64::from(pods.max(1));
                (each / target, whole((named(name) / target).ceil()))
            }
        };
        if (ratio - 1.0).abs() <= TOLERANCE { pods } else { recommendation }
    }
}

fn by_ratio(ratio: f64, pods: u32) -> (f64, u32) {
    (ratio, whole((ratio * f64::from(pods)).ceil()))
}

fn at_least_zero(count: i64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(0))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of pods that was rounded above"
)]
fn whole(count: f64) -> u32 {
    count as u32
}

#[test]
fn the_arithmetic_is_the_published_one() {
    let cpu = Target::CpuPercent(70.0);
    let at = |cpu_percent: f64| Reading { cpu_percent, ..Reading::default() };
    assert_eq!(cpu.recommendation(2, at(140.0)), 4);
    assert_eq!(cpu.recommendation(10, at(76.0)), 10, "within the tolerance");
    assert_eq!(cpu.recommendation(10, at(78.0)), 12);
    assert_eq!(cpu.recommendation(10, at(7.0)), 1);
    let depth = Target::AverageValue("job_queue_depth".to_owned(), 200.0);
    assert_eq!(depth.recommendation(2, Reading { depth: 900.0, ..Reading::default() }), 5);
}
