//! The metrics of a PromQL expression. Parses the part of the grammar that contains metric names and label matchers.

/// Words that are not metrics. Functions and aggregations are recognised by the characters after them.
const WORDS: [&str; 11] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"];

/// A metric in an expression, with its label matchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// A label matcher such as `label="value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub(crate) operator: String,
    pub(crate) value: String,
}

impl Matcher {
    /// Whether the matcher names a value, to include or to exclude it. In patterns it supports `|`, `.` and `.*`.
    pub(crate) fn names(&self, value: &str) -> bool {
        if !self.operator.contains('~') {
            return self.value == value;
        }
        assert!(!self.value.contains(['(', '[', '{', '+', '?', '\\', '^', '$']), "too clever: {self:?}");
        self.value.split('|').any(|pattern| fits(pattern.as_bytes(), value.as_bytes()))
    }
}

fn fits(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern, value) {
        ([b'.', b'*', rest @ ..], _) => (0..=value.len()).any(|skipped| fits(rest, &value[skipped..])),
        ([wanted, pattern @ ..], [found, value @ ..]) => {
            (*wanted == b'.' || wanted == found) && fits(pattern, value)
        }
        (pattern, value) => pattern.is_empty() && value.is_empty(),
    }
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
                    metric
                        .matchers
                        .extend(tokens[at + 1..end].split(|token| token == ",").filter_map(matcher));
                }
                at = end;
            }
            "[" => at += tokens[at..].iter().position(|token| token == "]").unwrap(),
            token if is_name(token) && !["(", "by", "without"].contains(&next) && !WORDS.contains(&token) => {
                found.push(Use { name: token.to_owned(), matchers: Vec::new() });
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn matcher(tokens: &[String]) -> Option<Matcher> {
    let (label, rest) = tokens.split_first()?;
    let (value, operator) = rest.split_last()?;
    let value = value.strip_prefix('"')?.to_owned();
    Some(Matcher { label: label.clone(), operator: operator.concat(), value })
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, single characters, and strings after their opening quote; numbers with their units are skipped.
fn tokens(expression: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = expression.chars().peekable();
    let word = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == ':';
    while let Some(c) = chars.next() {
        if c == '"' {
            tokens.push(std::iter::once('"').chain(chars.by_ref().take_while(|c| *c != '"')).collect());
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
    let matcher = |(label, operator, value): &(&str, &str, &str)| Matcher {
        label: (*label).to_owned(),
        operator: (*operator).to_owned(),
        value: (*value).to_owned(),
    };
    let name = |name: &str, wanted: &[(&str, &str, &str)]| Use {
        name: name.to_owned(),
        matchers: wanted.iter().map(matcher).collect(),
    };
    for (expression, wanted) in [
        ("up == 0", vec![name("up", &[])]),
        (
            r#"sum by (queue) (rate(a_total{queue="by (x)", pod!~"b"}[5m])) / b{} > 14.4 * 0.01"#,
            vec![name("a_total", &[("queue", "=", "by (x)"), ("pod", "!~", "b")]), name("b", &[])],
        ),
        (
            "time() - max by (duty) (c{d=~\"$e\"}) and on (x) f",
            vec![name("c", &[("d", "=~", "$e")]), name("f", &[])],
        ),
        ("histogram_quantile(0.99, sum(rate(h_bucket[$__rate_interval])))", vec![name("h_bucket", &[])]),
    ] {
        assert_eq!(metrics(expression), wanted, "{expression}");
    }
}

#[test]
fn patterns_name_whole_values() {
    let names = |operator: &str, value: &str, found: &str| {
        Matcher { label: "l".to_owned(), operator: operator.to_owned(), value: value.to_owned() }.names(found)
    };
    assert!(names("=", "5..", "5..") && !names("=", "5..", "500"));
    assert!(names("=~", "5..", "500") && !names("=~", "5..", "50") && !names("!~", "5..", "5000"));
    assert!(
        names("=~", "a|/v1/.*", "/v1/") && names("=~", "a|/v1/.*", "a") && !names("=~", "a|/v1/.*", "b/v1/c")
    );
}
