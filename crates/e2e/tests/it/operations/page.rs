//! Parses a page: the commands of its shell blocks with their marks, and the code spans of its text. Runs nothing.

/// The marks of commands that need a cluster or a container engine.
pub(super) const MARKS: [char; 2] = ['⎈', '▣'];
/// In a comment, the arrow before the text that the command prints.
const PRINTS: char = '→';
const RUN_BY: &str = "run by ";

/// A command of a shell block, with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// The number of its first line, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) check: Check,
}

/// How the command is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is marked: it needs a cluster or a container engine.
    Marked,
    /// A script of the repository runs it.
    RunBy(String),
    /// It runs in the test, and prints this text.
    Runs(Option<String>),
}

/// A code span of the text, with the paragraph or the table row that contains it.
#[derive(Debug)]
pub(super) struct Span<'a> {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) around: &'a str,
}

/// The commands of every shell block, in order.
pub(super) fn commands(page: &str) -> Vec<Command> {
    let mut found = Vec::new();
    let mut block: Option<Vec<(usize, &str)>> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut block, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) if language.starts_with("sh") || language.starts_with("bash") => {
                block = Some(Vec::new());
            }
            // a block in another language has no commands
            (None, Some(_)) => block = Some(vec![(0, "")]),
            (Some(lines), Some(_)) => {
                found.extend(of_block(lines));
                block = None;
            }
            (Some(lines), None) if lines.first() != Some(&(0, "")) => lines.push((number, line)),
            _ => {}
        }
    }
    found
}

fn of_block(lines: &[(usize, &str)]) -> Vec<Command> {
    let is_mark = |line: &str| {
        line.strip_prefix("# ").is_some_and(|rest| MARKS.iter().any(|mark| rest == mark.to_string()))
    };
    let all_marked = lines.first().is_some_and(|(_, line)| is_mark(line));
    let mut found: Vec<Command> = Vec::new();
    let mut continues = false;
    for (number, line) in lines.iter().filter(|(_, line)| !line.is_empty()) {
        if continues {
            if let Some(command) = found.last_mut() {
                command.text = format!("{}\n{line}", command.text);
            }
        } else if !line.starts_with('#') {
            found.push(Command { line: *number, text: (*line).to_owned(), check: Check::Marked });
        }
        continues = line.ends_with('\\');
    }
    for command in found.iter_mut().filter(|_| !all_marked) {
        command.check = check(&command.text);
    }
    found
}

/// The check that the comment of the command asks for.
fn check(text: &str) -> Check {
    let comment = text.rsplit_once(" # ").map_or("", |(_, comment)| comment).trim();
    if MARKS.iter().any(|mark| comment.contains(*mark)) {
        Check::Marked
    } else if let Some((_, script)) = comment.rsplit_once(RUN_BY) {
        Check::RunBy(script.to_owned())
    } else {
        Check::Runs(comment.split_once(PRINTS).map(|(_, words)| words.trim().to_owned()))
    }
}

/// The code spans outside of blocks.
pub(super) fn spans(page: &str) -> Vec<Span<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    for (position, block) in page.split("```").enumerate() {
        if position % 2 == 0 {
            let mut at = line;
            for paragraph in block.split_inclusive("\n\n") {
                let rows = paragraph.trim_start().starts_with('|');
                let groups: Vec<_> =
                    if rows { paragraph.split_inclusive('\n').collect() } else { vec![paragraph] };
                for group in groups {
                    found.extend(of_group(group, at));
                    at += group.matches('\n').count();
                }
            }
        }
        line += block.matches('\n').count();
    }
    found
}

fn of_group(group: &str, first: usize) -> Vec<Span<'_>> {
    let mut line = first;
    let mut found = Vec::new();
    for (position, part) in group.split('`').enumerate() {
        if position % 2 == 1 {
            let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
            found.push(Span { line, text, around: group });
        }
        line += part.matches('\n').count();
    }
    found
}

#[test]
fn commands_and_code_spans_are_parsed() {
    let page = "Text with `kubectl get\npods` (⎈).\n\n```sh\n# ⎈\nkubectl a\n```\n\n```sh\na --b \\\n  c    # d → \"e\"\n# remark\n\
                x # ▣ y\nz   # run by scripts/z\n```\n```yaml\nno: command\n```\n\n| `one` | ⎈ |\n| `two` | |\n";
    let command = |line, text: &str, check| Command { line, text: text.to_owned(), check };
    assert_eq!(
        commands(page),
        [
            command(6, "kubectl a", Check::Marked),
            command(10, "a --b \\\n  c    # d → \"e\"", Check::Runs(Some("\"e\"".to_owned()))),
            command(13, "x # ▣ y", Check::Marked),
            command(14, "z   # run by scripts/z", Check::RunBy("scripts/z".to_owned())),
        ]
    );
    let spans: Vec<_> = spans(page).into_iter().map(|s| (s.line, s.text, s.around.contains('⎈'))).collect();
    let span = |line, text: &str, marked| (line, text.to_owned(), marked);
    assert_eq!(spans, [span(1, "kubectl get pods", true), span(20, "one", true), span(21, "two", false)]);
}
