//! What the files of a running target tell of what it is built with: its executable, a jar, a
//! package.json.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use regex::bytes::Regex;

use crate::model::stack::{Signs, Stack, StackReport};

use super::tree::words;

/// So much of an executable is looked through.
const EXECUTABLE_BYTES_MAX: u64 = 96 << 20;
/// The build id of Go, and the names in a jar's first entries, lie within this.
const HEAD_BYTES: u64 = 64 << 10;
/// A longer package.json is not read.
const PACKAGE_BYTES_MAX: u64 = 1 << 20;
/// The folders above a script in which its package.json is looked for.
const FOLDERS_ABOVE: usize = 3;

/// What is to be seen of a target whose listener the process `pid` holds, and that was started as
/// `command`.
pub fn signs(pid: u32, command: &[String], headers: Vec<(String, String)>) -> Signs {
    let own = words(pid);
    let mut signs =
        Signs { commands: vec![own.clone(), command.to_vec()], headers, ..Signs::default() };
    if signs.is_node() {
        signs.marks.extend(of_package(pid, &own));
    } else if signs.stack().is_none() {
        signs.marks.extend(of_jar(pid, &own).or_else(|| of_executable(pid)));
    }
    signs
}

fn mark(name: Stack, by: &str) -> StackReport {
    StackReport { name, by: by.to_owned() }
}

/// A path as the process itself would read it.
fn within(pid: u32, path: &str) -> PathBuf {
    Path::new(&format!("/proc/{pid}/cwd")).join(path)
}

/// A framework among the dependencies of the script that Node runs.
fn of_package(pid: u32, words: &[String]) -> Option<StackReport> {
    let is_script = |word: &&String| !word.starts_with('-');
    let script = within(pid, words.iter().skip(1).find(is_script)?);
    // Without links such as /proc/PID/cwd, above which there is something else.
    let script = script.canonicalize().ok()?;
    let folders = script.ancestors().skip(1).take(FOLDERS_ABOVE + 1);
    let file = folders.map(|folder| folder.join("package.json")).find(|file| file.is_file())?;
    let text = head_of(&file, PACKAGE_BYTES_MAX)?;
    let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let needs = |name: &str| package.get("dependencies").and_then(|all| all.get(name)).is_some();
    let known = [("fastify", Stack::Fastify), ("express", Stack::Express)];
    let (name, stack) = known.into_iter().find(|(name, _)| needs(name))?;
    Some(mark(stack, &format!("{name} in its package.json")))
}

/// Spring Boot's own loader in the jar that java runs.
fn of_jar(pid: u32, words: &[String]) -> Option<StackReport> {
    let at = words.iter().position(|word| word == "-jar")?;
    let head = head_of(&within(pid, words.get(at + 1)?), HEAD_BYTES)?;
    let loader = Regex::new("org/springframework/boot/loader/|BOOT-INF/").ok()?;
    loader.is_match(&head).then(|| mark(Stack::SpringBoot, "Spring Boot's loader in its jar"))
}

fn of_executable(pid: u32) -> Option<StackReport> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    // The servers that come with this program are in its own file, with all that it uses itself.
    if path.canonicalize().ok() == std::env::current_exe().ok() {
        return None;
    }
    // The note that Go's linker writes: name size 4, type 4, name "Go" (elf(5), "Notes").
    let go = Regex::new(r"(?s-u)\x04\x00\x00\x00.{4}\x04\x00\x00\x00Go\x00\x00").ok()?;
    if go.is_match(&head_of(&path, HEAD_BYTES)?) {
        return Some(mark(Stack::Go, "the Go build id in its executable"));
    }
    // Where a panic would happen is written as the path of a source file.
    let crates = Regex::new(r"(?-u)/(actix-web|axum|hyper)-[0-9]+\.[0-9]+\.[0-9]").ok()?;
    let found = names_in(&path, &crates);
    let known = [("actix-web", Stack::Actix), ("axum", Stack::Axum), ("hyper", Stack::Hyper)];
    let (name, stack) = known.into_iter().find(|(name, _)| found.iter().any(|it| it == name))?;
    Some(mark(stack, &format!("paths of {name} in its executable")))
}

/// The beginning of a file.
fn head_of(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut head).ok()?;
    Some(head)
}

/// What the first group of a pattern matches in a file; each once.
fn names_in(path: &Path, pattern: &Regex) -> Vec<String> {
    // No match is longer.
    const OVERLAP: usize = 64;
    let mut found: Vec<String> = Vec::new();
    let Ok(file) = File::open(path) else { return found };
    let mut file = file.take(EXECUTABLE_BYTES_MAX);
    let (mut buffer, mut kept) = (vec![0; 1 << 20], 0);
    while let Ok(read @ 1..) = file.read(&mut buffer[kept..]) {
        let end = kept + read;
        for captures in pattern.captures_iter(&buffer[..end]) {
            let name = String::from_utf8_lossy(&captures[1]).into_owned();
            if !found.contains(&name) {
                found.push(name);
            }
        }
        kept = OVERLAP.min(end);
        buffer.copy_within(end - kept..end, 0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_also_where_two_pieces_meet() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut content = vec![b'.'; (1 << 20) - 7];
        content.extend_from_slice(b"/src/axum-0.8.4/src/serve.rs");
        content.extend(vec![b'.'; 1 << 20]);
        content.extend_from_slice(b"/hyper-1.7.0/");
        std::fs::write(file.path(), content).unwrap();
        let pattern = Regex::new(r"(?-u)/(axum|hyper)-[0-9]+\.[0-9]+\.[0-9]").unwrap();
        assert_eq!(names_in(file.path(), &pattern), ["axum", "hyper"]);
    }

    #[test]
    fn this_program_is_none_of_those_it_uses() {
        assert_eq!(of_executable(std::process::id()), None);
    }

    #[test]
    fn a_package_names_the_framework_of_the_script() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let script = folder.path().join("src/server.js");
        std::fs::write(&script, "").unwrap();
        let package = folder.path().join("package.json");
        std::fs::write(package, r#"{"dependencies": {"fastify": "^5"}}"#).unwrap();
        let words = ["node", "--enable-source-maps", script.to_str().unwrap()].map(String::from);
        let found = of_package(std::process::id(), &words).unwrap();
        assert_eq!((found.name, &*found.by), (Stack::Fastify, "fastify in its package.json"));
    }

    #[test]
    fn a_jar_of_spring_boot_is_known_by_its_loader() {
        let folder = tempfile::tempdir().unwrap();
        let jar = folder.path().join("app.jar");
        let words = ["java", "-Xmx1g", "-jar", jar.to_str().unwrap()].map(String::from);
        std::fs::write(&jar, "PK..com/example/Main.class").unwrap();
        assert_eq!(of_jar(std::process::id(), &words), None);
        std::fs::write(&jar, "PK..org/springframework/boot/loader/launch/JarLauncher.class")
            .unwrap();
        assert_eq!(of_jar(std::process::id(), &words).map(|it| it.name), Some(Stack::SpringBoot));
    }
}
