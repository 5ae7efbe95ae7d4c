//! What a PromQL expression asks for. Owns just enough of the grammar to find metric names and the labels matched on them.

use std::collections::BTreeSet;

/// Words that are no metric; functions and aggregations are known by what follows them.
const WORDS: [&str; 11] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"];

/// A metric in an expression, with the labels of its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) labels: BTreeSet<String>,
}

/// Every metric of an expression.
pub(crate) fn metrics(expression: &str) -> Vec<Use> {
    let tokens = tokens(expression);
    let mut found: Vec<Use> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).map_or("", String::as_str);
        match tokens[at].as_str() {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" if next == "(" => {
                at += tokens[at..].iter().position(|token| token == ")").unwrap_or(1);
            }
            "{" => {
                let end = at + tokens[at..].iter().position(|token| token == "}").unwrap();
                if let Some(metric) = found.last_mut() {
                    metric.labels.extend(tokens[at..end].iter().filter(|token| is_name(token)).cloned());
                }
                at = end;
            }
            "[" => at += tokens[at..].iter().position(|token| token == "]").unwrap(),
            token if is_name(token) && !["(", "by", "without"].contains(&next) && !WORDS.contains(&token) => {
                found.push(Use { name: token.to_owned(), labels: BTreeSet::new() });
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, and single signs; strings, and numbers with their units, are dropped.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = expression.chars().peekable();
    let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == ':';
    while let Some(c) = chars.next() {
        if c == '"' {
            while chars.next().is_some_and(|c| c != '"') {}
        } else if word(&c) || c == '$' {
            let mut token = c.to_string();
            while let Some(c) = chars.next_if(word) {
                token.push(c);
            }
            if is_name(&token) {
                tokens.push(token);
            }
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

#[test]
fn expressions_are_read() {
    let name = |name: &str, labels: &[&str]| Use {
        name: name.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    for (expression, wanted) in [
        ("up == 0", vec![name("up", &[])]),
        (
            r#"sum by (queue) (rate(a_total{queue="by (x)", pod!~"b"}[5m])) / b{} > 14.4 * 0.01"#,
            vec![name("a_total", &["queue", "pod"]), name("b", &[])],
        ),
        ("time() - max by (duty) (c{d=~\"$e\"}) and on (x) f", vec![name("c", &["d"]), name("f", &[])]),
        ("histogram_quantile(0.99, sum(rate(h_bucket[$__rate_interval])))", vec![name("h_bucket", &[])]),
    ] {
        assert_eq!(metrics(expression), wanted, "{expression}");
    }
}
