//! Tests of docs/sql.md: every example runs, and prints the text after the arrow in its comment.

use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use crate::bench::Bench;

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// The statements of a block with what each must print: the first column of its first row.
fn statements(block: &str) -> Vec<(String, Option<&str>)> {
    let mut found = Vec::new();
    let mut text = String::new();
    for line in block.lines() {
        let (code, comment) =
            line.split_once(" -- → ").map_or((line, None), |(code, results)| (code, Some(results.trim())));
        text.push_str(code);
        text.push('\n');
        if code.trim_end().ends_with(';') {
            found.push((std::mem::take(&mut text), comment));
        }
    }
    assert_eq!(text, "", "a statement without an end");
    found
}

#[tokio::test]
async fn every_example_runs_and_prints_what_it_says() {
    let bench = Bench::new().await;
    let mut session = bench.pool.acquire().await.unwrap();
    let blocks: Vec<&str> =
        PAGE.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let mut results = 0;
    for (statement, expected) in blocks.iter().flat_map(|block| statements(block)) {
        let rows: Vec<_> = sqlx::raw_sql(&statement)
            .fetch(&mut *session)
            .try_collect()
            .await
            .unwrap_or_else(|error| panic!("{error}: {statement}"));
        if let Some(expected) = expected {
            let printed: String = rows[0].get_unchecked(0);
            assert_eq!(printed, expected, "{statement}");
            results += 1;
        }
    }
    sqlx::raw_sql("DROP OWNED BY shop; DROP ROLE shop").execute(&mut *session).await.unwrap();
    assert!(blocks.len() >= 8 && results >= 8, "{} blocks, {results} results", blocks.len());
}
