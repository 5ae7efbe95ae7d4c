//! Simulates workers under load, scaled by the autoscaler of the manifests: it must scale from 2 to 20 in time, scale
//! in slowly, and not flap.

use std::collections::VecDeque;
use std::time::Duration;

use jobqueue_core::QueueLoad;
use serde_json::Value;

use crate::manifests::{base, variant};
use crate::scaler::{Reading, SYNC_SECONDS, Scaler};

/// From the creation of a pod to its first job.
const START_SECONDS: u32 = 20;
/// The age of the autoscaler's numbers because of census, scrape and adapter.
const METRIC_AGE_SECONDS: usize = 30;
/// WORKER_SLOTS.
const SLOTS: f64 = 10.0;
/// Duration of a job, which mostly waits for another system.
const JOB_SECONDS: f64 = 2.0;
/// The time constant of the averages of the census.
const AVERAGE_SECONDS: f64 = 60.0;
/// API_DRAIN_TARGET_SECONDS.
const DRAIN_TARGET: Duration = Duration::from_mins(1);
/// CPU of a busy slot in thousandths, so that a full pod uses 80m of the 100m that it requests.
const SLOT_MILLICORES: f64 = 8.0;
const REQUEST_MILLICORES: f64 = 100.0;

const MINUTE: u32 = 60;

/// Jobs per second at a second.
type Load = fn(u32) -> f64;

/// The result of a simulation, second by second.
struct Run {
    pods: Vec<u32>,
    oldest: Vec<f64>,
}

/// No load, then high load for twenty minutes, then no load.
fn step(second: u32) -> f64 {
    if (10 * MINUTE..30 * MINUTE).contains(&second) { 85.0 } else { 2.0 }
}

/// The load of a day in three hours, with two peaks.
fn day(second: u32) -> f64 {
    let turn = f64::from(second) / f64::from(90 * MINUTE) * std::f64::consts::TAU;
    45.0 - 43.0 * turn.cos()
}

/// A minute of high load every four minutes, for an hour.
fn bursts(second: u32) -> f64 {
    if second < 60 * MINUTE && second % (4 * MINUTE) < MINUTE { 90.0 } else { 2.0 }
}

fn simulate(spec: &Value, load: Load, seconds: u32) -> Run {
    let mut scaler = Scaler::read(spec);
    // when each pod is ready
    let mut pods: Vec<u32> = vec![0; usize::try_from(scaler.min).unwrap()];
    let mut waiting: VecDeque<(u32, f64)> = VecDeque::new();
    let mut readings = VecDeque::from(vec![Reading::default(); METRIC_AGE_SECONDS]);
    let mut run = Run { pods: Vec::new(), oldest: Vec::new() };
    let mut arrivals = 0.0;
    for now in 0..seconds {
        waiting.push_back((now, load(now)));
        let ready = f64::from(u32::try_from(pods.iter().filter(|at| **at <= now).count()).unwrap());
        let capacity = ready * SLOTS / JOB_SECONDS;
        let done = work_off(&mut waiting, capacity);
        let oldest = waiting.front().map_or(0.0, |(since, _)| f64::from(now - since));
        arrivals += (1.0 - (-1.0 / AVERAGE_SECONDS).exp()) * (load(now) - arrivals);
        let depth = waiting.iter().map(|(_, jobs)| jobs).sum();
        let used = done * JOB_SECONDS * SLOT_MILLICORES;
        readings.push_back(Reading {
            cpu_percent: used / (ready.max(1.0) * REQUEST_MILLICORES) * 100.0,
            oldest_age_seconds: oldest,
            depth,
            recommended: f64::from(recommended(arrivals, depth, done * JOB_SECONDS)),
        });
        let reading = readings.pop_front().unwrap();
        if now % SYNC_SECONDS == 0 {
            let wanted = scaler.evaluate(now, u32::try_from(pods.len()).unwrap(), reading);
            pods.resize(usize::try_from(wanted).unwrap(), now + START_SECONDS);
        }
        run.pods.push(u32::try_from(pods.len()).unwrap());
        run.oldest.push(oldest);
    }
    run
}

/// The value that the API would export.
fn recommended(arrivals_per_second: f64, waiting: f64, running: f64) -> u32 {
    let whole = |count: f64| format!("{:.0}", count.abs()).parse().unwrap();
    let load = QueueLoad {
        arrivals_per_second,
        waiting: whole(waiting),
        running: whole(running),
        mean_run: Some(Duration::from_secs_f64(JOB_SECONDS)),
        slots: SLOTS,
    };
    load.recommended_workers(DRAIN_TARGET)
}

/// Takes up to `capacity` jobs, the oldest first; returns how many.
fn work_off(waiting: &mut VecDeque<(u32, f64)>, capacity: f64) -> f64 {
    let mut left = capacity;
    while let Some((_, jobs)) = waiting.front_mut() {
        let taken = jobs.min(left);
        *jobs -= taken;
        left -= taken;
        if *jobs > 1e-9 {
            break;
        }
        waiting.pop_front();
    }
    capacity - left
}

impl Run {
    fn first(&self, from: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let later = self.pods.iter().enumerate().skip(usize::try_from(from).unwrap());
        later.into_iter().find(|(_, pods)| fits(**pods)).map(|(at, _)| u32::try_from(at).unwrap())
    }

