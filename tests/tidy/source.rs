//! A source file, read as far as the rules need: lines with and without comments, strings and tests; paths; words.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// A breach of a rule: line and sentence.
pub(crate) type Breach = (usize, String);

/// One file of `src/`, read as far as the rules need.
pub(crate) struct Source {
    /// Below `src/`.
    pub(crate) path: String,
    pub(crate) raw: Vec<String>,
    /// Comments blanked out.
    text: Vec<String>,
    /// Comments and the insides of strings blanked out.
    code: Vec<String>,
    /// Whether a line stands under `#[cfg(test)]`.
    is_test: Vec<bool>,
}

impl Source {
    pub(crate) fn parse(path: &str, raw: &str) -> Self {
        let (text, code) = blank(raw);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let is_test = test_lines(&code);
        Self { path: path.into(), raw: lines(raw), text: lines(&text), code: lines(&code), is_test }
    }

    pub(crate) fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the file is one of these places or lies in its folder.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        let module = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        places.iter().any(|place| module == *place || module.starts_with(&format!("{place}/")))
    }

    pub(crate) fn code_lines(&self) -> usize {
        self.code.iter().zip(&self.is_test).filter(|(line, is_test)| !line.trim().is_empty() && !**is_test).count()
    }

    pub(crate) fn code_and_test_lines(&self) -> usize {
        self.code.iter().filter(|line| !line.trim().is_empty()).count()
    }

    /// What `breach` says of each line without its comments, tests left out.
    pub(crate) fn text_lines(&self, breach: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
        let lines = self.text.iter().zip(&self.is_test).zip(1..).filter(|((_, is_test), _)| !**is_test);
        lines.filter_map(|((line, _), n)| Some((n, breach(line)?))).collect()
    }

    /// Lines that spell one of these, tests left out.
    pub(crate) fn spelled(&self, spellings: &[&str], why: &str) -> Vec<Breach> {
        let lines = self.code.iter().zip(&self.is_test).zip(1..).filter(|((_, is_test), _)| !**is_test);
        let hit = |line: &str| spellings.iter().find(|spelling| line.contains(**spelling)).copied();
        lines.filter_map(|((line, _), n)| Some((n, format!("`{}` {why}", hit(line)?)))).collect()
    }

    /// Lines with one of these identifiers, tests left out.
    pub(crate) fn words_in(&self, words: &[&str], why: &str) -> Vec<Breach> {
        let lines = self.code.iter().zip(&self.is_test).zip(1..).filter(|((_, is_test), _)| !**is_test);
        let hit = |line: &str| words.iter().find(|word| split_words(line).any(|w| w == **word)).copied();
        lines.filter_map(|((line, _), n)| Some((n, format!("`{}` {why}", hit(line)?)))).collect()
    }

    /// Uses of paths that begin with one of these, tests left out.
    pub(crate) fn paths_below(&self, begins: &[&str], why: &str) -> Vec<Breach> {
        let mut found = Vec::new();
        for begin in begins {
            let root = begin.split("::").next().unwrap_or_default();
            for (line, path) in paths(&self.code, root) {
                let whole = format!("{root}::{}", path.join("::"));
                let is_below = whole == *begin || whole.starts_with(&format!("{begin}::"));
                if is_below && !self.is_test[line - 1] {
                    found.push((line, format!("`{whole}` {why}")));
                }
            }
        }
        found
    }

    /// Every path into this crate as (line, segments after `crate`), tests included.
    pub(crate) fn crate_paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = paths(&self.code, "crate");
        if self.room() == "main" {
            found.extend(paths(&self.code, "farmgate"));
        }
        // `super` as often as the file is deep leads to the crate's root; once more inside its `mod tests`.
        let depth = self.path.split('/').count();
        for (line, path) in paths(&self.code, "super") {
            let supers = 1 + path.iter().take_while(|segment| *segment == "super").count();
            let inner = usize::from(self.is_test[line - 1] && !self.is_test.iter().all(|is_test| *is_test));
            if supers == depth + inner && path.len() >= supers && self.room() != "lib" {
                found.push((line, path[supers - 1..].to_vec()));
            }
        }
        found.sort();
        found
    }

    /// The modules that the file declares for tests alone, as paths without `.rs`.
    fn test_modules(&self) -> Vec<String> {
        let module = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let folder = if matches!(module, "lib" | "main") { String::new() } else { format!("{module}/") };
        let lines = self.code.iter().zip(&self.is_test).filter(|(_, is_test)| **is_test);
        let names =
            lines.filter_map(|(line, _)| line.trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name));
        names.map(|name| format!("{folder}{name}")).collect()
    }

    /// Every identifier as (line, the word directly before it, identifier), tests left out.
    pub(crate) fn identifiers(&self) -> Vec<(usize, String, String)> {
        let mut found = Vec::new();
        for (n, line) in self.code.iter().enumerate().filter(|(n, _)| !self.is_test[*n]) {
            let mut before = String::new();
            for chunk in line.split_whitespace() {
                for (i, word) in split_words(chunk).enumerate() {
                    let follows = i == 0 && chunk.starts_with(word);
                    found.push((n + 1, if follows { before.clone() } else { String::new() }, word.to_owned()));
                }
                before = chunk.to_owned();
            }
        }
        found
    }
}

