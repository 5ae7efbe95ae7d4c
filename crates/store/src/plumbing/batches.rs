//! Finds the bad row in a batch: a row that the database rejects must not cost the other rows their result.

use crate::plumbing::error::StoreError;

/// Calls with batches of items. Once the database is unreachable, no further call is made.
///
/// `E` is what each affected item gets. It is made once for each failed call.
#[derive(Debug)]
pub struct Batches<E> {
    unreachable: Option<E>,
}

impl<E> Default for Batches<E> {
    fn default() -> Self {
        Self { unreachable: None }
    }
}

impl<E: From<StoreError> + Clone> Batches<E> {
    /// Calls `call` with all `items`. If one row may be to blame, or if two transactions collided, it calls again with each
    /// half, until each bad item is alone. Any other error is the result of all items that are left. Returns one result
    /// for each item, in order.
    ///
    /// `call` must change nothing if it fails, and return one result for each of its items. It is never called without items.
    pub async fn run<'a, T, R, Fut>(
        &mut self,
        items: &'a [T],
        call: impl Fn(&'a [T]) -> Fut,
    ) -> Vec<Result<R, E>>
    where
        Fut: Future<Output = Result<Vec<R>, StoreError>>,
    {
        let mut results = Vec::with_capacity(items.len());
        let mut failure = self.unreachable.clone();
        // the last one is next
        let mut parts: Vec<&'a [T]> = (!items.is_empty()).then_some(items).into_iter().collect();
        while let Some(part) = parts.pop() {
            if let Some(failure) = &failure {
                results.extend(part.iter().map(|_| Err(failure.clone())));
                continue;
            }
            match call(part).await {
                Ok(found) => results.extend(found.into_iter().map(Ok)),
                Err(error) if error.is_helped_by_dividing() && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    let (divides, everyone) = (error.is_helped_by_dividing(), error.concerns_everyone());
                    let error = E::from(error);
                    failure = (!divides).then(|| error.clone());
                    if everyone {
                        self.unreachable.clone_from(&failure);
                    }
                    results.extend(part.iter().map(|_| Err(error.clone())));
                }
            }
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::plumbing::cause::{Cause, Kind};

    type Results = Vec<Result<u32, Arc<StoreError>>>;

    fn interrupted(kind: Kind) -> StoreError {
        StoreError::Interrupted { cause: Cause::new(kind, &sqlx::Error::RowNotFound) }
    }

    fn unreachable() -> StoreError {
        StoreError::Unreachable { cause: Cause::read_only() }
    }

    /// The results for the items, and the sizes of the calls. `fails` decides for each call.
    async fn run(
        batches: &mut Batches<Arc<StoreError>>,
        items: &[u32],
        fails: impl Fn(&[u32]) -> Option<StoreError>,
    ) -> (Results, Vec<usize>) {
        let sizes = RefCell::new(Vec::new());
        let call = |part: &[u32]| {
            sizes.borrow_mut().push(part.len());
            std::future::ready(fails(part).map_or_else(|| Ok(part.to_vec()), Err))
        };
        let results = batches.run(items, call).await;
        (results, sizes.into_inner())
    }

    proptest! {
        #[test]
        fn only_bad_items_fail(count in 0u32..70, bad in prop::collection::hash_set(0u32..70, 0..6)) {
            let bad: HashSet<u32> = bad.into_iter().filter(|item| *item < count).collect();
            let items: Vec<u32> = (0..count).collect();
            let fails = |part: &[u32]| {
                part.iter().any(|item| bad.contains(item)).then(|| StoreError::Refused(sqlx::Error::RowNotFound))
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (results, sizes) = runtime.block_on(run(&mut Batches::default(), &items, fails));
            prop_assert_eq!(results.len(), items.len());
            for (item, result) in items.iter().zip(results) {
                prop_assert_eq!(result.ok(), (!bad.contains(item)).then_some(*item));
            }
            // the whole, and for each bad item two halves at each of seven levels
            prop_assert!(sizes.len() <= 1 + bad.len() * 14);
        }
    }

    #[tokio::test]
    async fn a_batch_without_a_bad_item_is_one_call() {
        let (results, sizes) = run(&mut Batches::default(), &[1, 2, 3], |_| None).await;
        assert_eq!((results.len(), sizes), (3, vec![3]));
    }

    #[tokio::test]
    async fn a_collision_is_tried_again_in_halves() {
        let fails = |part: &[u32]| (part.len() > 2).then(|| interrupted(Kind::Collision));
        let (results, sizes) = run(&mut Batches::default(), &[1, 2, 3, 4], fails).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(sizes, [4, 2, 2]);
    }

    #[tokio::test]
    async fn an_error_of_no_row_ends_the_batch() {
        let fails = |part: &[u32]| match part {
            [1, ..] if part.len() > 1 => Some(StoreError::Refused(sqlx::Error::RowNotFound)),
            [3, ..] => Some(interrupted(Kind::Stopped)),
            _ => None,
        };
        let mut batches = Batches::default();
        let (results, sizes) = run(&mut batches, &[1, 2, 3, 4, 5, 6, 7, 8], fails).await;
        let fine: Vec<u32> = results.into_iter().map_while(Result::ok).collect();
        assert_eq!((fine, sizes), (vec![1, 2], vec![8, 4, 2, 1, 1, 2]));
        let (results, sizes) = run(&mut batches, &[9], fails).await;
        assert_eq!((results[0].as_ref().ok(), sizes), (Some(&9), vec![1]), "another batch may succeed");
    }

    #[tokio::test]
    async fn an_unreachable_database_ends_all_batches() {
        let mut batches = Batches::default();
        let (results, sizes) = run(&mut batches, &[1, 2], |_| Some(unreachable())).await;
        assert_eq!((results.iter().filter(|result| result.is_err()).count(), sizes), (2, vec![2]));
        let (results, sizes) = run(&mut batches, &[3, 4], |_| None).await;
        assert_eq!((results.iter().filter(|result| result.is_err()).count(), sizes), (2, vec![]));
    }
}
