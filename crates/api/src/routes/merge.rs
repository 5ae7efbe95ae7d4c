//! Merge patches of what other requests may change at the same time.

use jobqueue_store::Precondition;

use crate::problem::Problem;

/// Tries until the change is refused.
const TRIES: u32 = 20;

/// Merges again if a change came in between, which is `refused`. With a condition of the client it is the answer.
pub(super) async fn until_applied<C, F>(
    condition: &Precondition,
    refused: C,
    merge: impl Fn() -> F,
) -> Result<C, Problem>
where
    C: PartialEq,
    F: Future<Output = Result<C, Problem>>,
{
    for _ in 0..TRIES {
        let change = merge().await?;
        if *condition != Precondition::Always || change != refused {
            return Ok(change);
        }
    }
    Ok(refused)
}
