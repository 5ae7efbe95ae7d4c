//! Rules about language: words that readers of comments, documents and names have misunderstood, each with what to write
//! instead. Code, code spans and strings are not prose and are not checked.

use proc_macro2::{TokenStream, TokenTree};

use crate::names;
use crate::tree::SourceFile;

/// A word or a phrase in comments and documents, and what to write instead.
const BANNED: [(&str, &str); 49] = [
    ("anybody", "name the subject: the client, the session, the worker"),
    ("are away", "are unreachable"),
    ("at the most", "at most"),
    ("be content with", "name the condition"),
    ("everybody", "name the subject: every client, every process"),
    ("for ever", "forever, or without limit"),
    ("for good", "permanently, or without a retry"),
    ("forgets", "deletes"),
    ("gave back", "released, or returned"),
    ("give back", "release, or return"),
    ("given back", "released, or returned"),
    ("gives back", "releases, or returns"),
    ("go on", "continue"),
    ("goes away", "disconnects, or becomes unreachable"),
    ("goes on", "continues"),
    ("goodbye", "say which message or call ends it"),
    ("hear", "receive, or learn of"),
    ("heard", "received"),
    ("hears", "receives, or learns of"),
    ("honest", "correct"),
    ("hunger", "say what is measured"),
    ("in earnest", "not a dry run"),
    ("is away", "is unreachable"),
    ("lie in", "are in"),
    ("look back", "scan again"),
    ("look for work", "poll"),
    ("looks back", "scans again"),
    ("looks for work", "polls"),
    ("makes no sense", "is invalid"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("moment", "time, timestamp, or snapshot"),
    ("moments", "times, timestamps, or snapshots"),
    ("nobody", "name the subject: no client, no other session"),
    ("nonsense", "invalid values"),
    ("patience", "time limit"),
    ("somebody", "name the subject: another session, a user"),
    ("span of time", "duration"),
    ("standing duties", "periodic maintenance"),
    ("stillborn", "not startable"),
    ("stranger", "another process"),
    ("taken for dead", "counts as dead"),
    ("tells", "reports, returns, or logs"),
    ("the sooner", "earlier, or faster"),
    ("throw-away", "temporary"),
    ("told", "reported, returned, or notified"),
    ("whatever", "regardless of, or name what it is"),
    ("whoever", "name the subject: the client, the session, the worker"),
    ("wishes", "requests, or wants"),
];

/// A word in a Rust name, and what to call it instead.
const BANNED_IN_NAMES: [(&str, &str); 15] = [
    ("anybody", "the subject"),
    ("everybody", "the subject"),
    ("hear", "receive"),
    ("hears", "receives"),
    ("hunger", "what is measured"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("moment", "time, timestamp, or snapshot"),
    ("nobody", "the subject"),
    ("patience", "time limit"),
    ("somebody", "the subject"),
    ("tells", "reports"),
    ("told", "reported"),
    ("whoever", "the subject"),
    ("wish", "request"),
];

/// Where these rules do not apply: this file names the words, and landed migrations never change.
const EXEMPT: [&str; 2] = ["crates/e2e/tests/tidy/words.rs", "migrations/"];

pub(crate) fn check(file: &SourceFile) -> Vec<String> {
    if EXEMPT.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let mut findings = in_prose(file);
    findings.extend(in_names(file));
    findings
}

fn in_prose(file: &SourceFile) -> Vec<String> {
    let words = prose(file);
    let mut findings = Vec::new();
    for at in 0..words.len() {
        for (phrase, instead) in BANNED {
            let mut rest = words[at..].iter().map(|(_, word)| word.as_str());
            if phrase.split(' ').all(|wanted| rest.next() == Some(wanted)) {
                let (path, line) = (&file.path, words[at].0);
                findings.push(format!("{path}:{line}: `{phrase}` is not literal: write {instead}"));
            }
        }
    }
    findings
}

fn in_names(file: &SourceFile) -> Vec<String> {
    let parsed = file.is_rust().then(|| file.text.parse::<TokenStream>());
    let mut names = Vec::new();
    if let Some(Ok(tokens)) = parsed {
        identifiers(tokens, &mut names);
    }
    let mut findings = Vec::new();
    for (line, name) in names {
        let words = names::words(&name);
        for (word, instead) in BANNED_IN_NAMES {
            if words.iter().any(|found| found == word) {
                let path = &file.path;
                findings
                    .push(format!("{path}:{line}: `{word}` in `{name}` is not literal: call it {instead}"));
            }
        }
    }
    findings
}

fn identifiers(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Ident(ident) => found.push((ident.span().start().line, ident.to_string())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The words of comments, or of a document without its code, in lower case with the numbers of their lines.
fn prose(file: &SourceFile) -> Vec<(usize, String)> {
    let is_document = file.has_ending("md");
    let marker = match () {
        () if is_document => "",
        () if file.is_rust() => "//",
        () if file.has_ending("sql") => "--",
        () => "#",
    };
    let mut in_block = false;
    let mut words = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        if is_document && line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        // a marker inside a line counts only after a space, so that `https://` is no comment
        let text = match line.trim_start().strip_prefix(marker) {
            Some(text) if !in_block => text,
            None => line.split_once(&format!(" {marker} ")).map_or("", |(_, text)| text),
            Some(_) => "",
        };
        let outside_of_code: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'');
        let found = outside_of_code.split(|c| !is_part(c)).filter(|word| !word.is_empty());
        words.extend(found.map(|word| (number, word.to_lowercase())));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::sample(path, text))
    }

    #[test]
    fn banned_phrases_are_found_in_comments_and_documents() {
        for (path, text) in [
            ("crates/a/src/b.rs", "\n/// The database is\n/// away.\nfn a() {}"),
            ("crates/a/src/b.rs", "\nlet a = 1; // nobody waits"),
            ("docs/a.md", "# A\nThe client goes on."),
            ("scripts/a.sql", "\nSELECT 1 -- whoever asks"),
            ("k8s/a.yaml", "\n# For ever\na: b"),
        ] {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:2: `")), "{text}: {found:?}");
        }
    }

    #[test]
    fn code_and_other_words_are_not_found() {
        for (path, text) in [
            ("crates/a/src/b.rs", "let a = \"nobody\";\n/// `cancel_wish`, retold, `is away`"),
            ("docs/a.md", "```sh\necho nobody\n```\nThe user `nobody`, and the cancel_wish table."),
            ("docs/a.md", "https://example.org/nobody-told-me"),
            ("migrations/0001_a.sql", "-- whoever"),
        ] {
            assert_eq!(findings(path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn banned_words_are_found_in_names() {
        for text in ["struct Told;", "fn nobody_waits() {}", "const MAX_PATIENCE: u8 = 1;", "let told = 1;"] {
            let found = findings("crates/a/src/b.rs", &format!("\n{text}"));
            assert!(found.len() == 1 && found[0].contains(":2: `"), "{text}: {found:?}");
        }
        assert_eq!(findings("crates/a/src/b.rs", "fn retold() { f(\"told\") }"), [""; 0]);
    }
}
