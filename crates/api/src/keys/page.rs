//! Pages of lists that leave out what a key does not include. The cursor is made of a record that the key includes, so it names no other.

use jobqueue_core::limits::MAX_PAGE;

use crate::problem::{Problem, ProblemKind};

/// Most reads of one page.
const MAX_READS: u32 = 20;

/// A wanted page.
#[derive(Debug)]
pub(crate) struct GrantedPage<C> {
    /// The position of the last record of the page before.
    pub(crate) after: Option<C>,
    /// Most records.
    pub(crate) limit: u32,
    /// Whether the key includes every record, so that one read is enough.
    pub(crate) is_all: bool,
}

impl<C> GrantedPage<C> {
    /// The records of the page, and the position of the next one. `read` returns up to a number of records after a position, and whether
    /// there are more.
    pub(crate) async fn of_granted<T, F, Fut>(
        self,
        read: F,
        is_granted: impl Fn(&T) -> bool,
        position: impl Fn(&T) -> C,
    ) -> Result<(Vec<T>, Option<C>), Problem>
    where
        F: Fn(Option<C>, u32) -> Fut,
        Fut: Future<Output = Result<(Vec<T>, bool), Problem>>,
    {
        let Self { mut after, limit, is_all } = self;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut granted, mut more, mut reads) = (Vec::new(), true, 0);
        while more && granted.len() <= most {
            if reads == MAX_READS {
                break;
            }
            let (records, are_more) = read(after, if is_all { limit } else { MAX_PAGE }).await?;
            after = records.last().map(&position);
            more = are_more && after.is_some();
            granted.extend(records.into_iter().filter(&is_granted));
            reads += 1;
            if is_all {
                break;
            }
        }
        if granted.is_empty() && more {
            let detail = "too many objects that the key does not include come before the next one that it includes; name an object";
            return Err(Problem::new(ProblemKind::FilterTooBroad, detail));
        }
        more |= granted.len() > most;
        granted.truncate(most);
        let next = granted.last().filter(|_| more).map(&position);
        Ok((granted, next))
    }
}

/// The first `limit` records, and whether there are more.
pub(crate) fn first<T>(mut records: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = records.len() > limit;
    records.truncate(limit);
    (records, more)
}
