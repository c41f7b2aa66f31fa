//! Splits Rust source into code and comments, line by line, so that a word in a comment or a string is not taken for code.

/// One line of a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The code, with the contents of string and character literals left out.
    pub(crate) code: String,
    /// The text of the comments, with their slashes.
    pub(crate) comment: String,
    /// Whether it lies in a `#[cfg(test)] mod … { … }`.
    pub(crate) test: bool,
}

enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// Splits a source file into its lines.
pub(crate) fn scan(source: &str) -> Vec<Line> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut i = 0;
    while i < chars.len() {
        let (c, next) = (chars[i], at(i + 1));
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            i += 1;
            continue;
        }
        let last = lines.len() - 1;
        let line = &mut lines[last];
        let mut taken = 1;
        match state {
            State::Code => match (c, next) {
                ('/', '/') => {
                    line.comment.push_str("//");
                    state = State::LineComment;
                    taken = 2;
                }
                ('/', '*') => {
                    line.comment.push_str("/*");
                    state = State::BlockComment(1);
                    taken = 2;
                }
                ('"', _) => {
                    line.code.push('"');
                    state = State::Text;
                }
                ('r', '"' | '#') if raw_hashes(&chars, i).is_some() => {
                    let hashes = raw_hashes(&chars, i).unwrap_or(0);
                    line.code.push('"');
                    state = State::RawText(hashes);
                    taken = hashes + 2;
                }
                ('\'', _) => {
                    line.code.push('\'');
                    taken = character_length(&chars, i);
                }
                _ => line.code.push(c),
            },
            State::LineComment => line.comment.push(c),
            State::BlockComment(depth) => {
                line.comment.push(c);
                match (c, next) {
                    ('/', '*') => {
                        state = State::BlockComment(depth + 1);
                        taken = 2;
                    }
                    ('*', '/') => {
                        line.comment.push('/');
                        state = if depth == 1 {
                            State::Code
                        } else {
                            State::BlockComment(depth - 1)
                        };
                        taken = 2;
                    }
                    _ => {}
                }
            }
            State::Text => match c {
                // An escaped line break stays a line break.
                '\\' if next != '\n' => taken = 2,
                '"' => {
                    line.code.push('"');
                    state = State::Code;
                }
                _ => {}
            },
            State::RawText(hashes) => {
                if c == '"' && (1..=hashes).all(|k| at(i + k) == '#') {
                    line.code.push('"');
                    state = State::Code;
                    taken = hashes + 1;
                }
            }
        }
        i += taken;
    }
    mark_tests(&mut lines);
    lines
}

/// The number of `#` of the raw string that starts at `r`, or `None` when none starts there.
fn raw_hashes(chars: &[char], r: usize) -> Option<usize> {
    let before = r.checked_sub(1).map(|i| chars[i]);
    // `br"…"` and `cr"…"` are raw strings too; any other letter before makes it an identifier.
    if before.is_some_and(|c| is_word(c) && c != 'b' && c != 'c') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(r + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The length of the character literal that starts at this quote; 1 for a lifetime.
fn character_length(chars: &[char], quote: usize) -> usize {
    let at = |k: usize| chars.get(quote + k).copied().unwrap_or('\0');
    if at(1) == '\\' {
        let close = (3..16).find(|&k| at(k) == '\'');
        return close.map_or(1, |k| k + 1);
    }
    if at(2) == '\'' { 3 } else { 1 }
}

fn mark_tests(lines: &mut [Line]) {
    let mut i = 0;
    while i < lines.len() {
        if lines[i].code.trim() != "#[cfg(test)]" {
            i += 1;
            continue;
        }
        let attribute = |l: &Line| l.code.trim().is_empty() || l.code.trim().starts_with("#[");
        let Some(start) = (i + 1..lines.len()).find(|&k| !attribute(&lines[k])) else {
            return;
        };
        if !words(&lines[start].code).any(|w| w == "mod") || !lines[start].code.contains('{') {
            i = start;
            continue;
        }
        let mut depth = 0_usize;
        let mut end = start;
        for (k, line) in lines.iter().enumerate().skip(start) {
            depth += line.code.matches('{').count();
            depth = depth.saturating_sub(line.code.matches('}').count());
            end = k;
            if depth == 0 {
                break;
            }
        }
        for line in &mut lines[i..=end] {
            line.test = true;
        }
        i = end + 1;
    }
}

/// The words of a line: runs of letters, digits and `_`.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|w| !w.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Vec<String> {
        scan(source).into_iter().map(|l| l.code).collect()
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code("a // b\nc /* d\n e */ f"), ["a ", "c ", " f"]);
        assert_eq!(code(r#"x("unsafe \" still", 1)"#), [r#"x("", 1)"#]);
        assert_eq!(code("r#\"a \" b\"# + c"), ["\"\" + c"]);
        assert_eq!(code("b'\"' + '\\'' + '\\u{1F600}' - d"), ["b' + ' + ' - d"]);
        assert_eq!(code("/* a /* b */ c */ d"), [" d"]);
    }

    #[test]
    fn lifetimes_and_identifiers_with_r_are_code() {
        assert_eq!(code("fn f<'a>(x: &'a str) // '"), ["fn f<'a>(x: &'a str) "]);
        assert_eq!(code("for r in bar\"\" {}"), ["for r in bar\"\" {}"]);
    }

    #[test]
    fn strings_may_span_lines() {
        assert_eq!(code("a(\"b\n // c\\\n\" , d)"), ["a(\"", "", "\" , d)"]);
    }

    #[test]
    fn the_comment_keeps_its_text() {
        assert_eq!(scan("x // y: z")[0].comment, "// y: z");
        assert_eq!(scan("/* y */ x")[0].comment, "/* y */");
    }

    #[test]
    fn a_test_module_is_marked_to_its_last_brace() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { \"}\"; }\n}\nfn c() {}\n";
        let marks: Vec<bool> = scan(source).into_iter().map(|l| l.test).collect();
        assert_eq!(marks, [false, true, true, true, true, false, false]);
    }

    #[test]
    fn a_test_module_in_its_own_file_marks_nothing() {
        let source = "#[cfg(test)]\nmod tests;\nfn a() {}";
        assert!(scan(source).iter().all(|l| !l.test));
    }
}