    /// The times at which the direction of scaling changes.
    fn direction_changes(&self) -> Vec<usize> {
        let steps = self.pods.windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0]));
        let moves: Vec<_> = steps.enumerate().filter(|(_, step)| *step != 0).collect();
        let turned = moves.windows(2).filter(|pair| pair[0].1.signum() != pair[1].1.signum());
        turned.map(|pair| pair[1].0).collect()
    }

    /// Scaling up and down within the stabilization window of five minutes is flapping.
    fn does_not_flap(&self) {
        let direction_changes = self.direction_changes();
        let hasty: Vec<_> = direction_changes.windows(2).filter(|pair| pair[1] - pair[0] < 300).collect();
        assert!(hasty.is_empty(), "{hasty:?} in {:?}", thinned(&self.pods));
    }

    /// Checks the scaling rates of the contract.
    fn keeps_the_rates(&self) {
        let now_and_after = |seconds: usize| self.pods.iter().zip(self.pods.iter().skip(seconds));
        for (before, after) in now_and_after(14) {
            assert!(*after <= (before * 2).max(before + 4), "{before} → {after} within 15 s");
        }
        for (before, after) in now_and_after(59) {
            assert!(after * 10 >= (before * 9) / 10 * 10, "{before} → {after} within a minute");
        }
    }
}

fn worker_hpa(variant: &crate::manifests::Variant) -> &Value {
    &variant.get("HorizontalPodAutoscaler", "jobqueue-worker-hpa")["spec"]
}

#[test]
fn by_cpu_alone_it_scales_out_and_slowly_in() {
    let run = simulate(worker_hpa(base()), step, 120 * MINUTE);
    run.keeps_the_rates();
    let peak = *run.pods.iter().max().unwrap();
    assert!(peak >= 17, "85 jobs/s need 17 pods, the peak was {peak}");
    assert_eq!(run.direction_changes().len(), 1);
    assert_eq!(run.pods.last(), Some(&2));
}

#[test]
fn a_step_takes_it_from_2_to_20_within_minutes_and_back_by_a_tenth_a_minute() {
    let Some(variant) = variant("prometheus-adapter") else { return };
    let run = simulate(worker_hpa(variant), step, 120 * MINUTE);
    run.keeps_the_rates();
    assert_eq!(run.pods[usize::try_from(10 * MINUTE - 1).unwrap()], 2, "a quiet queue needs the least");
    let up = run.first(10 * MINUTE, |pods| pods == 20).unwrap();
    assert!(up <= 13 * MINUTE, "20 pods after {} s", up - 10 * MINUTE);
    let caught_up = run.oldest.iter().rposition(|age| *age > 1.0).unwrap();
    let caught_up = u32::try_from(caught_up).unwrap();
    assert!(caught_up < 30 * MINUTE, "the backlog lasts until {caught_up}");
    let down = run.first(30 * MINUTE, |pods| pods < run.pods[usize::try_from(30 * MINUTE).unwrap()]);
    assert!(down.unwrap() >= 35 * MINUTE, "five minutes of quiet come first");
    let settled = run.first(30 * MINUTE, |pods| pods == 2).unwrap();
    let took = settled - down.unwrap();
    assert!((10 * MINUTE..20 * MINUTE).contains(&took), "down to 2 in {took} s");
    assert_eq!(run.direction_changes().len(), 1, "up once, down once");
}

/// Scaling only by the recommended workers.
#[test]
fn the_recommended_workers_are_those_that_the_load_needs() {
    let Some(variant) = variant("prometheus-adapter") else { return };
    let mut spec = worker_hpa(variant).clone();
    let metrics = spec["metrics"].as_array_mut().unwrap();
    metrics.retain(|metric| metric["external"]["metric"]["name"] == "job_queue_recommended_workers");
    assert_eq!(metrics.len(), 1);
    let run = simulate(&spec, step, 120 * MINUTE);
    run.keeps_the_rates();
    let pods = |minute: u32| run.pods[usize::try_from(minute * MINUTE).unwrap()];
    assert_eq!(pods(9), 2);
    assert!(run.first(10 * MINUTE, |pods| pods >= 17).unwrap() <= 13 * MINUTE, "{:?}", thinned(&run.pods));
    assert!((17..=19).contains(&pods(29)), "85 jobs/s of 2 s need 17 pods of ten: {}", pods(29));
    assert_eq!(run.pods.last(), Some(&2));
    for load in [step, day] {
        simulate(&spec, load, 180 * MINUTE).does_not_flap();
    }
    let run = simulate(&spec, bursts, 60 * MINUTE);
    let level = run.pods.iter().skip(1800);
    let (least, most) = (level.clone().min().unwrap(), level.max().unwrap());
    assert!(*most - *least <= 4, "from {least} to {most} within half an hour of bursts");
}

#[test]
fn the_load_of_a_day_is_followed_without_flapping() {
    let Some(variant) = variant("prometheus-adapter") else { return };
    let run = simulate(worker_hpa(variant), day, 180 * MINUTE);
    run.keeps_the_rates();
    run.does_not_flap();
    // each peak: up, a correction of two pods, up, down
    assert!(run.direction_changes().len() <= 7, "{:?}", thinned(&run.pods));
    assert!(*run.pods.iter().max().unwrap() >= 18);
    let late = run.oldest.iter().filter(|age| **age > 60.0).count();
    assert!(late < 120, "jobs waited for more than a minute during {late} s");
}

#[test]
fn between_bursts_the_number_of_pods_stays() {
    let Some(variant) = variant("prometheus-adapter") else { return };
    let run = simulate(worker_hpa(variant), bursts, 120 * MINUTE);
    run.keeps_the_rates();
    let level: Vec<_> = run.pods.iter().skip(1800).take(1800).collect();
    let (least, most) = (level.iter().min().unwrap(), level.iter().max().unwrap());
    assert!(*most - *least <= 4, "from {least} to {most} within half an hour of bursts");
    run.does_not_flap();
    assert_eq!(run.pods.last(), Some(&2));
}

fn thinned(pods: &[u32]) -> Vec<u32> {
    pods.iter().step_by(60).copied().collect()
}
