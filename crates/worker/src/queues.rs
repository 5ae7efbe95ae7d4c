//! The order in which queues are emptied: fixed, or random by weight. Owns the notation and the random order;
//! does not know which jobs a queue has.

use jobqueue_core::QueueName;

/// The largest weight: beyond it, a queue with weight 1 would practically never come first.
const MAX_WEIGHT: u32 = 1000;

/// The queues of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueuePlan {
    /// A later queue is served only when the earlier ones are empty.
    Strict(Vec<QueueName>),
    /// Each cycle draws an order by weight, so that no queue starves. An idle queue leaves its share to the
    /// others.
    Weighted(Vec<(QueueName, u32)>),
}

impl QueuePlan {
    /// Parses `critical,default` (strict) or `critical=3,default=1` (weights; a queue without one has weight
    /// 1).
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut weighted = false;
        let mut queues: Vec<(QueueName, u32)> = Vec::new();
        for word in words.into_iter().map(str::trim) {
            let (name, weight) = match word.split_once('=') {
                Some((name, weight)) => {
                    weighted = true;
                    let weight =
                        weight.trim().parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
                    let wrong =
                        || format!("the weight in `{word}` must be a whole number from 1 to {MAX_WEIGHT}");
                    (name.trim(), weight.ok_or_else(wrong)?)
                }
                None => (word, 1),
            };
            let name: QueueName = name.parse().map_err(|error| format!("the queue name `{name}` {error}"))?;
            if queues.iter().any(|(known, _)| *known == name) {
                return Err(format!("the queue `{name}` is named twice: name it once"));
            }
            queues.push((name, weight));
        }
        match (queues.is_empty(), weighted) {
            (true, _) => Err("name at least one queue".to_owned()),
            (false, true) => Ok(Self::Weighted(queues)),
            (false, false) => Ok(Self::Strict(queues.into_iter().map(|(name, _)| name).collect())),
        }
    }

    /// The order of one cycle. `dice` returns random numbers in `[0, 1)`.
    pub(crate) fn draw(&self, mut dice: impl FnMut() -> f64) -> Vec<QueueName> {
        match self {
            Self::Strict(queues) => queues.clone(),
            Self::Weighted(queues) => {
                // Efraimidis and Spirakis: sorting by dice^(1/weight) draws without replacement by weight
                let mut drawn: Vec<(f64, &QueueName)> = queues
                    .iter()
                    .map(|(name, weight)| (dice().powf(1.0 / f64::from(*weight)), name))
                    .collect();
                drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
                drawn.into_iter().map(|(_, name)| name.clone()).collect()
            }
        }
    }

    /// The plan with other queues: new ones come last, with weight 1. `None` if no queue is left.
    pub(crate) fn changed(&self, subscribe: &[QueueName], unsubscribe: &[QueueName]) -> Option<Self> {
        let known = self.names();
        let new: Vec<QueueName> = subscribe.iter().filter(|queue| !known.contains(queue)).cloned().collect();
        let mut plan = self.clone();
        match &mut plan {
            Self::Strict(queues) => {
                queues.retain(|queue| !unsubscribe.contains(queue));
                queues.extend(new);
            }
            Self::Weighted(queues) => {
                queues.retain(|(queue, _)| !unsubscribe.contains(queue));
                queues.extend(new.into_iter().map(|queue| (queue, 1)));
            }
        }
        (!plan.names().is_empty()).then_some(plan)
    }

    /// The queue names, in the configured order.
    pub(crate) fn names(&self) -> Vec<&QueueName> {
        match self {
            Self::Strict(queues) => queues.iter().collect(),
            Self::Weighted(queues) => queues.iter().map(|(name, _)| name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<QueuePlan, String> {
        QueuePlan::parse(text.split(','))
    }

    #[test]
    fn both_notations_are_read_and_nonsense_is_refused() {
        assert!(matches!(plan("critical, default").unwrap(), QueuePlan::Strict(q) if q.len() == 2));
        let weighted = plan("a=3,b").unwrap();
        assert_eq!(weighted.names().iter().map(|q| q.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for wrong in ["", "a,,b", "a=0", "a=-1", "a=1001", "a=1.5", "a=x", "a b", "a,a", "a=1,a=2", "=3"] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_strict_order_never_changes_and_weights_decide_who_is_first() {
        let mut seed = 7_u64;
        let mut dice = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 33).unwrap()) / f64::from(1_u32 << 31)
        };
        let strict = plan("b,a").unwrap();
        assert_eq!(strict.draw(&mut dice)[0].as_str(), "b");
        let weighted = plan("a=3,b=1").unwrap();
        let firsts = (0..4000).filter(|_| weighted.draw(&mut dice)[0].as_str() == "a").count();
        assert!((2850..3150).contains(&firsts), "{firsts} of 4000, 3000 expected");
        assert!(
            (0..100).all(|_| weighted.draw(&mut dice).len() == 2),
            "every queue has a place in every cycle"
        );
    }
}