/// The files of `src/`, sorted; read once.
pub(crate) fn house() -> &'static [Source] {
    static HOUSE: OnceLock<Vec<Source>> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let mut found = Vec::new();
        walk(Path::new("src"), &mut found);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(!found.is_empty(), "src/ was not read");
        mark_test_files(&mut found);
        found
    })
}

fn walk(dir: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix("src").unwrap().to_str().unwrap().to_owned();
            found.push(Source::parse(&below, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Marks the files of modules that are declared under `#[cfg(test)]`, and all below them.
pub(crate) fn mark_test_files(house: &mut [Source]) {
    let declared: Vec<String> = house.iter().flat_map(Source::test_modules).collect();
    let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
    for source in house.iter_mut().filter(|source| source.is_in(&declared)) {
        source.is_test.fill(true);
    }
}

pub(crate) fn split_words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// `ListenerBackend` and `listener_backend` → listener, backend.
pub(crate) fn parts(identifier: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
        if c != '_' {
            parts.last_mut().expect("never empty").extend(c.to_lowercase());
        }
    }
    parts
}

/// Returns the source without comments, and without comments and the insides of strings; lines stay where they are.
fn blank(raw: &str) -> (String, String) {
    let chars: Vec<char> = raw.chars().collect();
    let (mut text, mut code) = (String::new(), String::new());
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let keep_lines = |range: &[char]| range.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }).collect::<String>();
    let mut i = 0;
    while i < chars.len() {
        let begins_word = i == 0 || !(at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let (end, is_comment) = match (at(i), at(i + 1)) {
            ('/', '/') => ((i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len()), true),
            ('/', '*') => (block_end(&chars, i), true),
            ('"', _) => (string_end(&chars, i), false),
            ('b', '"') if begins_word => (string_end(&chars, i + 1), false),
            ('r', '"' | '#') if begins_word => (raw_string_end(&chars, i + 1), false),
            ('b', 'r') if begins_word && matches!(at(i + 2), '"' | '#') => (raw_string_end(&chars, i + 2), false),
            ('\'', '\\') => ((i + 3..chars.len()).find(|j| at(*j) == '\'').map_or(chars.len(), |j| j + 1), false),
            ('\'', _) if at(i + 2) == '\'' => (i + 3, false),
            _ => {
                text.push(at(i));
                code.push(at(i));
                i += 1;
                continue;
            }
        };
        let range = &chars[i..end];
        code += &keep_lines(range);
        text += &if is_comment { keep_lines(range) } else { range.iter().collect() };
        i = end;
    }
    (text, code)
}

fn block_end(chars: &[char], begin: usize) -> usize {
    let mut depth = 0;
    let mut i = begin;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    chars.len().min(i + 1)
}

/// `begin` is the first `#` or the quote; a raw identifier (`r#type`) ends at once.
fn raw_string_end(chars: &[char], begin: usize) -> usize {
    let hashes = chars[begin..].iter().take_while(|c| **c == '#').count();
    if chars.get(begin + hashes) != Some(&'"') {
        return begin + hashes;
    }
    let closes = |i: &usize| chars[*i] == '"' && chars[*i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (begin + hashes + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Returns which lines stand under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut is_test = vec![false; code.lines().count()];
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let begin = from + found;
        let mut depth = 0usize;
        let mut end = code.len();
        for (i, c) in code[begin..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = begin + i + 1;
                break;
            }
        }
        let line = |at: usize| code[..at].matches('\n').count();
        for marked in &mut is_test[line(begin)..=line(end - 1)] {
            *marked = true;
        }
        from = end;
    }
    is_test
}

/// Returns every path below `root::` as (line, segments after the root); groups are spread out.
fn paths(code: &[String], root: &str) -> Vec<(usize, Vec<String>)> {
    let whole = code.join("\n");
    let begin = format!("{root}::");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in whole.match_indices(&begin) {
        let before = whole[..at].chars().next_back();
        let is_inner = root == "super" && before == Some(':');
        if !before.is_some_and(is_word) && !is_inner {
            spread(whole.as_bytes(), at + begin.len(), &[], &mut found);
        }
    }
    let newlines: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at).collect();
    found.into_iter().map(|(at, path)| (1 + newlines.partition_point(|newline| *newline < at), path)).collect()
}

/// Reads one use tree or path from `at` on as (where its last word begins, segments); returns where it ends.
fn spread(code: &[u8], at: usize, prefix: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let skip_space = |i: usize| i + code[i..].iter().take_while(|c| c.is_ascii_whitespace()).count();
    let mut i = skip_space(at);
    if code.get(i) == Some(&b'{') {
        i += 1;
        while i < code.len() && code[i] != b'}' {
            i = spread(code, i, prefix, found);
            i += code[i..].iter().take_while(|c| !matches!(c, b',' | b'}')).count();
            if code.get(i) == Some(&b',') {
                i = skip_space(i + 1);
            }
        }
        return (i + 1).min(code.len());
    }
    let is_part = |c: &&u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'*');
    let end = i + code[i..].iter().take_while(is_part).count();
    let mut path = prefix.to_vec();
    if end > i {
        path.push(String::from_utf8_lossy(&code[i..end]).into_owned());
    }
    let goes_on = code[end..].starts_with(b"::") && code.get(end + 2) != Some(&b'<');
    if goes_on && end > i {
        return spread(code, end + 2, &path, found);
    }
    if !path.is_empty() {
        found.push((i, path));
    }
    end
}
