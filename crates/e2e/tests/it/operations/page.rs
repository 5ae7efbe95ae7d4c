//! docs/operations.md as what it asks its reader to type: the commands of its shell blocks with their marks, and the code spans of its
//! text. It never runs anything.

/// Needs a cluster, needs a container engine.
pub(super) const MARKS: [char; 2] = ['⎈', '▣'];
/// What a comment says before the words that the command prints.
const TELLS: char = '→';
const BY: &str = "run by ";

/// A command of a shell block, its continued lines included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Of its first line, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) way: Way,
}

/// How it is known to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It needs what is not here.
    Marked,
    /// A script of the repository runs it.
    By(String),
    /// It runs here, and prints these words.
    Here(Option<String>),
}

/// A code span of the text, with the paragraph or the row of a table that it is in.
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
            // a block in another language: what is in it is no command
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
            found.push(Command { line: *number, text: (*line).to_owned(), way: Way::Marked });
        }
        continues = line.ends_with('\\');
    }
    for command in found.iter_mut().filter(|_| !all_marked) {
        command.way = way(&command.text);
    }
    found
}

/// What its comment says.
fn way(text: &str) -> Way {
    let comment = text.rsplit_once(" # ").map_or("", |(_, comment)| comment).trim();
    if MARKS.iter().any(|mark| comment.contains(*mark)) {
        Way::Marked
    } else if let Some((_, script)) = comment.rsplit_once(BY) {
        Way::By(script.to_owned())
    } else {
        Way::Here(comment.split_once(TELLS).map(|(_, words)| words.trim().to_owned()))
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
fn a_page_is_read_as_its_reader_reads_it() {
    let page = "Text with `kubectl get\npods` (⎈).\n\n```sh\n# ⎈\nkubectl a\n```\n\n```sh\na --b \\\n  c    # d → \"e\"\n# remark\n\
                x # ▣ y\nz   # run by scripts/z\n```\n```yaml\nno: command\n```\n\n| `one` | ⎈ |\n| `two` | |\n";
    let command = |line, text: &str, way| Command { line, text: text.to_owned(), way };
    assert_eq!(
        commands(page),
        [
            command(6, "kubectl a", Way::Marked),
            command(10, "a --b \\\n  c    # d → \"e\"", Way::Here(Some("\"e\"".to_owned()))),
            command(13, "x # ▣ y", Way::Marked),
            command(14, "z   # run by scripts/z", Way::By("scripts/z".to_owned())),
        ]
    );
    let spans: Vec<_> = spans(page).into_iter().map(|s| (s.line, s.text, s.around.contains('⎈'))).collect();
    let span = |line, text: &str, marked| (line, text.to_owned(), marked);
    assert_eq!(spans, [span(1, "kubectl get pods", true), span(20, "one", true), span(21, "two", false)]);
}
